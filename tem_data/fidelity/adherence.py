"""Mask adherence: does a picture show what its mask asks for, by judges that have not seen its scene?

Judges are Mask R-CNNs, cross-fitted on the cell's own training micrographs:
judge k is trained on the patches of all scenes but those of fold k. A picture
is judged by every judge that was trained on no patch of its scene. So real
training patches, and their reconstructions, are judged by the judge of their
own fold alone: the value beside which that of generated pairs is to be read.

Generated pairs are of no scene and are judged by all. They cannot be quite free
of what a judge has learnt: they stem from all training micrographs, so the one
that a picture is most like may be among a judge's. That flatters them, if
anything; `by_judge` shows how far the judges differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.detection.prediction import predict_patches
from tem_data.judges.judges import Judge, fresh_pairs
from tem_data.scoring import Counts, Rule, Scores, best, count_images, score_images
from tem_data.scoring.evaluation import compare_tiles
from tem_data.scoring.scores import scores_of, total
from tem_data.scoring.significance import PairedRuns, paired_bootstrap, score_intervals

COLUMNS = ("kind", "pair", "micrograph_id", "requested", "found", "right", "adherence")
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Panel:
    """Judges, each with the confidence from which its predictions count; and how these are matched."""

    judges: tuple[Judge, ...]
    thresholds: tuple[float, ...]
    classes: tuple[str, ...]
    rule: Rule


@dataclass(frozen=True, eq=False)
class Adherence:
    """What a panel says of n pairs.

    `requested`, `found`, `right` (matched with the class that was requested) and
    `of_pair` are (n,) float, means over the judges of each pair. `of_pair`, in
    [0, 1], is 2·right/(requested + found), and 1 where nothing was requested or found.
    `scores` are those of the counts of all judges together (its `threshold`
    the mean of theirs), `by_judge` those of each that judged any; `counts` are
    by pair, summed over its judges, and so is `scene`.
    """

    requested: np.ndarray
    found: np.ndarray
    right: np.ndarray
    of_pair: np.ndarray
    scores: Scores
    by_judge: dict[int, Scores]
    counts: dict[str, Counts]
    scene: dict[str, str]


class Difference(NamedTuple):
    """The mean of n paired differences and its 95 % bootstrap interval."""

    n: int
    mean: float
    low: float
    high: float


def panel_of(
    judges: Sequence[Judge],
    validation: Sequence[Micrograph],
    classes: Sequence[str],
    thresholds: Sequence[float],
    rule: Rule = Rule(),
) -> Panel:
    """The judges, each with the threshold of `thresholds` at which its own F1_HM on validation patches is largest.

    Raises TemDataError for judges of other classes, for validation patches
    without a defect or of scenes that a judge has seen, and as `best` does.
    """
    for k, member in enumerate(judges):
        if member.detector.classes != tuple(classes):
            raise TemDataError(
                f"judge {k} knows the classes {list(member.detector.classes)}, expected {list(classes)}; "
                "train the judges again (stage train_judges)"
            )
        if seen := member.seen & {p.scene_name for p in validation}:
            raise TemDataError(f"judge {k} was trained on {sorted(seen)[0]!r}, a validation scene; train it again")
    if all(d.ignore for p in validation for d in p.defects):
        raise TemDataError(
            "the validation micrographs hold no defect, so they cannot choose the judges' confidence thresholds; "
            "raise split.validation, train on more micrographs, or take another split.seed"
        )
    chosen = []
    for member in judges:
        images = compare_tiles(validation, _found(member, validation), classes, rule)
        chosen.append(best([score_images(images, classes, rule, t) for t in thresholds]).threshold)
    return Panel(tuple(judges), tuple(chosen), tuple(classes), rule)


def judge(panel: Panel, pairs: Sequence[Micrograph]) -> Adherence:
    """What the judges that have seen nothing of a pair's scene find in it, against its own defects.

    Defects marked `ignore` count as the panel's rule says. Raises TemDataError
    where there is no pair, and for a pair without a picture or whose scene every judge has seen.
    """
    counts: list[dict[int, Counts]] = []
    for member, threshold, numbers in zip(
        panel.judges, panel.thresholds, fresh_pairs(panel.judges, pairs), strict=True
    ):
        fresh = [pairs[i] for i in numbers]
        images = compare_tiles(fresh, _found(member, fresh), panel.classes, panel.rule)
        of_images = count_images(images, len(panel.classes), panel.rule, threshold)
        counts.append({i: of_images[str(place)] for place, i in enumerate(numbers)})
    return _adherence(panel, [pair.scene_name for pair in pairs], counts)


def _found(member: Judge, patches: Sequence[Micrograph]) -> list[tuple[Defect, ...]]:
    return predict_patches(member.detector, [patch.pixels for patch in patches])


def _adherence(panel: Panel, scenes: Sequence[str], counts: Sequence[Mapping[int, Counts]]) -> Adherence:
    of_pair = [[of_judge[i] for of_judge in counts if i in of_judge] for i in range(len(scenes))]
    tallies = [np.array([_tally(c) for c in judged]).mean(0) for judged in of_pair]
    requested, found, right, score = np.array(tallies).T
    k = len(panel.classes)
    by_judge = {
        j: scores_of(total(of_judge.values(), k), panel.classes, panel.thresholds[j])
        for j, of_judge in enumerate(counts)
        if of_judge
    }
    together = total((s.counts for s in by_judge.values()), k)
    return Adherence(
        requested=requested,
        found=found,
        right=right,
        of_pair=score,
        scores=scores_of(together, panel.classes, float(np.mean([s.threshold for s in by_judge.values()]))),
        by_judge=by_judge,
        counts={str(i): total(judged, k) for i, judged in enumerate(of_pair)},
        scene={str(i): scene for i, scene in enumerate(scenes)},
    )


def _tally(counts: Counts) -> tuple[float, ...]:
    """Requested, found, right, and 2·right/(requested + found)."""
    requested, found, right = counts.truths.sum(), counts.predictions.sum(), counts.confusion.trace()
    return requested, found, right, 2 * right / (requested + found) if requested + found else 1.0


def adherence_rows(kind: str, pairs: Sequence[Micrograph], judged: Adherence) -> Iterator[dict[str, Any]]:
    """The rows, with `COLUMNS`, of the pairs of one kind (real, generated …) in adherence.csv."""
    numbers = zip(judged.requested, judged.found, judged.right, judged.of_pair, strict=True)
    for number, (pair, of_pair) in enumerate(zip(pairs, numbers, strict=True)):
        rounded = (round(float(value), 6) for value in of_pair)
        yield dict(zip(COLUMNS, (kind, number, pair.micrograph_id, *rounded), strict=True))


def details(adherence: Adherence, seed: int = 0) -> dict[str, Any]:
    """All of it but the single pairs, as JSON-ready values.

    To the keys of `Scores.to_dict`, whose numbers are sums over the judges,
    come `pairs`, `adherence` (the mean over pairs), `intervals` (95 %, over
    scenes, judges held fixed; a generated pair is its own scene),
    `f1_right_by_class` as `f1_right` has it, and `by_judge`.
    """
    intervals = score_intervals(adherence.counts, adherence.scene, adherence.scores.classes, seed, RESAMPLES)
    return adherence.scores.to_dict() | {
        "pairs": len(adherence.of_pair),
        "adherence": float(adherence.of_pair.mean()),
        "intervals": {name: list(interval) for name, interval in intervals.items()},
        "f1_right_by_class": f1_right(adherence.scores),
        "by_judge": {
            str(k): {name: getattr(s, name) for name in ("threshold", "f1_hm", "f1_detect", "f1_class")}
            for k, s in adherence.by_judge.items()
        },
    }


def f1_right(scores: Scores) -> dict[str, float]:
    """By class 2·right/(requested + found), right being found and of that class.

    Unlike `f1_by_class`, which looks at matched pairs alone, it falls when the defects of a class are not found.
    """
    counts = scores.counts
    both = counts.truths + counts.predictions
    return {name: float(2 * counts.confusion[k, k] / both[k]) for k, name in enumerate(scores.classes) if both[k]}


def change(real: Adherence, other: Adherence, seed: int = 0) -> dict[str, Any]:
    """What scores lose where the same pairs have other pictures, as reconstructed ones: other − real, JSON-ready.

    `f1_hm`, `f1_detect` and `f1_class` with `low` and `high`, the 95 %
    bootstrap interval over scenes (None for a single scene); `f1_right_by_class`
    of each class. Raises TemDataError where the pairs are not the same.
    """
    _check_same(real, other)
    intervals = paired_bootstrap([PairedRuns(real.scene, [real.counts], [other.counts])], seed, RESAMPLES)
    changes: dict[str, Any] = {}
    for name in ("f1_hm", "f1_detect", "f1_class"):
        low, high = intervals.get(name, (None, None))
        changes[name] = {"change": getattr(other.scores, name) - getattr(real.scores, name), "low": low, "high": high}
    before, after = f1_right(real.scores), f1_right(other.scores)
    return changes | {"f1_right_by_class": {name: after[name] - before[name] for name in before if name in after}}


def paired_difference(a: Adherence, b: Adherence, seed: int = 0) -> Difference:
    """The mean of a − b of the adherence of the same masks under two samplers, with a bootstrap over masks.

    a is no worse than b within a margin if `low` is above −margin. Raises
    TemDataError where the masks are not the same.
    """
    _check_same(a, b)
    differences = a.of_pair - b.of_pair
    drawn = np.random.default_rng(seed).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.quantile(differences[drawn].mean(1), [0.025, 0.975])
    return Difference(len(differences), float(differences.mean()), float(low), float(high))


def _check_same(a: Adherence, b: Adherence) -> None:
    if a.scene != b.scene or not np.array_equal(a.requested, b.requested):
        raise TemDataError(
            f"{len(a.requested)} and {len(b.requested)} pairs are not of the same masks in the same order; "
            "judge the same ones, with other pictures"
        )
