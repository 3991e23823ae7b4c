"""True numbers of defects from found ones, by the precision, recall and confusion of classes that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from tem_data.trust.known import Known
from tem_data.trust.reliability import Row

PSEUDO = 2.0
SPREAD = 0.45
WEIGHT = 4.0

Spread = Annotated[float, Field(ge=0, le=10)]


class Estimate(NamedTuple):
    """A value and its interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Correction:
    """`true_given` (k, k): of the finds that are called class c, the share that truly is of class r, in row r.

    `recall` (k,): of the true defects of a class, the share that is found as any class. `spread` (k + 1,): by how
    much, relatively, the true number of a class, and at last of all, scatters about the corrected one beyond counting
    error.
    """

    true_given: tuple[Row, ...]
    recall: Row
    spread: tuple[Spread, ...]

    def numbers(self, predictions: np.ndarray) -> np.ndarray:
        """The expected true number of each class and, at last, of all, (k + 1,), of found ones (k,)."""
        by_class = np.array(self.true_given) @ predictions / np.array(self.recall)
        return np.append(by_class, by_class.sum())

    def estimates(self, predictions: np.ndarray, quantile: float) -> list[Estimate]:
        """The same with intervals, `quantile` standard deviations to each side on the scale of logarithms."""
        return [
            _estimate(number, quantile * np.sqrt(spread**2 + 1 / (number + 1)))
            for number, spread in zip(self.numbers(predictions), self.spread, strict=True)
        ]


def _estimate(number: float, half: float) -> Estimate:
    low, high = ((number + 1) * np.exp(side * half) - 1 for side in (-1, 1))
    return Estimate(float(number), float(np.floor(max(0, low))), float(np.ceil(high)))


def fit_correction(known: Sequence[Known], classes: int) -> Correction:
    """The correction of a detector on labelled micrographs; its spread is that of `fit_spread`, not yet known here."""
    confusion = sum((k.counts.confusion for k in known), np.zeros((classes, classes)))
    truths = sum((k.counts.truths for k in known), np.zeros(classes))
    predictions = sum((k.counts.predictions for k in known), np.zeros(classes))
    overall_recall = (confusion.sum() + 1) / (truths.sum() + 2)
    overall_precision = (confusion.sum() + 1) / (predictions.sum() + 2)
    true_given = (confusion + PSEUDO * overall_precision * np.eye(classes)) / (predictions + PSEUDO)
    recall = (confusion.sum(1) + PSEUDO * overall_recall) / (truths + PSEUDO)
    return Correction(tuple(map(tuple, true_given.tolist())), tuple(recall.tolist()), (SPREAD,) * (classes + 1))


def fit_spread(truths: np.ndarray, numbers: np.ndarray) -> tuple[float, ...]:
    """The spread (k + 1,) of true numbers (n, k + 1) about corrected ones (n, k + 1), beyond counting error.

    It counts as if `WEIGHT` more micrographs scattered by `SPREAD`.
    """
    squared = np.log((truths + 1) / (numbers + 1)) ** 2 - 1 / (numbers + 1)
    mean = (WEIGHT * SPREAD**2 + squared.sum(0)) / (WEIGHT + len(truths))
    return tuple(np.sqrt(np.maximum(mean, 0)).tolist())
