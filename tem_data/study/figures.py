"""The study: scores and gains by training size and split, and the learning curve."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_data.figures.style import (
    DOUBLE_MM,
    F1_LABELS,
    SINGLE_MM,
    Style,
    arm_styles,
    journal_figure,
    legend,
    numbers,
    pick,
    values_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import FillStyleType

COLUMNS = 3
SIZE_LABEL = "n, training and validation micrographs"
LEAST_SPAN = 0.1  # of a score axis, so that a difference in the fourth place does not look large
LOG_MARGIN = 1.6  # its square is more than 2.5, so that one of 1, 2, 5, 10 … is on the axis
FILLS: tuple[FillStyleType, ...] = ("full", "none", "left", "right", "bottom", "top")


def score_by_size(
    stem: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    intervals: Sequence[Mapping[str, Any]] = (),
    title: str = "",
    score: str = "f1_hm",
) -> Figure:
    """A score by training size, a panel a split; an open marker a run, a full one their mean ± standard deviation.

    Rows have split, size, run, arm and the score; `intervals` as in `gain_by_size`.
    """
    return _by_size(stem, rows, score, F1_LABELS[score], arm_styles(values_of(rows, "arm")), intervals, title)


def gain_by_size(
    stem: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    baseline: str,
    intervals: Sequence[Mapping[str, Any]] = (),
    title: str = "",
) -> Figure:
    """ΔF1_HM of paired runs against the `baseline` arm by training size, drawn as `score_by_size` draws scores.

    Rows have split, size, run, arm and gain. `intervals` have split, size,
    arm, low and high, as a bootstrap over scenes gives them: a broad band.
    """
    styles = arm_styles([baseline, *values_of(rows, "arm")])
    del styles[baseline]
    label = f"Δ{F1_LABELS['f1_hm']} to {baseline}"
    return _by_size(stem, rows, "gain", label, styles, intervals, title)


def _by_size(
    stem: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    value: str,
    label: str,
    styles: Mapping[str, Style],
    intervals: Sequence[Mapping[str, Any]],
    title: str,
) -> Figure:
    splits = values_of(rows, "split")
    sizes = sorted(values_of(rows, "size"), key=lambda size: (size == "all", size))
    columns = min(COLUMNS, len(splits))
    lines = -(-len(splits) // columns)
    several = len(values_of(rows, "run")) > 1
    step = 0.7 / len(styles)
    room = step / 4 if several else 0
    with journal_figure(stem, SINGLE_MM if columns == 1 else DOUBLE_MM, 56 * lines + 10, title) as figure:
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for axes in panels[len(splits) :]:
            axes.set_axis_off()
        for axes, split in zip(panels, splits, strict=False):
            if value == "gain":
                axes.axhline(0, color="0.6", linewidth=0.8)
            for place, (arm, style) in enumerate(styles.items()):
                x = np.arange(len(sizes)) + (place - (len(styles) - 1) / 2) * step
                for at, size in zip(x, sizes, strict=True):
                    _bands(axes, at + room, pick(intervals, split=split, arm=arm, size=size), style)
                    _runs(axes, at, room, numbers(pick(rows, split=split, arm=arm, size=size), value), style)
            axes.set(xticks=range(len(sizes)), xticklabels=sizes, xlim=(-0.5, len(sizes) - 0.5))
            axes.set(xlabel=SIZE_LABEL, ylabel=label)
            axes.set_title(f"split {split}", loc="left")
        _widen(panels[0])
        legend(figure, _keys(styles, several, bool(intervals)), None if columns > 1 else 2)
    return figure


def _widen(axes) -> None:
    low, high = axes.get_ylim()
    if high - low < LEAST_SPAN:
        middle = (low + high) / 2
        axes.set_ylim(middle - LEAST_SPAN / 2, middle + LEAST_SPAN / 2)


def _runs(axes, x: float, room: float, values: np.ndarray, style: Style) -> None:
    """The runs left of `x`, their mean ± standard deviation, where there are several, right of it."""
    values = values[np.isfinite(values)]
    look = {"color": style.colour, "marker": style.marker}
    axes.plot(np.full(len(values), x - room), values, linestyle="", markersize=3, markerfacecolor="none", **look)
    if len(values) > 1:
        deviation = values.std(ddof=1)
        axes.errorbar(x + room, values.mean(), deviation, capsize=2, elinewidth=0.8, markersize=4, zorder=3, **look)


def _bands(axes, x: float, intervals: Sequence[Mapping[str, Any]], style: Style) -> None:
    axes.vlines(
        np.full(len(intervals), x),
        numbers(intervals, "low"),
        numbers(intervals, "high"),
        color=style.colour,
        alpha=0.3,
        linewidth=5,
    )


def _keys(styles: Mapping[str, Style], several: bool, with_band: bool) -> list:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], color=style.colour, marker=style.marker, linestyle="", label=arm)
        for arm, style in styles.items()
    ]
    keys.append(
        Line2D([], [], color="0.3", marker="o", markersize=3, markerfacecolor="none", linestyle="", label="run")
    )
    if several:
        keys.append(Line2D([], [], color="0.3", marker="o", linewidth=0.8, label="mean ± standard deviation"))
    if with_band:
        keys.append(Line2D([], [], color="0.3", alpha=0.3, linewidth=5, label="bootstrap interval"))
    return keys


def learning_curve(
    stem: str | os.PathLike, rows: Sequence[Mapping[str, Any]], title: str = "", score: str = "f1_hm"
) -> Figure:
    """A score against the number of labelled defects that were trained on, logarithmic ([P22] figure 10).

    Rows have split, arm, training_defects and the score, one a run: small
    markers. A line joins the means of an arm and split; the filling of their
    markers tells splits apart.
    """
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    styles, splits = arm_styles(values_of(rows, "arm")), values_of(rows, "split")
    with journal_figure(stem, SINGLE_MM, 72, title) as figure:
        axes = figure.subplots()
        for arm, style in styles.items():
            for number, split in enumerate(splits):
                _learning_line(axes, pick(rows, arm=arm, split=split), score, style, FILLS[number % len(FILLS)])
        axes.set_xscale("log")
        axes.xaxis.set(
            major_locator=LogLocator(subs=(1, 2, 5)),
            major_formatter=StrMethodFormatter("{x:.0f}"),
            minor_locator=NullLocator(),
        )
        low, high = axes.dataLim.intervalx
        axes.set_xlim(low / LOG_MARGIN, high * LOG_MARGIN)
        _widen(axes)
        axes.set(xlabel="labelled defects trained on", ylabel=F1_LABELS[score])
        legend(figure, _learning_keys(styles, splits), 2 if len(splits) > 1 else 3)
    return figure


def _learning_line(axes, rows: Sequence[Mapping[str, Any]], score: str, style: Style, fill: FillStyleType) -> None:
    defects, values = numbers(rows, "training_defects"), numbers(rows, score)
    known = np.isfinite(defects) & np.isfinite(values)
    defects, values = defects[known], values[known]
    steps = np.unique(defects)
    means = [values[defects == step].mean() for step in steps]
    look = {"color": style.colour, "marker": style.marker}
    axes.plot(defects, values, linestyle="", markersize=2, alpha=0.6, **look)
    axes.plot(steps, means, linestyle=style.line, fillstyle=fill, markersize=5, **look)


def _learning_keys(styles: Mapping[str, Style], splits: Sequence) -> list:
    from matplotlib.lines import Line2D

    arms = [Line2D([], [], color=s.colour, marker=s.marker, linestyle=s.line, label=arm) for arm, s in styles.items()]
    if len(splits) == 1:
        return arms
    return arms + [
        Line2D([], [], color="0.3", marker="o", fillstyle=FILLS[i % len(FILLS)], linestyle="", label=f"split {split}")
        for i, split in enumerate(splits)
    ]
