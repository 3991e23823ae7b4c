"""Counts summed over images, and the scores of the 2022 and 2026 papers from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from tem_data.errors import TemDataError
from tem_data.scoring.labels import Labels
from tem_data.scoring.matching import Matching, Rule, match_overlap, overlap

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of k classes, of one image or summed over images.

    `confusion` (k, k) int holds matched pairs, row truth, column prediction;
    `truths` and `predictions` (k,) int hold what counts, `ignored` the
    predictions that do not because they lie on an ambiguous truth.
    """

    confusion: np.ndarray
    truths: np.ndarray
    predictions: np.ndarray
    ignored: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.confusion + other.confusion,
            self.truths + other.truths,
            self.predictions + other.predictions,
            self.ignored + other.ignored,
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores at one confidence threshold; all are 0 where nothing was to find or was found.

    `f1_by_class` holds the classes that truths or predictions hold; the others are `absent`.
    """

    threshold: float
    classes: tuple[str, ...]
    counts: Counts
    precision: float
    recall: float
    f1_detect: float
    f1_class: float
    f1_hm: float
    f1_by_class: dict[str, float]
    absent: tuple[str, ...]

    def to_dict(self) -> dict:
        """All of it as JSON-ready values; `matched` of a class is how many of its truths were found as any class."""
        counts, found = self.counts, self.counts.confusion.sum(1)
        return {
            "threshold": self.threshold,
            "f1_hm": self.f1_hm,
            "f1_detect": self.f1_detect,
            "f1_class": self.f1_class,
            "precision": self.precision,
            "recall": self.recall,
            "f1_by_class": dict(self.f1_by_class),
            "absent": list(self.absent),
            "truths": int(counts.truths.sum()),
            "predictions": int(counts.predictions.sum()),
            "matched": int(found.sum()),
            "ignored": int(counts.ignored),
            "by_class": {
                name: {
                    "truths": int(counts.truths[k]),
                    "predictions": int(counts.predictions[k]),
                    "matched": int(found[k]),
                }
                for k, name in enumerate(self.classes)
            },
            "confusion": counts.confusion.tolist(),
        }


class Detection(NamedTuple):
    precision: float
    recall: float
    f1: float


def detection(matched: int, truths: int, predictions: int) -> Detection:
    """P = matched/predictions, R = matched/truths, F1 = 2PR/(P + R), class ignored; 0 where undefined."""
    precision = float(matched / predictions) if predictions else 0.0
    recall = float(matched / truths) if truths else 0.0
    return Detection(precision, recall, harmonic_mean(precision, recall))


def harmonic_mean(a: float, b: float) -> float:
    """2ab/(a + b), 0 if both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """2·c_kk/(row_k + column_k) of a confusion matrix (k, k); 0 for a class without any pair."""
    involved = confusion.sum(0) + confusion.sum(1)
    return 2 * np.diag(confusion) / np.maximum(involved, 1)


def scores_of(counts: Counts, classes: Sequence[str], threshold: float) -> Scores:
    """The scores of counts: F1_detect, F1_class (mean over the classes that occur), F1_HM (2026 paper, Methods)."""
    found = detection(counts.confusion.sum(), counts.truths.sum(), counts.predictions.sum())
    present = counts.truths + counts.predictions > 0
    by_class = {name: float(f1) for name, f1, held in zip(classes, class_f1(counts.confusion), present) if held}
    f1_class = float(np.mean(list(by_class.values()))) if by_class else 0.0
    return Scores(
        threshold=float(threshold),
        classes=tuple(classes),
        counts=counts,
        precision=found.precision,
        recall=found.recall,
        f1_detect=found.f1,
        f1_class=f1_class,
        f1_hm=harmonic_mean(found.f1, f1_class),
        f1_by_class=by_class,
        absent=tuple(name for name in classes if name not in by_class),
    )


def count(matching: Matching, truth: Labels, prediction: Labels, classes: int) -> Counts:
    """The counts of one matched image, for this many classes."""
    true, predicted = truth.category[matching.pairs[:, 0]], prediction.category[matching.pairs[:, 1]]
    confusion = np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return Counts(
        confusion,
        confusion.sum(1) + np.bincount(truth.category[matching.missed], minlength=classes),
        confusion.sum(0) + np.bincount(prediction.category[matching.false], minlength=classes),
        len(matching.ignored),
    )


def total(counts: Iterable[Counts], classes: int) -> Counts:
    """The sum over images, for this many classes; zeros if there are none."""
    zero = np.zeros(classes, int)
    return reduce(add, counts, Counts(np.zeros((classes, classes), int), zero, zero))


def _empty(truth: Labels) -> Labels:
    none = np.zeros(0)
    return Labels(none.astype(int), none.reshape(0, 4), none, none.astype(bool), None if truth.rles is None else ())


def count_images(
    truths: Mapping[str, Labels],
    predictions: Mapping[str, Labels],
    classes: int,
    thresholds: Sequence[float],
    rule: Rule = Rule(),
) -> list[dict[str, Counts]]:
    """The counts of every image, one mapping a threshold; what a bootstrap over micrographs draws from.

    An image without predictions needs no entry in `predictions`; one without
    truths needs an empty one in `truths`. Raises TemDataError for predictions
    of an image that `truths` does not name, and as `overlap` does.
    """
    unknown = sorted(set(predictions) - set(truths))
    if unknown:
        raise TemDataError(
            f"predictions of {len(unknown)} images that have no truth, as {unknown[0]!r}; "
            "leave them out, or give the truths of all images, with no defects where there are none"
        )
    counts: list[dict[str, Counts]] = [{} for _ in thresholds]
    for name, truth in truths.items():
        prediction = predictions[name] if name in predictions else _empty(truth)
        try:
            overlaps = overlap(truth, prediction, rule.match)
        except TemDataError as error:
            raise TemDataError(f"{name}: {error}") from error
        for at, threshold in zip(counts, thresholds):
            at[name] = count(match_overlap(overlaps, rule, threshold), truth, prediction, classes)
    return counts


def sweep(
    truths: Mapping[str, Labels],
    predictions: Mapping[str, Labels],
    classes: Sequence[str],
    thresholds: Sequence[float] = THRESHOLDS,
    iou: float = 0.3,
    match: str = "mask",
    assignment: str = "greedy",
    ignore_ambiguous: bool = True,
) -> list[Scores]:
    """The scores over all images at each confidence threshold (predictions of at least that score count).

    `truths` and `predictions` map image names to `Labels`. Raises TemDataError
    as `Rule` and `count_images` do.
    """
    counts = count_images(truths, predictions, len(classes), thresholds, Rule(iou, match, assignment, ignore_ambiguous))
    return [scores_of(total(at.values(), len(classes)), classes, t) for t, at in zip(thresholds, counts)]


def best(scores: Sequence[Scores]) -> Scores:
    """The scores of highest F1_HM; of equal ones those of the lowest threshold, which keeps most predictions.

    Raises TemDataError if there are none.
    """
    if not scores:
        raise TemDataError("thresholds: expected at least one confidence threshold, found none")
    return max(scores, key=lambda s: (s.f1_hm, -s.threshold))
