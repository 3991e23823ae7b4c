"""Scores of COCO files: a ground truth, and results in a list or a whole file, from whatever detector."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.coco.datasets import truth_at
from tem_data.coco.faults import Faults
from tem_data.coco.labels import IGNORE, counted_categories
from tem_data.coco.reading import CocoFile, Image, Instance
from tem_data.coco.results import Cut, read_found
from tem_data.core.errors import TemDataError
from tem_data.scoring.average_precision import AveragePrecision, average_precision
from tem_data.scoring.doubts import notes_of_cut, notes_of_images, warn_of_exchanged, warn_of_nothing, warn_of_twins
from tem_data.scoring.evaluation import EvaluationSettings
from tem_data.scoring.labels import Labels
from tem_data.scoring.scores import Scores, best, compare, count_images, score_images
from tem_data.scoring.significance import Interval, score_intervals

SLACK = 1.05  # of the side of an image, which the boxes of models leave by rounding


@dataclass(frozen=True, eq=False)
class CocoScores:
    """The scores at each threshold, COCO's AP, how many images were compared, and what was odd, counted.

    `intervals` are of the best scores: 95 % bootstrap over images (too narrow where these overlap). There are no
    scores at thresholds below the `cut` of the predictions; `notes` say so in words.
    """

    scores: tuple[Scores, ...]
    intervals: dict[str, Interval]
    average_precision: AveragePrecision
    images: int
    warnings: tuple[str, ...]
    cut: Cut
    notes: tuple[str, ...]

    @property
    def best(self) -> Scores:
        return best(self.scores)

    def to_dict(self) -> dict:
        return {
            "images": self.images,
            "warnings": list(self.warnings),
            "cut": self.cut._asdict(),
            "notes": list(self.notes),
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
    """Score predictions against a COCO ground truth, or a dataset folder of whole micrographs.

    Predictions are a list of COCO results (`[{image_id, category_id, bbox and/or segmentation, score}]`), or a whole
    COCO file, as `read_found` takes them. Thresholds below the confidence at which they were cut are not scored, as
    what the model finds there is not in the file; AP is that of what is there.
    Truths of the categories in `ignore`, and `iscrowd` ones, are ambiguous;
    predictions of these categories do not count. Truths without area are left
    out and counted in `warnings`; predictions without area count as false.
    Raises TemDataError, naming file and item, for whatever cannot be compared:
    unknown images or categories, images without size, scores outside [0, 1],
    damaged shapes, and items without a mask where masks are matched.
    """
    match, masks, warnings = settings.match, settings.match == "mask", Counter[str]()
    labels = truth_at(truth_path, Faults(truth_path, warnings=warnings), masks=masks).file
    truth, found, cut = read_found(labels, Faults(predictions_path, warnings=warnings), masks)
    classes = counted_categories(truth, ignore, truth_path)
    truths = _truths(truth, classes, truth_path, masks, warnings)
    predictions = _predictions(found, classes, predictions_path, masks, warnings)
    images = compare(truths, predictions, match)
    scores = [score_images(images, classes, settings, threshold) for threshold in cut.kept(settings.thresholds)]
    warn_of_nothing(truths, predictions, scores, warnings)
    warn_of_exchanged(best(scores), warnings)
    counts = count_images(images, len(classes), settings, best(scores).threshold)
    intervals = score_intervals(counts, {name: name for name in images}, classes)
    ap = average_precision(truths, predictions, classes, match)
    texts = tuple(f"{text}: {number}" for text, number in warnings.items())
    notes = (*notes_of_cut(cut, settings.thresholds), *notes_of_images(truth, bool(intervals)))
    return CocoScores(tuple(scores), intervals, ap, len(truths), texts, cut, notes)


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
        warn_of_twins("truths", truths[key], warnings)
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
        warn_of_twins("predictions", predictions[key], warnings)
    return predictions


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
