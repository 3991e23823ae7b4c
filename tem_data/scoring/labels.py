"""The defects of one image as arrays: what is matched and counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect
from tem_data.core.rle import encode, to_rle


@dataclass(frozen=True, eq=False)
class Labels:
    """The n defects of one image, true or predicted.

    `category` (n,) int is the index of the class, -1 for an ignored defect;
    `boxes` (n, 4) float is x, y, width, height in px; `scores` (n,) float is
    the confidence in [0, 1]; `ignore` (n,) bool marks ambiguous truths, and
    predictions that are not to be counted; `rles` are n compressed COCO
    run-length codes on the whole image, or None where only boxes are known.
    """

    category: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    ignore: np.ndarray
    rles: tuple[dict, ...] | None = None

    def __len__(self) -> int:
        return len(self.category)


def labels_of(defects: Sequence[Defect], shape: tuple[int, int], classes: Sequence[str]) -> Labels:
    """The `Labels` of the defects of an image of `shape`.

    Raises TemDataError for a defect that is not ignored and of none of the `classes`.
    """
    return labels_from_rles(
        [d.rle(*shape) for d in defects],
        [d.category for d in defects],
        classes,
        [d.score for d in defects],
        [d.ignore for d in defects],
    )


def labels_from_rles(
    rles: Sequence[dict],
    categories: Sequence[str],
    classes: Sequence[str],
    scores: Sequence[float] | None = None,
    ignore: Sequence[bool] | None = None,
) -> Labels:
    """The `Labels` of n COCO run-length codes on one image, compressed (`to_rle` checks and compresses others).

    `categories` are the names of their classes; `scores` are 1 and nothing is
    ignored where they are not given. Raises TemDataError for lists of
    different lengths, a score outside [0, 1], and a category that is not
    ignored and none of the `classes`.
    """
    boxes = rle_ops.toBbox(list(rles)) if rles else []
    return _labels(boxes, tuple(rles), categories, classes, scores, ignore)


def labels_from_polygons(
    polygons: Sequence[Sequence[Sequence[float]]],
    shape: tuple[int, int],
    categories: Sequence[str],
    classes: Sequence[str],
    scores: Sequence[float] | None = None,
    ignore: Sequence[bool] | None = None,
) -> Labels:
    """The `Labels` of n outlines on an image of `shape`, each a list of polygons [x1, y1, x2, y2, …] in px, as COCO's.

    Raises TemDataError as `labels_from_rles` and `to_rle` do.
    """
    return labels_from_rles([to_rle(p, *shape) for p in polygons], categories, classes, scores, ignore)


def labels_from_instances(
    instances: np.ndarray,
    categories: Mapping[int, str],
    classes: Sequence[str],
    scores: Mapping[int, float] | None = None,
    ignore: Collection[int] = (),
) -> Labels:
    """The `Labels` of an instance map (h, w) of ints, 0 being background.

    `categories` names the class of each number on the map, `scores` its
    confidence; the numbers in `ignore` are ambiguous. Raises TemDataError for
    a number without a category, and as `labels_from_rles` does.
    """
    numbers = [int(n) for n in np.unique(instances) if n]
    for name, given in (("categories", categories), ("scores", scores)):
        if given is not None and (missing := [n for n in numbers if n not in given]):
            raise TemDataError(f"the instance map holds {missing}, which `{name}` does not name; add them")
    rles = [encode(instances == n) for n in numbers]
    confidence = None if scores is None else [scores[n] for n in numbers]
    return labels_from_rles(rles, [categories[n] for n in numbers], classes, confidence, [n in ignore for n in numbers])


def labels_from_boxes(
    boxes: np.ndarray | Sequence[Sequence[float]],
    categories: Sequence[str],
    classes: Sequence[str],
    scores: Sequence[float] | None = None,
    ignore: Sequence[bool] | None = None,
) -> Labels:
    """The `Labels` of n boxes (n, 4) x, y, width, height in px; they can be matched by box only.

    Raises TemDataError as `labels_from_rles` does.
    """
    return _labels(boxes, None, categories, classes, scores, ignore)


def _labels(
    boxes: Any,
    rles: tuple[dict, ...] | None,
    categories: Sequence[str],
    classes: Sequence[str],
    scores: Sequence[float] | None,
    ignore: Sequence[bool] | None,
) -> Labels:
    count = len(boxes)
    confidence = np.ones(count) if scores is None else np.asarray(scores, float)
    ambiguous = np.zeros(count, bool) if ignore is None else np.asarray(ignore, bool)
    if not len(categories) == len(confidence) == len(ambiguous) == count:
        raise TemDataError(
            f"{count} shapes, {len(categories)} categories, {len(confidence)} scores and {len(ambiguous)} marks to "
            "ignore; expected as many of each"
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise TemDataError("expected scores to be confidences in [0, 1]; rescale them")
    index = {name: k for k, name in enumerate(classes)}
    for number, (name, ignored) in enumerate(zip(categories, ambiguous, strict=True)):
        if not ignored and name not in index:
            raise TemDataError(
                f"defect {number} (of {count}): expected a class of {list(classes)}, found {name!r}; "
                "add it to `classes`, or mark such defects `ignore`"
            )
    numbers = [-1 if ignored else index[name] for name, ignored in zip(categories, ambiguous, strict=True)]
    return Labels(np.array(numbers, int), np.asarray(boxes, float).reshape(-1, 4), confidence, ambiguous, rles)
