"""Sizes, type, colours and markers of figures, and how they are saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tem_data.core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType, RcKeyType

SINGLE_MM, DOUBLE_MM = 88, 180  # one and two columns of a journal
DPI, PICTURE_DPI = 300, 200

# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999")

F1_NAMES = {"f1_detect": "F1_detect", "f1_class": "F1_class", "f1_hm": "F1_HM"}
F1_LABELS = {name: rf"F1$_\mathrm{{{label[3:]}}}$" for name, label in F1_NAMES.items()}

MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one fewer than colours, so that a class 8 places on differs

RC: dict[RcKeyType, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same figure
    "font.size": 7,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "figure.titlesize": 9,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "svg.hashsalt": "tem_data",
}


class Style(NamedTuple):
    """How an arm is told apart: by colour, and in grey by marker, line and hatching."""

    colour: str
    marker: str
    line: LineStyleType
    hatch: str


ARM_STYLES = (
    Style("#0072B2", "o", "-", ""),
    Style("#D55E00", "s", "--", "////"),
    Style("#009E73", "^", ":", "...."),
    Style("#CC79A7", "D", "-.", "xxxx"),
    Style("#000000", "v", (0, (6, 1)), "\\\\\\\\"),
)


def arm_styles(arms: Iterable[str]) -> dict[str, Style]:
    """The style of each arm, by its place; an arm that occurs again is counted once."""
    return {arm: ARM_STYLES[i % len(ARM_STYLES)] for i, arm in enumerate(dict.fromkeys(arms))}


@contextmanager
def journal_figure(
    stem: str | os.PathLike, width_mm: float, height_mm: float, title: str = "", dpi: int = DPI
) -> Iterator[Figure]:
    """An empty figure; when it is drawn, it is written to `stem.png` and `stem.svg`, both or neither.

    The same figure gives the same bytes: neither file says when or by which version it was made.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(RC):
        figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), dpi=dpi, layout="constrained")
        if title:
            figure.suptitle(title)
        yield figure
        with atomic_write(f"{stem}.png") as png, atomic_write(f"{stem}.svg") as svg:
            figure.savefig(png, format="png", metadata={"Software": None})
            figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})


def legend(figure: Figure, handles: Sequence, columns: int | None = None) -> None:
    """A legend below the panels, where it covers nothing, in no more columns than the figure is wide."""
    for number in range(columns or len(handles), 0, -1):
        drawn = figure.legend(handles=handles, loc="outside lower center", ncols=number)
        if number == 1 or drawn.get_window_extent().width <= figure.bbox.width:
            return
        drawn.remove()


def numbers(rows: Iterable[Mapping[str, Any]], key: str) -> np.ndarray:
    """A column of rows, float; None becomes nan."""
    return np.array([row[key] for row in rows], float)


def pick(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> list[Mapping[str, Any]]:
    """The rows that have these values."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def values_of(rows: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    """The different values of a column, in the order in which they first occur."""
    return list(dict.fromkeys(row[key] for row in rows))


def unit_label(name: str, unit: str) -> str:
    """`name (unit)`, or the name alone of a number without unit."""
    return f"{name} ({unit})" if unit else name
