"""Scores of plain COCO files: a ground truth and a list of results, from whatever detector."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.core.rle import numbers, to_rle
from tem_data.scoring.average_precision import AveragePrecision, average_precision
from tem_data.scoring.labels import Labels
from tem_data.scoring.matching import Rule
from tem_data.scoring.scores import THRESHOLDS, Scores, best, compare, count_images, score_images
from tem_data.scoring.significance import Interval, score_intervals

IGNORE = ("ambiguous",)
TRUTH = "a COCO ground truth with `images`, `annotations` and `categories`"
RESULTS = "a list of results [{image_id, category_id, segmentation, score}, ...]"


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


@dataclass(frozen=True)
class Vocabulary:
    """What a ground truth names: size (height, width) of each image id, index of each category id (-1 ignored)."""

    sizes: Mapping[str, tuple[int, int]]
    categories: Mapping[int, int]
    classes: tuple[str, ...]


class _Item(NamedTuple):
    category: int
    box: list[float]
    score: float
    ignore: bool
    rle: dict | None


def _labels(items: Sequence[_Item], match: str) -> Labels:
    return Labels(
        np.array([i.category for i in items], int),
        np.array([i.box for i in items], float).reshape(-1, 4),
        np.array([i.score for i in items], float),
        np.array([i.ignore for i in items], bool),
        tuple(i.rle for i in items) if match == "mask" else None,
    )


def score_coco(
    truth_path: str | os.PathLike,
    predictions_path: str | os.PathLike,
    iou: float = 0.3,
    match: str = "mask",
    assignment: str = "greedy",
    ignore: Sequence[str] = IGNORE,
    ignore_ambiguous: bool = True,
    thresholds: Sequence[float] = THRESHOLDS,
) -> CocoScores:
    """Score COCO results (`[{image_id, category_id, bbox and/or segmentation, score}]`) against a COCO ground truth.

    Truths of the categories in `ignore`, and `iscrowd` ones, are ambiguous;
    predictions of these categories do not count. Truths without area are left
    out and counted in `warnings`; predictions without area count as false.
    Raises TemDataError, naming file and item, for whatever cannot be compared:
    unknown images or categories, images without size, scores outside [0, 1],
    damaged shapes, and items without a mask where masks are matched.
    """
    rule = Rule(iou, match, assignment, ignore_ambiguous)
    warnings: Counter[str] = Counter()
    truth = read_content(truth_path, dict, TRUTH)
    vocabulary = vocabulary_of(truth, truth_path, ignore)
    truths = truth_labels(truth["annotations"], vocabulary, truth_path, match, warnings)
    results = read_content(predictions_path, list, RESULTS)
    predictions = prediction_labels(results, vocabulary, predictions_path, match, warnings)
    images = compare(truths, predictions, match)
    scores = [score_images(images, vocabulary.classes, rule, threshold) for threshold in thresholds]
    counts = count_images(images, len(vocabulary.classes), rule, best(scores).threshold)
    intervals = score_intervals(counts, {name: name for name in images}, vocabulary.classes)
    ap = average_precision(truths, predictions, vocabulary.classes, match)
    return CocoScores(
        tuple(scores), intervals, ap, len(truths), tuple(f"{text}: {number}" for text, number in warnings.items())
    )


def read_content(path: str | os.PathLike, kind: type, expected: str) -> Any:
    content = read_json(path)
    if not isinstance(content, kind):
        raise TemDataError(f"{path}: expected {expected}, found a {type(content).__name__}")
    return content


def vocabulary_of(truth: dict, path: str | os.PathLike, ignore: Sequence[str]) -> Vocabulary:
    for part in ("images", "annotations", "categories"):
        if not isinstance(truth.get(part), list):
            raise TemDataError(f"{path}: expected a list `{part}`; is this a COCO ground truth?")
    names = {}
    for category in truth["categories"]:
        key, name = (category.get("id"), category.get("name")) if isinstance(category, dict) else (None, None)
        if not isinstance(key, (int, str)) or not isinstance(name, str):
            raise TemDataError(f"{path}: expected categories with `id` and `name`, found {category!r}")
        if key in names:
            raise TemDataError(f"{path}: category id {key} is there twice; give each category its own id")
        names[key] = name
    unused = set(ignore) - set(names.values()) - set(IGNORE)
    if unused:
        raise TemDataError(f"{path}: no category {sorted(unused)} to ignore; there are {sorted(names.values())}")
    classes = tuple(dict.fromkeys(name for name in names.values() if name not in ignore))
    index = {key: -1 if name in ignore else classes.index(name) for key, name in names.items()}
    return Vocabulary(_sizes(truth["images"], path), index, classes)


def _sizes(images: list, path: str | os.PathLike) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict) or "id" not in image:
            raise TemDataError(f"{path}: images[{number}]: expected an object with `id`, `height` and `width`")
        name, size = str(image["id"]), (image.get("height"), image.get("width"))
        if name in sizes:
            raise TemDataError(f"{path}: image id {name} is there twice; give each image its own id")
        if not all(isinstance(side, int) and side > 0 for side in size):
            raise TemDataError(f"{path}: image id {name}: expected `height` and `width` in px, found {size}; add them")
        sizes[name] = size
    return sizes


def truth_labels(
    annotations: list, vocabulary: Vocabulary, path: str | os.PathLike, match: str, warnings: Counter
) -> dict[str, Labels]:
    images: dict[str, list[_Item]] = {name: [] for name in vocabulary.sizes}
    for number, item in enumerate(annotations):
        name, category, box, code = _checked(item, vocabulary, match, f"{path}: annotations[{number}]")
        if not _has_area(box, code):
            warnings["truths without area, left out"] += 1
            continue
        ambiguous = category < 0 or bool(item.get("iscrowd"))
        images[name].append(_Item(-1 if ambiguous else category, box, 1.0, ambiguous, code))
    return {name: _labels(items, match) for name, items in images.items()}


def prediction_labels(
    results: list, vocabulary: Vocabulary, path: str | os.PathLike, match: str, warnings: Counter
) -> dict[str, Labels]:
    images: dict[str, list[_Item]] = {name: [] for name in vocabulary.sizes}
    for number, item in enumerate(results):
        where = f"{path}: item {number}"
        name, category, box, code = _checked(item, vocabulary, match, where)
        score = item.get("score")
        if not numbers([score]) or not 0 <= score <= 1:
            raise TemDataError(f"{where}: expected `score` to be a confidence in [0, 1], found {score!r}; rescale it")
        if category < 0:
            warnings["predictions of an ignored category, left out"] += 1
        elif not _has_area(box, code):
            warnings["predictions without area, counted as false"] += 1
        images[name].append(_Item(category, box, score, category < 0, code))
    return {name: _labels(items, match) for name, items in images.items()}


def _checked(item: Any, vocabulary: Vocabulary, match: str, where: str) -> tuple[str, int, list[float], dict | None]:
    """Image, index of the class, box and, if masks are matched, code of one item."""
    name, category = _image_and_category(item, vocabulary, where)
    return name, category, *_shape(item, vocabulary.sizes[name], match, where)


def _image_and_category(item: Any, vocabulary: Vocabulary, where: str) -> tuple[str, int]:
    if not isinstance(item, dict):
        raise TemDataError(f"{where}: expected an object with `image_id` and `category_id`, found {item!r}")
    image, category = item.get("image_id"), item.get("category_id")
    if str(image) not in vocabulary.sizes:
        raise TemDataError(
            f"{where}: image id {image!r} is none of the {len(vocabulary.sizes)} of the ground truth; "
            "score each set of images against its own ground truth"
        )
    if not isinstance(category, (int, str)) or category not in vocabulary.categories:
        raise TemDataError(
            f"{where}: category id {category!r} is none of the ground truth's {list(vocabulary.categories)}; "
            "write the ids of its `categories`"
        )
    return str(image), vocabulary.categories[category]


def _shape(item: dict, size: tuple[int, int], match: str, where: str) -> tuple[list[float], dict | None]:
    """The box x, y, w, h as given, else that of the mask; and the mask's code if masks are matched."""
    box, segmentation = item.get("bbox"), item.get("segmentation")
    code = None
    if segmentation and (match == "mask" or box is None):
        try:
            code = to_rle(segmentation, *size)
        except TemDataError as error:
            raise TemDataError(f"{where}: segmentation: {error}") from error
    if match == "mask" and code is None:
        raise TemDataError(f"{where}: has no segmentation; give masks, or match boxes instead (--match box)")
    if box is None:
        if code is None:
            raise TemDataError(f"{where}: expected a `bbox` or a `segmentation`; neither is there")
        box = rle_ops.toBbox(code).tolist()
    if not numbers(box) or len(box) != 4 or min(box[2:]) < 0:
        raise TemDataError(f"{where}: expected `bbox` to be [x, y, width, height] in px, found {box!r}")
    return box, code if match == "mask" else None


def _has_area(box: Sequence[float], code: dict | None) -> bool:
    return bool(box[2] * box[3] > 0 if code is None else rle_ops.area(code) > 0)
