"""Scores of plain COCO files: a ground truth and a list of results, from whatever detector."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.coco.faults import Faults
from tem_data.coco.labels import IGNORE, counted_categories
from tem_data.coco.reading import CocoFile, Image, Instance, read_found, read_truth
from tem_data.core.errors import TemDataError
from tem_data.scoring.average_precision import AveragePrecision, average_precision
from tem_data.scoring.evaluation import EvaluationSettings
from tem_data.scoring.labels import Labels
from tem_data.scoring.scores import Scores, best, compare, count_images, score_images
from tem_data.scoring.significance import Interval, score_intervals

SUSPICIOUS = 3  # truths and predictions of which none meet by more than chance
SLACK = 1.05  # of the side of an image, which the boxes of models leave by rounding


@dataclass(frozen=True, eq=False)
class CocoScores:
    """The scores at each threshold, COCO's AP, how many images were compared, and what was odd, counted.

    `intervals` are of the best scores: 95 % bootstrap over images (too narrow where these overlap).
    """

    scores: tuple[Scores, ...]
    intervals: dict[str, Interval]
    average_precision: AveragePrecision
    images: int
    warnings: tuple[str, ...]

    @property
    def best(self) -> Scores:
        return best(self.scores)

    def to_dict(self) -> dict:
        return {
            "images": self.images,
            "warnings": list(self.warnings),
            "best": self.best.to_dict() | {"interval": {name: list(i) for name, i in self.intervals.items()}},
            "scores": [s.to_dict() for s in self.scores],
            "average_precision": self.average_precision._asdict(),
        }


class _Item(NamedTuple):
    category: int
    box: list[float]
    score: float
    ignore: bool
    rle: dict | None


def score_coco(
    truth_path: str | os.PathLike,
    predictions_path: str | os.PathLike,
    settings: EvaluationSettings = EvaluationSettings(),
    ignore: Sequence[str] = IGNORE,
) -> CocoScores:
    """Score COCO results (`[{image_id, category_id, bbox and/or segmentation, score}]`) against a COCO ground truth.

    Truths of the categories in `ignore`, and `iscrowd` ones, are ambiguous;
    predictions of these categories do not count. Truths without area are left
    out and counted in `warnings`; predictions without area count as false.
    Raises TemDataError, naming file and item, for whatever cannot be compared:
    unknown images or categories, images without size, scores outside [0, 1],
    damaged shapes, and items without a mask where masks are matched.
    """
    match, masks, warnings = settings.match, settings.match == "mask", Counter[str]()
    truth = read_truth(Faults(truth_path, warnings=warnings), sizes=True, masks=masks)
    found = read_found(truth, Faults(predictions_path, warnings=warnings), masks)
    classes = counted_categories(truth, ignore, truth_path)
    truths = _truths(truth, classes, truth_path, masks, warnings)
    predictions = _predictions(found, classes, predictions_path, masks, warnings)
    images = compare(truths, predictions, match)
    scores = [score_images(images, classes, settings, threshold) for threshold in settings.thresholds]
    _warn_of_nothing(truths, predictions, scores, warnings)
    counts = count_images(images, len(classes), settings, best(scores).threshold)
    intervals = score_intervals(counts, {name: name for name in images}, classes)
    ap = average_precision(truths, predictions, classes, match)
    return CocoScores(
        tuple(scores), intervals, ap, len(truths), tuple(f"{text}: {number}" for text, number in warnings.items())
    )


def _truths(
    file: CocoFile, classes: Sequence[str], path: str | os.PathLike, masks: bool, warnings: Counter[str]
) -> dict[str, Labels]:
    truths = {}
    for key, image in file.images.items():
        items = []
        for instance in file.instances[key]:
            box, code = _shape(instance, image, path, masks)
            if not _has_area(box, code):
                warnings["truths without area, left out"] += 1
                continue
            ambiguous = instance.crowd or instance.category not in classes
            items.append(_Item(-1 if ambiguous else classes.index(instance.category), box, 1.0, ambiguous, code))
        truths[key] = _labels(items, masks)
    return truths


def _predictions(
    file: CocoFile, classes: Sequence[str], path: str | os.PathLike, masks: bool, warnings: Counter[str]
) -> dict[str, Labels]:
    predictions = {}
    for key, image in file.images.items():
        items = []
        for instance in file.instances[key]:
            box, code = _shape(instance, image, path, masks)
            if code is None and _leaves(box, cast("tuple[int, int]", image.shape)):
                warnings["boxes that leave their image, as corners x, y, x, y do that are read as x, y, w, h"] += 1
            ignored = instance.category not in classes
            if ignored:
                warnings["predictions of an ignored category, left out"] += 1
            elif not _has_area(box, code):
                warnings["predictions without area, counted as false"] += 1
            category = -1 if ignored else classes.index(instance.category)
            items.append(_Item(category, box, instance.score, ignored, code))
        predictions[key] = _labels(items, masks)
    return predictions


def _warn_of_nothing(
    truths: dict[str, Labels], predictions: dict[str, Labels], scores: Sequence[Scores], warnings: Counter[str]
) -> None:
    """Warn where there is nothing to compare, or nothing meets, as of files that do not belong together."""
    least = min(s.threshold for s in scores)
    true = sum(int((~labels.ignore).sum()) for labels in truths.values())
    found = [float(score) for labels in predictions.values() for score in labels.scores[~labels.ignore]]
    if not true:
        warnings["images, none of which has a truth that counts"] = len(truths)
    if not found:
        warnings["images, none of which has a prediction that counts"] = len(truths)
    elif max(found) < least:
        best_score = f"(the best has {max(found):.3g})"
        warnings[f"predictions, none of which reaches the lowest threshold {least:g} {best_score}"] = len(found)
    elif min(true, len(found)) >= SUSPICIOUS and not any(s.f1_detect for s in scores):
        warnings["predictions, none of which meets a truth; see that images, ids and px are the same"] = len(found)


def _shape(instance: Instance, image: Image, path: str | os.PathLike, masks: bool) -> tuple[list[float], dict | None]:
    """The box x, y, w, h as given, else that of the mask; and the mask's code if masks are matched."""
    code = None if instance.outline is None else instance.outline.rle(cast("tuple[int, int]", image.shape))
    if masks and code is None:
        raise TemDataError(f"{path}: {instance.item}: has no segmentation; give masks, or set `match` to box")
    if instance.box is None and code is None:
        raise TemDataError(f"{path}: {instance.item}: expected a `bbox` or a `segmentation`; neither is there")
    box = rle_ops.toBbox(code).tolist() if instance.box is None else instance.box
    return box, code if masks else None


def _leaves(box: Sequence[float], shape: tuple[int, int]) -> bool:
    """Whether a box leaves an image of `shape` by more than the rounding of a model."""
    x, y, width, height = box
    return x + width > SLACK * shape[1] + 1 or y + height > SLACK * shape[0] + 1


def _has_area(box: Sequence[float], code: dict | None) -> bool:
    return bool(box[2] * box[3] > 0 if code is None else rle_ops.area(code) > 0)


def _labels(items: Sequence[_Item], masks: bool) -> Labels:
    return Labels(
        np.array([i.category for i in items], int),
        np.array([i.box for i in items], float).reshape(-1, 4),
        np.array([i.score for i in items], float),
        np.array([i.ignore for i in items], bool),
        tuple(cast(dict, i.rle) for i in items) if masks else None,
    )
