"""How masks are distributed: histograms of experimental and of simulated ones, by class and quantity."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_data.figures.style import ARM_STYLES, DOUBLE_MM, journal_figure, legend, pick, unit_label
from tem_data.mask_comparison.features import ALL, QUANTITIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tem_data.mask_comparison.comparison import MaskComparison, Pair

COLUMN_MM, LINE_MM = 42, 27
MOST_BINS = 24
ROOM = 1.2  # above the bars, for the number
TAIL = 0.995  # what is larger than this part of both sets lies in the last bin


def mask_histograms(
    stem: str | os.PathLike,
    comparison: MaskComparison,
    names: Sequence[str] = ("experimental", "simulated"),
    title: str = "",
) -> Figure:
    """A row of panels a quantity, a column a class: the share of defects or patches in each bin, both sets overlaid.

    The number in a panel is the Wasserstein distance as a multiple of the 95th
    percentile of experimental masks among themselves, in bold type where above it.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    present = dict.fromkeys(category for category, _ in comparison.values)
    columns = [c for c in present if c != ALL or len(present) > 2]
    lines = [q for q in QUANTITIES if any((c, q) in comparison.values for c in columns)]
    size = max(DOUBLE_MM, COLUMN_MM * len(columns)), LINE_MM * max(1, len(lines)) + 10
    with journal_figure(stem, *size, title) as figure:
        panels = figure.subplots(len(lines) or 1, len(columns) or 1, squeeze=False)
        for line, quantity in zip(panels, lines, strict=True):
            for axes, category in zip(line, columns, strict=True):
                if (category, quantity) not in comparison.values:
                    axes.set_axis_off()
                    continue
                _panel(axes, comparison.values[category, quantity], quantity)
                (row,) = pick(comparison.rows, category=category, quantity=quantity, distance="wasserstein")
                _say_ratio(axes, row)
        for axes, category in zip(panels[0], columns, strict=True):
            # an axis that is off would not show its title
            axes.text(0, 1.06, category, fontsize=8, weight="bold", transform=axes.transAxes)
        first, second = names
        style = ARM_STYLES[1]
        keys = [Patch(facecolor="0.8", label=first), Line2D([], [], color=style.colour, label=second)]
        legend(figure, keys)
    return figure


def _panel(axes, pair: Pair, quantity: str) -> None:
    edges = bin_edges(pair, quantity)
    for values, look in (
        (pair.a, {"fill": True, "facecolor": "0.8"}),
        (pair.b, {"color": ARM_STYLES[1].colour, "linewidth": 1}),
    ):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
        axes.stairs(counts / max(1, values.size), edges, **look)
    if quantity == "overlap_share":
        axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_xlabel(unit_label(QUANTITIES[quantity].label, pair.unit), fontsize=7)
    axes.locator_params("y", nbins=3)
    axes.set_ylim(0, ROOM * axes.get_ylim()[1])


def bin_edges(pair: Pair, quantity: str) -> np.ndarray:
    """Bins for both sets: one a number for counts, whole half-turns for angles, at most `MOST_BINS` otherwise."""
    both = np.concatenate([pair.a, pair.b])
    high = max(np.quantile(v, TAIL) for v in (pair.a, pair.b) if v.size)
    if quantity == "overlap_share":
        return np.array([-0.5, 0.5, 1.5])
    if period := QUANTITIES[quantity].period:
        return np.linspace(0, period, 13)
    if quantity == "count":
        step = max(1, int(np.ceil((high + 1) / MOST_BINS)))
        return np.arange(0, high + 1 + step, step) - 0.5
    low = min(0.0, float(both.min())) if QUANTITIES[quantity].of == "patch" else float(both.min())
    return np.linspace(low, high if high > low else low + 1, MOST_BINS + 1)


def _say_ratio(axes, row: Mapping[str, Any]) -> None:
    if row["value"] is None or not row["real_p95"]:
        return
    weight = "normal" if row["inside"] else "bold"
    text = f"{row['value'] / row['real_p95']:.2f}"
    axes.text(0.97, 0.93, text, ha="right", va="top", fontsize=7, weight=weight, transform=axes.transAxes)
