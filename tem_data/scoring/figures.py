"""The scores of one run: against threshold and IoU, by class, and what is taken for what."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_data.figures.style import (
    DOUBLE_MM,
    F1_LABELS,
    SINGLE_MM,
    arm_styles,
    journal_figure,
    legend,
    numbers,
    pick,
    values_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES_HEIGHT_MM = 64
# A matrix of k classes is k + 1 cells wide and needs room for the names beside it.
CELL_MM, NAMES_MM, MOST_CELL_MM = 6, 20, 13
COUNT_AND_SHARE_CLASSES = 6  # with more, a cell has room for the number alone


def threshold_sweep(
    stem: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, float],
    title: str = "",
    role: str = "test",
) -> Figure:
    """F1_detect, F1_class and F1_HM of each arm against the confidence threshold ([P26] figure 3).

    Rows have arm, role, threshold and the three scores. An upright line in
    the arm's own stroke is at the threshold `chosen` on validation micrographs.
    """
    from matplotlib.lines import Line2D

    key = Line2D([], [], color="0.3", marker="|", linestyle="", markersize=8, label="chosen on validation")
    with journal_figure(stem, DOUBLE_MM, CURVES_HEIGHT_MM, title) as figure:
        for axes in _curves(figure, pick(rows, role=role), "threshold", "confidence threshold", [key]):
            for arm, style in arm_styles(values_of(rows, "arm")).items():
                axes.axvline(chosen[arm], color=style.colour, linestyle=style.line, linewidth=0.8, zorder=0)
    return figure


def iou_sweep(stem: str | os.PathLike, rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """F1_detect, F1_class and F1_HM of each arm against the IoU at which a defect counts as found ([P22] figure 2).

    Rows have arm, iou and the three scores.
    """
    with journal_figure(stem, DOUBLE_MM, CURVES_HEIGHT_MM, title) as figure:
        _curves(figure, rows, "iou", "IoU cutoff")
    return figure


def _curves(figure, rows: Sequence[Mapping[str, Any]], x: str, xlabel: str, more_keys: Sequence = ()) -> Sequence:
    """Three panels, one for each F1 score; a line for each arm."""
    panels = figure.subplots(1, 3, sharex=True)
    for axes, (name, label) in zip(panels, F1_LABELS.items(), strict=True):
        lines = []
        for arm, style in arm_styles(values_of(rows, "arm")).items():
            mine = sorted(pick(rows, arm=arm), key=lambda row: row[x])
            lines += axes.plot(
                numbers(mine, x),
                numbers(mine, name),
                color=style.colour,
                marker=style.marker,
                markerfacecolor="white",
                linestyle=style.line,
                label=arm,
            )
        axes.set(xlabel=xlabel, ylabel=label, ylim=(0, 1))
    legend(figure, [*lines, *more_keys])
    return panels


def class_bars(
    stem: str | os.PathLike,
    f1: Mapping[str, Mapping[str, float]],
    classes: Sequence[str],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    title: str = "",
) -> Figure:
    """The F1 of each class as bars, one an arm, with its `(low, high)` interval where one is given.

    `f1` is by arm, then class; a class that an arm lacks is absent and has no bar.
    """
    bar = 0.8 / max(3, len(f1))
    with journal_figure(stem, DOUBLE_MM, 60, title) as figure:
        axes = figure.subplots()
        for i, (arm, style) in enumerate(arm_styles(f1).items()):
            x = np.arange(len(classes)) + (i - (len(f1) - 1) / 2) * bar
            height = np.array([f1[arm].get(name) for name in classes], float)
            axes.bar(
                x, height, bar, facecolor=style.colour, edgecolor="black", linewidth=0.5, hatch=style.hatch, label=arm
            )
            known = (intervals or {}).get(arm, {})
            bounds = np.array([known.get(name, (np.nan, np.nan)) for name in classes], float)
            axes.vlines(x, bounds[:, 0], bounds[:, 1], color="black", linewidth=1)
            axes.plot(np.stack([x, x]), bounds.T, "_", color="black", markersize=3)
        axes.set(xticks=range(len(classes)), xticklabels=classes, xlabel="class", ylabel="F1")
        axes.set(xlim=(-0.6, len(classes) - 0.4), ylim=(0, 1))
        legend(figure, axes.containers)
    return figure


def confusion_matrices(
    stem: str | os.PathLike,
    confusion: Mapping[str, np.ndarray],
    missed: Mapping[str, Sequence[int]],
    false: Mapping[str, Sequence[int]],
    classes: Sequence[str],
    title: str = "",
) -> Figure:
    """For each arm what true defects (rows) were taken for (columns), in numbers of defects.

    `confusion` holds matched pairs (k, k), `missed` the truths that nothing
    was matched to (k,), `false` the predictions that no truth was matched to
    (k,). Cells are shaded by their share of the true defects of the row.
    """
    side: float = min(MOST_CELL_MM * (len(classes) + 1) + NAMES_MM, DOUBLE_MM)
    least = CELL_MM * (len(classes) + 1) + NAMES_MM
    columns = min(len(confusion), max(1, int(DOUBLE_MM // least)))
    lines = -(-len(confusion) // columns)
    side = min(side, DOUBLE_MM / columns)
    with journal_figure(stem, max(side * columns, SINGLE_MM), (side + 5) * lines + 2, title) as figure:
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(confusion) :]:
            axes.set_axis_off()
        for axes, arm in zip(panels[: len(confusion)], confusion, strict=True):
            _matrix(axes, _with_rest(confusion[arm], missed[arm], false[arm]), classes)
            axes.set_title(arm)
    return figure


def _with_rest(confusion: np.ndarray, missed: Sequence[int], false: Sequence[int]) -> np.ndarray:
    """The matrix (k + 1, k + 1) float with a column of missed truths and a row of false predictions."""
    k = len(confusion)
    full = np.full((k + 1, k + 1), np.nan)
    full[:k, :k], full[:k, k], full[k, :k] = confusion, missed, false
    return full


def _matrix(axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    truths = counts[:-1].sum(1, keepdims=True)
    share = np.full_like(counts, np.nan)
    share[:-1] = np.divide(counts[:-1], truths, out=np.zeros_like(counts[:-1]), where=truths > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    with_share = len(classes) <= COUNT_AND_SHARE_CLASSES
    for (row, column), number in np.ndenumerate(counts):
        if np.isnan(number):
            continue
        text = f"{number:.0f}"
        if with_share and row < len(classes) and truths[row]:
            text += f"\n{share[row, column]:.0%}"
        dark = share[row, column] > 0.5
        size = 7 if with_share else 6
        axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize=size)
    axes.axhline(len(classes) - 0.5, color="black", linewidth=0.6)
    axes.axvline(len(classes) - 0.5, color="black", linewidth=0.6)
    ticks = range(len(classes) + 1)
    axes.set(xticks=ticks, yticks=ticks, yticklabels=[*classes, "false"], xlabel="predicted", ylabel="true")
    axes.set_xticklabels([*classes, "missed"], rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
