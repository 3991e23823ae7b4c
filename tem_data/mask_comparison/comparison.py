"""Two sets of masks, compared; beside each distance that of experimental masks from one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tem_data.core.errors import TemDataError
from tem_data.mask_comparison.classifier import patch_table, rank
from tem_data.mask_comparison.distances import distances, divide
from tem_data.mask_comparison.features import ALL, QUANTITIES, MaskFeatures, common_unit, join, sample

LEVEL = 0.95
COLUMNS = (
    *("category", "quantity", "unit", "distance", "n_a", "n_b", "value"),
    *("real_median", "real_p95", "real_split", "inside"),
)


class Pair(NamedTuple):
    """The values of one quantity of one class in both sets, for histograms."""

    a: np.ndarray
    b: np.ndarray
    unit: str


class _Real(NamedTuple):
    """What is known of experimental masks: all of them, their random divisions, and those that `b` was fitted on."""

    experimental: MaskFeatures
    divisions: np.ndarray
    fitted_on: MaskFeatures | None


@dataclass(frozen=True, eq=False)
class MaskComparison:
    """`rows` have `COLUMNS`, `summary` is ready for JSON, `values` are by class and quantity."""

    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    values: dict[tuple[str, str], Pair]


def compare_masks(
    a: MaskFeatures,
    b: MaskFeatures,
    fitted_on: MaskFeatures | None = None,
    repeats: int = 200,
    classifier_repeats: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> MaskComparison:
    """How far the masks `b` are from the experimental ones `a`, and how far experimental ones are from one another.

    For each class (and all together) and each of `QUANTITIES`: the Wasserstein-1
    and Kolmogorov-Smirnov distances (an angle's: `distances`), and beside them
    median and 95th percentile of the same distance between the two parts of
    `repeats` random divisions of experimental patches by whole scenes; `inside`
    is whether the value is at most that percentile.

    What is divided: without `fitted_on`, `a` into halves. Halves of n scenes
    differ with variance 4/n, while `a` differs from masks of exactly its own
    distribution with 1/n (0 if fitted on `a` itself), so this reference is lenient.
    With `fitted_on`, the experimental patches that `b` was fitted on and that
    share no scene with `a`: both together, into parts as large as `a` and
    `fitted_on`. Were `b` a perfect copy of what it was fitted on, its distances
    would be those of two such parts, so this reference is exact; `real_split` is
    the distance of `a` from `fitted_on` themselves.

    The classifier (`classifier.rank`) is trained on `a` against as many patches of
    `b` as `fitted_on` (else `a`) has; its AUC has a bootstrap interval over
    scenes, and the AUCs of the first `classifier_repeats` divisions have one of
    their own. `inside` is whether the AUC is at most the upper end of that, or
    0.5, which is no better than guessing; `real_split` is the AUC of `a` against
    `fitted_on`.

    Raises TemDataError for sets of different classes or patch sizes, and where
    `a` and `fitted_on` share a scene.
    """
    sets = [a, b] if fitted_on is None else [a, b, fitted_on]
    _check(sets)
    shared = sorted({*a.scene.tolist()} & {*fitted_on.scene.tolist()}) if fitted_on is not None else []
    if shared:
        raise TemDataError(
            f"{len(shared)} scenes are both in the experimental masks and in those fitted on, as {shared[0]!r}; "
            "give micrographs of other scenes, as `split` deals them"
        )
    unit, rng = common_unit(sets), np.random.default_rng(seed)
    experimental = a if fitted_on is None else join(a, fitted_on)
    share = 0.5 if fitted_on is None else len(a) / len(experimental)
    real = _Real(experimental, divide(experimental.scene, share, repeats, rng), fitted_on)
    asked = [(c, q) for c in (*a.classes, ALL) for q in QUANTITIES if c != ALL or QUANTITIES[q].pooled]
    rows, values = [], {}
    for category, quantity in tqdm(asked, "distances", leave=False, disable=not progress):
        values_a, values_b = (sample(s, category, quantity, unit).values for s in (a, b))
        pair = Pair(values_a, values_b, _unit(quantity, unit))
        if pair.a.size or pair.b.size:
            values[category, quantity] = pair
            rows += _rows(category, quantity, pair, real, unit)
    classifier = _classify(a, b, real, unit, classifier_repeats, rng, progress)
    return MaskComparison(rows, _summary(a, b, real, unit, rows, classifier), values)


def _check(sets: list[MaskFeatures]) -> None:
    for other in sets[1:]:
        if other.classes != sets[0].classes:
            raise TemDataError(f"masks of classes {sets[0].classes} and {other.classes}; compare sets of the same ones")
        if other.shape != sets[0].shape:
            (h, w), (height, width) = sets[0].shape, other.shape
            raise TemDataError(
                f"masks of {w}×{h} px and of {width}×{height} px: edges would cut their defects differently; "
                "cut tiles of one size"
            )


def _unit(quantity: str, length: str) -> str:
    kind = QUANTITIES[quantity]
    return {0: kind.unit, 1: length, 2: f"{length}²"}[kind.power]


def _distance(ours: np.ndarray, theirs: np.ndarray, quantity: str) -> tuple[float | None, float | None]:
    if not ours.size or not theirs.size:
        return None, None
    first = np.repeat([True, False], [ours.size, theirs.size])[None]
    found = distances(np.concatenate([ours, theirs]), first, ~first, QUANTITIES[quantity].period)
    return float(found.wasserstein[0]), float(found.ks[0])


def _rows(category: str, quantity: str, pair: Pair, real: _Real, unit: str) -> list[dict[str, Any]]:
    """The two rows of a class and quantity."""
    found = _distance(pair.a, pair.b, quantity)
    split: Sequence[float | None] = (None, None)
    if real.fitted_on is not None:
        split = _distance(pair.a, sample(real.fitted_on, category, quantity, unit).values, quantity)
    rows = []
    for at, (name, spread) in enumerate(_spread(category, quantity, real, unit).items()):
        row: dict[str, Any] = {
            "category": category,
            "quantity": quantity,
            "unit": pair.unit if name == "wasserstein" else "",
        }
        row |= {"distance": name, "n_a": pair.a.size, "n_b": pair.b.size, "value": found[at]}
        rows.append(row | spread | {"real_split": split[at], "inside": _inside(found[at], spread["real_p95"])})
    return rows


def _spread(category: str, quantity: str, real: _Real, unit: str) -> dict[str, dict[str, float | None]]:
    """By distance, median and 95th percentile over the divisions in which both parts have a value, None without any."""
    values, patch = sample(real.experimental, category, quantity, unit)
    first = real.divisions[:, patch]
    spread = {}
    for name, found in distances(values, first, ~first, QUANTITIES[quantity].period)._asdict().items():
        known = found[np.isfinite(found)]
        median, high = np.quantile(known, [0.5, LEVEL]).tolist() if known.size else (None, None)
        spread[name] = {"real_median": median, "real_p95": high}
    return spread


def _inside(value: float | None, high: float | None) -> bool | None:
    """None where experimental masks say nothing about their own spread; False where one set has no value."""
    if high is None:
        return None
    return value is not None and value <= high * (1 + 1e-9) + 1e-12


def _summary(
    a: MaskFeatures, b: MaskFeatures, real: _Real, unit: str, rows: list[dict[str, Any]], classifier: dict[str, Any]
) -> dict[str, Any]:
    judged = [row["inside"] for row in rows if row["inside"] is not None]
    experimental = {"a": a} if real.fitted_on is None else {"a": a, "fitted_on": real.fitted_on}
    return {
        "patches": {name: len(s) for name, s in experimental.items()} | {"b": len(b)},
        "scenes": {name: len(np.unique(s.scene)) for name, s in experimental.items()},
        "patch_px": list(a.shape),
        "classes": list(a.classes),
        "unit": unit,
        "reference": "halves of a" if real.fitted_on is None else "parts as large as a and what b was fitted on",
        "repeats": len(real.divisions),
        "distances": len(judged),
        "inside": sum(judged),
        "share_inside": sum(judged) / len(judged) if judged else None,
        "outside": [f"{r['category']} {r['quantity']} {r['distance']}" for r in rows if r["inside"] is False],
        "classifier": classifier,
        "rows": rows,
    }


def _classify(
    a: MaskFeatures,
    b: MaskFeatures,
    real: _Real,
    unit: str,
    repeats: int,
    rng: np.random.Generator,
    progress: bool,
) -> dict[str, Any]:
    ours, scene = patch_table(real.experimental, unit), real.experimental.scene
    size = len(a) if real.fitted_on is None else len(real.fitted_on)
    drawn = np.sort(rng.permutation(len(b))[:size])
    found = rank(ours[: len(a)], patch_table(b, unit)[drawn], a.scene, b.scene[drawn])
    of_split = rank(ours[: len(a)], ours[len(a) :], a.scene, scene[len(a) :])
    parts = tqdm(real.divisions[:repeats], "classifier", leave=False, disable=not progress)
    ranked = [rank(ours[first], ours[~first], scene[first], scene[~first]) for first in parts]
    aucs = [r.auc for r in ranked if r is not None]
    interval = np.quantile(aucs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist() if aucs else None
    return {
        "auc": found and found.auc,
        "interval": found and list(found.interval(rng)),
        "real_median": float(np.median(aucs)) if aucs else None,
        "real_interval": interval,
        "real_split": of_split and of_split.auc,
        "real_repeats": len(aucs),
        "patches": {"a": len(a), "b": len(drawn)},
        "inside": None if found is None or interval is None else found.auc <= max(interval[1], 0.5),
    }
