"""Truths and predictions of one image, matched one to one at an IoU cutoff."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.errors import TemDataError
from tem_data.core.settings import section, setting
from tem_data.scoring.labels import Labels

Codes = tuple[dict, ...]


@section("evaluate")
class Rule:
    """How truths and predictions are matched. Raises SettingError for any other value."""

    iou: float = setting(0.3, "Least intersection over union of a match.", gt=0, le=1)
    match: Literal["mask", "box"] = setting("mask", "What overlaps: masks, or their boxes.")
    assignment: Literal["greedy", "optimal"] = setting(
        "greedy",
        "greedy: truths by the place of their box, each takes its best free prediction, as the papers' code does. "
        "optimal: most pairs, then the largest total IoU.",
    )
    ignore_ambiguous: bool = setting(True, "Predictions on ambiguous truths do not count; else they are false.")


class OverlapTable(NamedTuple):
    """How t truths, a ambiguous truths and p predictions of one image overlap; the same for all thresholds.

    `truths` (t,) and `predictions` (p,) are indices into the `Labels`, in an
    order that does not depend on theirs: truths by box x, y; predictions by
    falling score. `iou` is (t, p), `ambiguous` (a, p); `inside` (p,) bool says
    that more than half of a prediction's area is in one ambiguous truth.
    """

    truths: np.ndarray
    predictions: np.ndarray
    scores: np.ndarray
    iou: np.ndarray
    ambiguous: np.ndarray
    inside: np.ndarray


class Matching(NamedTuple):
    """Indices into the `Labels` of one image: `pairs` (n, 2) truth and prediction, and their `iou` (n,).

    `missed` are truths without a prediction, `false` predictions without a
    truth, `ignored` predictions that do not count because of an ambiguous truth.
    """

    pairs: np.ndarray
    iou: np.ndarray
    missed: np.ndarray
    false: np.ndarray
    ignored: np.ndarray


def greedy(iou: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows in their order take their best free column of at least `cutoff`; returns row and column indices."""
    left = iou.copy()
    rows, columns = [], []
    for row in range(iou.shape[0] if iou.shape[1] else 0):
        column = int(left[row].argmax())
        if left[row, column] >= cutoff:
            left[:, column] = -1
            rows.append(row)
            columns.append(column)
    return np.array(rows, int), np.array(columns, int)


def optimal(iou: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """The most pairs of at least `cutoff`, and of those the largest total IoU; row and column indices."""
    from scipy.optimize import linear_sum_assignment  # takes a quarter of a second to import

    allowed = iou >= cutoff
    # One more pair outweighs any sum of IoUs, which is at most the number of pairs.
    rows, columns = linear_sum_assignment(np.where(allowed, iou + min(iou.shape) + 1, 0), maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


ASSIGNMENTS = {"greedy": greedy, "optimal": optimal}


def _iou(
    truth: Labels, rows: np.ndarray, prediction: Labels, columns: np.ndarray, match: str, crowd: bool
) -> np.ndarray:
    """IoU (rows, columns); with `crowd`, the intersection as a share of the prediction's area (COCO's `iscrowd`)."""
    if not rows.size or not columns.size:
        return np.zeros((rows.size, columns.size))
    if match == "mask":
        found, real = cast(Codes, prediction.rles), cast(Codes, truth.rles)
        detected, true = [found[i] for i in columns], [real[i] for i in rows]
    else:
        detected, true = prediction.boxes[columns], truth.boxes[rows]
    return np.asarray(rle_ops.iou(detected, true, [int(crowd)] * rows.size)).T


def _order(labels: Labels, by_score: bool) -> list[int]:
    """Indices sorted by score or by box x, y; all else breaks ties, so that the order given never matters."""

    def key(i: int) -> tuple:
        code = "" if labels.rles is None else str(labels.rles[i]["counts"])
        return (-labels.scores[i] if by_score else 0, *labels.boxes[i], labels.category[i], code)

    return sorted(range(len(labels)), key=key)


def _check_masks(truth: Labels, prediction: Labels) -> None:
    for name, labels in (("truths", truth), ("predictions", prediction)):
        if len(labels) and labels.rles is None:
            raise TemDataError(f"the {name} have boxes but no masks; set `match` to box")
    sizes = {tuple(code["size"]) for labels in (truth, prediction) for code in labels.rles or ()}
    if len(sizes) > 1:
        raise TemDataError(
            f"masks of one image have different sizes {sorted(sizes)} (height, width); "
            "predict on the image that was labelled, or bring the masks to its size"
        )


def overlap(truth: Labels, prediction: Labels, match: str = "mask") -> OverlapTable:
    """The overlaps of all defects of one image. Raises TemDataError if masks are missing or differ in size."""
    if match == "mask":
        _check_masks(truth, prediction)
    order = np.array(_order(truth, by_score=False), int)
    truths, ambiguous = order[~truth.ignore[order]], order[truth.ignore[order]]
    ranked = np.array(_order(prediction, by_score=True), int)
    predictions = ranked[~prediction.ignore[ranked]]
    covered = _iou(truth, ambiguous, prediction, predictions, match, crowd=True)
    return OverlapTable(
        truths,
        predictions,
        prediction.scores[predictions],
        _iou(truth, truths, prediction, predictions, match, crowd=False),
        _iou(truth, ambiguous, prediction, predictions, match, crowd=False),
        np.any(covered > 0.5, 0),
    )


def match_overlap(overlaps: OverlapTable, rule: Rule, threshold: float = 0.0) -> Matching:
    """The matching of the predictions whose score is at least `threshold`."""
    kept = int((overlaps.scores >= threshold).sum())  # the predictions are sorted by falling score
    assign = ASSIGNMENTS[rule.assignment]
    iou = overlaps.iou[:, :kept]
    rows, columns = assign(iou, rule.iou)
    free = np.ones(kept, bool)
    free[columns] = False
    ignored = np.zeros(kept, bool)
    if rule.ignore_ambiguous:
        rest = np.flatnonzero(free)
        ignored[rest[assign(overlaps.ambiguous[:, rest], rule.iou)[1]]] = True
        ignored |= free & overlaps.inside[:kept]
    predictions = overlaps.predictions[:kept]
    return Matching(
        pairs=np.stack([overlaps.truths[rows], predictions[columns]], axis=1),
        iou=iou[rows, columns],
        missed=np.delete(overlaps.truths, rows),
        false=predictions[free & ~ignored],
        ignored=predictions[ignored],
    )


def match_labels(truth: Labels, prediction: Labels, rule: Rule = Rule(), threshold: float = 0.0) -> Matching:
    """The matching of one image, of the predictions whose score is at least `threshold`.

    Raises TemDataError as `overlap` does.
    """
    return match_overlap(overlap(truth, prediction, rule.match), rule, threshold)
