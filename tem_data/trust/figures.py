"""Reliability diagram, and expected beside true scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_data.figures.style import DOUBLE_MM, F1_LABELS, journal_figure, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def trust_figure(stem: str | os.PathLike, shown: Mapping[str, Any], title: str = "") -> Figure:
    """How often finds are true beside how often they should be, and the true F1_HM beside the expected one.

    Bars are intervals of 95 %. `shown` is of `shown_of`.
    """
    with journal_figure(stem, DOUBLE_MM, 80, title) as figure:
        left, right = figure.subplots(1, 2)
        _draw_reliability(left, shown["reliability"])
        _draw_expected(right, shown["f1_hm"])
    return figure


def _draw_reliability(axes: Axes, bins: Sequence[Mapping[str, float]]) -> None:
    true, finds = numbers(bins, "true"), numbers(bins, "finds")
    error = 1.96 * np.sqrt(true * (1 - true) / finds)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.5, zorder=0)
    axes.errorbar(numbers(bins, "expected"), true, error, fmt="o", color="black", elinewidth=0.6)
    axes.set(xlabel="expected chance of a find to be true", ylabel="share that is true", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")


def _draw_expected(axes: Axes, micrographs: Sequence[Mapping[str, Any]]) -> None:
    value, low, high, true = (numbers(micrographs, name) for name in ("expected", "low", "high", "true"))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.5, zorder=0)
    axes.errorbar(value, true, xerr=[value - low, high - value], fmt="o", color="black", elinewidth=0.4)
    every, label = np.concatenate([low, high, true]), F1_LABELS["f1_hm"]
    ends = (max(0.0, every.min(initial=1) - 0.02), min(1.0, every.max(initial=0) + 0.02)) if len(every) else (0, 1)
    axes.set(xlabel=f"expected {label}", ylabel=f"true {label}", xlim=ends, ylim=ends)
    axes.set_aspect("equal")
