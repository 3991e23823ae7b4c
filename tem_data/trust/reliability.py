"""What a score means: how often a find is a true defect, of its class, and how many defects are missed.

A score s is the chance sigmoid(intercept + slope · logit s) to be a true defect (Platt scaling), and the sum of the
faint scores, those below the threshold, says how many defects are missed. The scores of a micrograph are drawn from
these, as labels could turn out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from tem_data.scoring.scores import F1, f1_scores
from tem_data.trust.known import Finds, Known

PRIOR = 10.0
DRAWS = 400
CERTAIN = 1e-3

Real = Annotated[float, Field(ge=-1e3, le=1e3)]
Share = Annotated[float, Field(ge=0, le=1)]
Row = tuple[Share, ...]


@dataclass(frozen=True)
class Reliability:
    """For k classes: `accuracy` (k,), how often a true defect has the class that it is called.

    `instead` (k, k) says which class it has else: column c sums to 1 over the classes but c. `missed_per_faint` is
    the number of missed defects for each unit of faint score.
    """

    intercept: Real
    slope: Real
    accuracy: Row
    instead: tuple[Row, ...]
    missed_per_faint: Annotated[float, Field(ge=0, le=1e3)]

    def chance(self, scores: np.ndarray) -> np.ndarray:
        """The chance of each score (n,) to be that of a true defect."""
        return _sigmoid(_design(scores) @ [self.intercept, self.slope])

    def missed(self, finds: Finds) -> float:
        """The expected number of defects that were not found."""
        return self.missed_per_faint * (finds.faint + 1)


def fit_reliability(known: Sequence[Known], classes: int) -> Reliability:
    """The reliability of a detector on labelled micrographs; where these are few it stays close to the scores."""
    scores = np.concatenate([k.finds.scores[k.counted] for k in known])
    matched = np.concatenate([k.matched[k.counted] for k in known])
    intercept, slope = _logistic(_design(scores), matched, np.array([0.0, 1.0]))
    confusion = sum((k.counts.confusion for k in known), np.zeros((classes, classes)))
    diagonal, columns = confusion.diagonal(), confusion.sum(0)
    overall = (diagonal.sum() + 1) / (columns.sum() + 1)
    mixed = (confusion + confusion.T + 1) * (1 - np.eye(classes))
    return Reliability(
        intercept=float(intercept),
        slope=float(slope),
        accuracy=tuple(((diagonal + PRIOR * overall) / (columns + PRIOR)).tolist()),
        instead=tuple(map(tuple, (mixed / np.maximum(mixed.sum(0), 1)).tolist())),
        missed_per_faint=sum(k.missed for k in known) / sum(k.finds.faint + 1 for k in known),
    )


def draw_scores(reliability: Reliability, finds: Finds) -> F1:
    """The scores of a micrograph, `DRAWS` times as its labels could turn out; the draws are always the same."""
    rng, classes = np.random.default_rng(0), len(reliability.accuracy)
    accuracy, instead = np.array(reliability.accuracy), np.array(reliability.instead)
    hit = rng.random((DRAWS, len(finds.scores))) < reliability.chance(finds.scores)
    right = rng.random(hit.shape) < accuracy[finds.categories]
    confusion = np.zeros((DRAWS, classes, classes), int)
    for k in range(classes):
        own = finds.categories == k
        confusion[:, k, k] += (hit & right)[:, own].sum(1)
        if classes > 1:
            confusion[:, :, k] += rng.multinomial((hit & ~right)[:, own].sum(1), instead[:, k])
    truths = confusion.sum(2)
    truths[:, 0] += rng.poisson(reliability.missed(finds), DRAWS)  # of whichever class: F1_class looks at pairs only
    predictions = np.broadcast_to(np.bincount(finds.categories, minlength=classes), truths.shape)
    return f1_scores(confusion, truths, predictions)


def _design(scores: np.ndarray) -> np.ndarray:
    sure = np.clip(scores, CERTAIN, 1 - CERTAIN)
    return np.stack([np.ones(len(sure)), np.log(sure / (1 - sure))], 1)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _logistic(design: np.ndarray, outcome: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression that are drawn to `prior`, by Newton's method."""
    weights = prior.copy()
    for _ in range(20):
        chance = _sigmoid(design @ weights)
        gradient = design.T @ (chance - outcome) + PRIOR * (weights - prior)
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + PRIOR * np.eye(len(prior))
        weights = weights - np.linalg.solve(curvature, gradient)
    return weights
