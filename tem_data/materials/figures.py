"""What was measured on the micrographs: histograms of defects, and true against predicted values."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_data.figures.style import (
    COLOURS,
    DOUBLE_MM,
    MARKERS,
    SINGLE_MM,
    arm_styles,
    journal_figure,
    legend,
    numbers,
    pick,
    unit_label,
    values_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = "truth"
QUANTITIES = {"size_nm": unit_label("size", "nm"), "circularity": "Heywood circularity"}
COLUMNS = 3
MOST_BINS = 30
KEYS_A_LINE = 6
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
CHARACTER_MM = 1.8  # of a panel's side for each character of a label below it


def histograms(
    stem: str | os.PathLike, rows: Sequence[Mapping[str, Any]], quantity: str, classes: Sequence[str], title: str = ""
) -> Figure:
    """How many defects of each class have which size or circularity; the truth filled, each arm as a step line.

    Rows are defects with source (`truth` or an arm), category and `quantity`
    (`size_nm` or `circularity`); a defect whose value is None or nan is left out.
    """
    from matplotlib.patches import Patch

    styles = arm_styles(source for source in values_of(rows, "source") if source != TRUTH)
    rows = _finite(rows, quantity)
    columns = min(COLUMNS, len(classes))
    lines = -(-len(classes) // columns)
    width = SINGLE_MM if columns == 1 else DOUBLE_MM
    with journal_figure(stem, width, 42 * lines + 12, title) as figure:
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(classes) :]:
            axes.set_axis_off()
        for axes, category in zip(panels, classes, strict=False):
            _histogram(axes, pick(rows, category=category), quantity, styles)
            axes.set(xlabel=QUANTITIES[quantity], ylabel="defects")
            axes.set_title(category, loc="left")
        truth = Patch(facecolor="0.8", label=TRUTH)
        legend(figure, [truth, *(_step_key(arm, style) for arm, style in styles.items())])
    return figure


def _histogram(axes, rows: Sequence[Mapping[str, Any]], quantity: str, styles: Mapping) -> None:
    if not rows:
        _say_empty(axes)
        return
    values = {source: numbers(pick(rows, source=source), quantity) for source in (TRUTH, *styles)}
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), "auto")
    if len(edges) > MOST_BINS + 1:
        edges = np.linspace(edges[0], edges[-1], MOST_BINS + 1)
    axes.stairs(np.histogram(values[TRUTH], edges)[0], edges, fill=True, facecolor="0.8", label=TRUTH)
    for arm, style in styles.items():
        counts = np.histogram(values[arm], edges)[0]
        axes.stairs(counts, edges, color=style.colour, linestyle=style.line, linewidth=1, label=arm)


def _step_key(arm: str, style) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=style.colour, linestyle=style.line, label=arm)


def parity(
    stem: str | os.PathLike, rows: Sequence[Mapping[str, Any]], classes: Sequence[str], title: str = ""
) -> Figure:
    """Predicted against true values of each micrograph; a row of panels a quantity, a column an arm ([P22] figure 6).

    Rows have arm, category, quantity, true, predicted and unit (may be ""); a
    row of which a value is None or nan is left out, and so is a quantity
    without any value. The line is perfect agreement.
    """
    from matplotlib.lines import Line2D

    arms = values_of(rows, "arm")
    rows = _finite(_finite(rows, "true"), "predicted")
    quantities = values_of(rows, "quantity")
    present = [name for name in (*classes, *values_of(rows, "category")) if pick(rows, category=name)]
    look = {name: _class_look(name, classes) for name in dict.fromkeys(present)}
    side = min(60.0, DOUBLE_MM / max(1, len(arms)))
    width = int(side / CHARACTER_MM)
    lines = max(1, len(quantities))
    height = side * lines + 10 + 4 * (len(look) // KEYS_A_LINE)
    with journal_figure(stem, max(SINGLE_MM, side * len(arms)), height, title) as figure:
        panels = figure.subplots(lines, max(1, len(arms)), squeeze=False)
        for axes in () if quantities else panels[0]:
            _say_empty(axes)
        for line, quantity in zip(panels[: len(quantities)], quantities, strict=True):
            of_quantity = pick(rows, quantity=quantity)
            for axes, arm in zip(line[: len(arms)], arms, strict=True):
                _parity_panel(axes, pick(of_quantity, arm=arm), quantity, _limits(of_quantity), look, width)
        for axes, arm in zip(panels[0, : len(arms)], arms, strict=True):
            axes.set_title(arm, loc="left")
        keys = [
            Line2D([], [], color=colour, marker=marker, linestyle="", markerfacecolor="none", label=name)
            for name, (colour, marker) in look.items()
        ]
        legend(figure, keys, min(len(keys), KEYS_A_LINE) or 1)
    return figure


def _parity_panel(
    axes, rows: Sequence[Mapping[str, Any]], quantity: str, limits: tuple[float, float], look: Mapping, width: int
) -> None:
    if not rows:
        _say_empty(axes)
        return
    axes.plot(limits, limits, color="0.6", linewidth=0.8)
    for name, (colour, marker) in look.items():
        mine = pick(rows, category=name)
        axes.plot(numbers(mine, "true"), numbers(mine, "predicted"), marker, color=colour, markerfacecolor="none")
    label = unit_label(quantity, rows[0]["unit"].replace(" ", NO_BREAK_SPACE))
    axes.set_xlabel(textwrap.fill(f"true {label}", width), fontsize=7)
    axes.set_ylabel(textwrap.fill(f"predicted {label}", width), fontsize=7)
    axes.locator_params(nbins=5)
    axes.set(xlim=limits, ylim=limits, box_aspect=1)


def _limits(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The same range for both axes and all arms, a little wider than the values."""
    values = np.concatenate([numbers(rows, "true"), numbers(rows, "predicted")])
    margin = 0.05 * float(np.ptp(values)) or 0.1 * abs(float(values[0])) or 1
    return float(values.min()) - margin, float(values.max()) + margin


def _class_look(name: str, classes: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a class; what is no class (as `all`) is a black cross."""
    if name not in classes:
        return "black", "x"
    at = classes.index(name)
    return COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]


def _finite(rows: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    return [row for row, value in zip(rows, numbers(rows, key), strict=True) if np.isfinite(value)]


def _say_empty(axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "nothing measured", ha="center", va="center", transform=axes.transAxes)
