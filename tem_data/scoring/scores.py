"""Counts summed over images, and the scores of the 2022 and 2026 papers from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.scoring.labels import Labels
from tem_data.scoring.matching import Matching, OverlapTable, Rule, match_overlap, overlap

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


class F1(NamedTuple):
    """Arrays over the leading axes of the counts; `by_class` (…, k) is nan for a class that does not occur."""

    precision: np.ndarray
    recall: np.ndarray
    detect: np.ndarray
    class_: np.ndarray
    hm: np.ndarray
    by_class: np.ndarray


def f1_scores(confusion: np.ndarray, truths: np.ndarray, predictions: np.ndarray) -> F1:
    """The scores of counts (…, k, k), (…, k), (…, k); all are 0 where nothing was to find or was found.

    P = matched/predictions, R = matched/truths, F1_detect = 2PR/(P + R), class
    ignored; F1 of class k = 2·c_kk/(row_k + column_k), F1_class their mean over
    the classes that truths or predictions hold; F1_HM the harmonic mean of both
    (2026 paper, Methods).
    """
    matched = confusion.sum((-2, -1))
    precision, recall = _share(matched, predictions.sum(-1)), _share(matched, truths.sum(-1))
    pairs = confusion.sum(-1) + confusion.sum(-2)
    occurs = truths + predictions > 0
    of_class = _share(2 * np.diagonal(confusion, axis1=-2, axis2=-1), pairs)
    detect = _share(2 * precision * recall, precision + recall)
    class_ = _share((of_class * occurs).sum(-1), occurs.sum(-1))
    hm = _share(2 * detect * class_, detect + class_)
    return F1(precision, recall, detect, class_, hm, np.where(occurs, of_class, np.nan))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part/whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)


def scores_of(counts: Counts, classes: Sequence[str], threshold: float) -> Scores:
    """The scores of counts at a threshold, as `f1_scores` defines them."""
    f1 = f1_scores(counts.confusion, counts.truths, counts.predictions)
    by_class = {name: float(value) for name, value in zip(classes, f1.by_class, strict=True) if not np.isnan(value)}
    return Scores(
        threshold=float(threshold),
        classes=tuple(classes),
        counts=counts,
        precision=float(f1.precision),
        recall=float(f1.recall),
        f1_detect=float(f1.detect),
        f1_class=float(f1.class_),
        f1_hm=float(f1.hm),
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


class Compared(NamedTuple):
    """One image's truths and predictions, and how they overlap."""

    truth: Labels
    prediction: Labels
    overlap: OverlapTable


def compare(
    truths: Mapping[str, Labels], predictions: Mapping[str, Labels], match: str = "mask"
) -> dict[str, Compared]:
    """The IoUs of every image, computed once for all confidence thresholds and IoU cutoffs.

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
    images = {}
    for name, truth in truths.items():
        prediction = predictions[name] if name in predictions else _empty(truth)
        try:
            images[name] = Compared(truth, prediction, overlap(truth, prediction, match))
        except TemDataError as error:
            raise TemDataError(f"{name}: {error}") from error
    return images


def _empty(truth: Labels) -> Labels:
    none = np.zeros(0)
    return Labels(none.astype(int), none.reshape(0, 4), none, none.astype(bool), None if truth.rles is None else ())


def count_images(
    images: Mapping[str, Compared], classes: int, rule: Rule = Rule(), threshold: float = 0.0
) -> dict[str, Counts]:
    """The counts of every image at one threshold and IoU cutoff; what a bootstrap over micrographs draws from."""
    return {
        name: count(match_overlap(image.overlap, rule, threshold), image.truth, image.prediction, classes)
        for name, image in images.items()
    }


def score_images(
    images: Mapping[str, Compared], classes: Sequence[str], rule: Rule = Rule(), threshold: float = 0.0
) -> Scores:
    """The scores over all images at one threshold (predictions of at least that score count) and IoU cutoff."""
    counts = count_images(images, len(classes), rule, threshold)
    return scores_of(total(counts.values(), len(classes)), classes, threshold)


def sweep(
    truths: Mapping[str, Labels],
    predictions: Mapping[str, Labels],
    classes: Sequence[str],
    thresholds: Sequence[float] = THRESHOLDS,
    rule: Rule = Rule(),
) -> list[Scores]:
    """The scores over all images at each confidence threshold.

    `truths` and `predictions` map image names to `Labels`. Raises TemDataError as `compare` does.
    """
    images = compare(truths, predictions, rule.match)
    return [score_images(images, classes, rule, threshold) for threshold in thresholds]


def best(scores: Sequence[Scores]) -> Scores:
    """The scores of highest F1_HM; of equal ones those of the lowest threshold, which keeps most predictions.

    Raises TemDataError if there are none.
    """
    if not scores:
        raise TemDataError("thresholds: expected at least one confidence threshold, found none")
    return max(scores, key=lambda s: (s.f1_hm, -s.threshold))
