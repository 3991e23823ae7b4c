"""Can a classifier tell two sets of patches apart? The two-sample test of Lopez-Paz and Oquab (2017)."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from tem_data.mask_comparison.features import MaskFeatures

FOLDS = 5
TREES = 25


class Ranked(NamedTuple):
    """How often a classifier ranks a patch of the first set below one of the second, by their scenes.

    `wins` (equal scores count half) and `pairs` are (scenes of the first, scenes of the second).
    """

    wins: np.ndarray
    pairs: np.ndarray

    @property
    def auc(self) -> float:
        return float(self.wins.sum() / self.pairs.sum())

    def interval(self, rng: np.random.Generator, resamples: int = 1000, level: float = 0.95) -> tuple[float, float]:
        """Percentile bootstrap over the scenes of both sets, the classifier held fixed."""
        first, second = (rng.multinomial(n, np.full(n, 1 / n), resamples) for n in self.wins.shape)
        wins, pairs = (np.einsum("ri,ij,rj->r", first, m, second, optimize=True) for m in self)
        low, high = np.quantile(wins[pairs > 0] / pairs[pairs > 0], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def patch_table(features: MaskFeatures, unit: str) -> np.ndarray:
    """What the classifier sees of each patch, (patches, features) float, nan where there is nothing to measure.

    Counts and area fractions by class and of all; mean and standard deviation of
    the log size √(major·minor) in `unit`, and mean minor/major, of whole defects by
    class; mean and least distance to the nearest neighbour; the shares of
    defects that overlap another and that the edge cuts.
    """
    held, patches = features.defects, len(features)
    patch = held["patch"].astype(int)
    scale = features.nm_per_px[patch] if unit == "nm" else 1.0

    def mean(values: np.ndarray, own: np.ndarray) -> np.ndarray:
        own = own & np.isfinite(values)
        number = np.bincount(patch[own], minlength=patches)
        total = np.bincount(patch[own], values[own], minlength=patches)
        return np.divide(total, number, out=np.full(patches, np.nan), where=number > 0)

    columns = [*features.count.T, *features.area_fraction.T]
    size = np.log(np.sqrt(held["major"] * held["minor"]) * scale)
    for k in range(len(features.classes)):
        own = (held["category"] == k) & (held["whole"] == 1)
        average = mean(size, own)
        spread = np.sqrt(np.maximum(mean(size**2, own) - average**2, 0))
        columns += [average, spread, mean(held["minor"] / held["major"], own)]
    everyone = np.ones(patch.size, bool)
    near = held["nearest_neighbour"] * scale
    least = np.full(patches, np.inf)
    np.minimum.at(least, patch, np.where(np.isfinite(near), near, np.inf))
    columns += [mean(near, everyone), np.where(np.isfinite(least), least, np.nan)]
    columns += [mean(held["overlap_share"], everyone), 1 - mean(held["whole"], everyone)]
    return np.stack(columns, 1)


def rank(
    first: np.ndarray, second: np.ndarray, first_scene: np.ndarray, second_scene: np.ndarray, seed: int = 0
) -> Ranked | None:
    """A cross-validated random forest on two `patch_table`s, folds by whole scenes.

    Only patches of one fold are compared, as scores of different classifiers are
    not on one scale. None where a set has fewer than two scenes.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    table, scene = np.concatenate([first, second]), np.concatenate([first_scene, second_scene])
    label = np.repeat([0, 1], [len(first), len(second)])
    names = [np.unique(s, return_inverse=True) for s in (first_scene, second_scene)]
    folds = min(FOLDS, *(len(own) for own, _ in names))
    if folds < 2:
        return None
    member = [np.eye(len(own))[number] for own, number in names]
    wins = np.zeros([len(own) for own, _ in names])
    pairs = np.zeros_like(wins)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a set of fewer patches than folds, and columns without a value
        for train, test in splitter.split(table, label, scene):
            if len(np.unique(label[train])) < 2:
                continue
            model = RandomForestClassifier(TREES, min_samples_leaf=10, class_weight="balanced", random_state=seed)
            score = model.fit(table[train], label[train]).predict_proba(table[test])[:, 1]
            ours, theirs = test[label[test] == 0], test[label[test] == 1] - len(first)
            mine, its = score[label[test] == 0][:, None], score[label[test] == 1][None, :]
            wins += member[0][ours].T @ ((its > mine) + 0.5 * (its == mine)) @ member[1][theirs]
            pairs += np.outer(member[0][ours].sum(0), member[1][theirs].sum(0))
    return Ranked(wins, pairs) if pairs.any() else None
