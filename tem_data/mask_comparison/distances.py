"""Distances between samples, many pairs of weightings of the same values at once; random divisions by scene."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Distances(NamedTuple):
    """One value a pair, (pairs,) float; nan where one of the two samples is empty."""

    wasserstein: np.ndarray
    ks: np.ndarray


def distances(values: np.ndarray, first: np.ndarray, second: np.ndarray, period: float | None = None) -> Distances:
    """Wasserstein-1 and Kolmogorov-Smirnov distances between weightings of `values` (n,).

    Row i of `first` and of `second`, (pairs, n), weights the values into the two
    samples of pair i. With a `period` values lie on a circle: Wasserstein-1 goes
    the shorter way round (Rabin, Delon and Gousseau 2011), and Kolmogorov-Smirnov
    becomes Kuiper's statistic, which is the same wherever the circle is cut open.
    """
    if not values.size:
        return Distances(*np.full((2, len(first)), np.nan))
    order = np.argsort(values)
    values = values[order]
    gap = _cumulative(first[:, order]) - _cumulative(second[:, order])
    last_of_ties = np.append(values[1:] > values[:-1], True)
    steps = np.diff(values, append=values[0] + period if period else values[-1])
    at = np.where(last_of_ties, gap, 0)
    if period is None:
        return Distances(np.abs(gap) @ steps, np.abs(at).max(1) + 0 * gap[:, -1])
    return Distances(
        np.abs(gap - _weighted_median(gap, steps)[:, None]) @ steps, at.max(1) - at.min(1) + 0 * gap[:, -1]
    )


def _cumulative(weights: np.ndarray) -> np.ndarray:
    sums = np.cumsum(weights, 1, dtype=float)
    with np.errstate(invalid="ignore"):
        return sums / sums[:, -1:]


def _weighted_median(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(rows, 1)
    passed = np.cumsum(weights[order], 1)
    middle = (passed >= passed[:, -1:] / 2).argmax(1)
    return np.take_along_axis(rows, order, 1)[np.arange(len(rows)), middle]


def divide(scene: np.ndarray, share: float, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Random divisions of patches by whole scenes: which lie in the first part, (repeats, patches) bool.

    The first part takes scenes in random order until it is nearest to `share` of
    the patches; neither part is ever empty. No rows where there are fewer than
    two scenes.
    """
    names, number = np.unique(scene, return_inverse=True)
    if len(names) < 2:
        return np.zeros((0, len(scene)), bool)
    order = rng.permuted(np.tile(np.arange(len(names)), (repeats, 1)), axis=1)
    taken = np.cumsum(np.bincount(number)[order], 1)[:, :-1]
    last = np.abs(taken - share * len(scene)).argmin(1)
    chosen = np.zeros((repeats, len(names)), bool)
    np.put_along_axis(chosen, order, np.arange(len(names)) <= last[:, None], 1)
    return chosen[:, number]
