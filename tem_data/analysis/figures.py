"""What was found, drawn: sizes and densities by class."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_data.figures.pictures import colour_of
from tem_data.figures.style import DOUBLE_MM, journal_figure, unit_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
MOST_BINS = 30
MOST_NUMBERED = 25  # micrographs whose numbers all stand at the axis


class Density(NamedTuple):
    """The density of a class on the micrograph of a number, with the ends of its error bar."""

    number: int
    category: str
    value: float
    low: float
    high: float


def size_histograms(
    stem: str | os.PathLike, sizes: Mapping[str, Sequence[float]], unit: str, classes: Sequence[str]
) -> Figure:
    """How many defects of each class have which size in `unit`; a class without any is left out."""
    known = {name: np.array(sizes[name]) for name in classes if len(sizes[name])}
    columns = min(COLUMNS, max(1, len(known)))
    lines = -(-max(1, len(known)) // columns)
    together = np.concatenate([*known.values(), [0.0]])
    edges = np.histogram_bin_edges(together[:-1], "auto") if known else np.array([0.0, 1.0])
    if len(edges) > MOST_BINS + 1:
        edges = np.linspace(edges[0], edges[-1], MOST_BINS + 1)
    with journal_figure(stem, DOUBLE_MM, 45 * lines + 8) as figure:
        panels = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
        for axes in panels[len(known) :]:
            axes.set_axis_off()
        for axes, (name, values) in zip(panels, known.items(), strict=False):
            axes.hist(values, edges, color=colour_of(name, classes), edgecolor="white", linewidth=0.4)
            axes.axvline(values.mean(), color="black", linewidth=0.8, linestyle="--")
            axes.set_title(f"{name}: {len(values)}, mean {values.mean():.3g} {unit}", loc="left")
            axes.set(xlabel=unit_label("size", unit), ylabel="defects")
            axes.tick_params(labelbottom=True)
    return figure


def densities(stem: str | os.PathLike, rows: Sequence[Density], unit: str, classes: Sequence[str]) -> Figure:
    """The density of each class on each micrograph, by its number, with error bars; a panel a class."""
    present = [name for name in classes if any(row.category == name for row in rows)]
    numbers = sorted({row.number for row in rows})
    with journal_figure(stem, DOUBLE_MM, 32 * max(1, len(present)) + 16) as figure:
        panels = figure.subplots(max(1, len(present)), squeeze=False, sharex=True).ravel()
        for axes, name in zip(panels, present, strict=False):
            own = [row for row in rows if row.category == name]
            values = np.array([row.value for row in own])
            bars = np.abs(np.array([(row.low, row.high) for row in own]).T - values)
            colour = colour_of(name, classes)
            axes.errorbar([row.number for row in own], values, bars, fmt="o", color=colour, ecolor="0.5", capsize=2)
            axes.set(ylabel=unit, ylim=(0, None))
            axes.set_title(name, loc="left")
        if len(numbers) <= MOST_NUMBERED:
            panels[-1].set_xticks(numbers)
        panels[-1].set_xlabel("micrograph, by its number")
    return figure
