"""The defects of one image as arrays: what is matched and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tem_data.errors import TemDataError
from tem_data.micrograph import Defect


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
    index = {name: k for k, name in enumerate(classes)}
    for number, defect in enumerate(defects):
        if not defect.ignore and defect.category not in index:
            raise TemDataError(
                f"defect {number} (of {len(defects)}): expected a class of {list(classes)}, found {defect.category!r}; "
                "add it to `classes`, or mark such defects `ignore`"
            )
    return Labels(
        category=np.array([-1 if d.ignore else index[d.category] for d in defects], int),
        boxes=np.array([d.bbox for d in defects], float).reshape(-1, 4),
        scores=np.array([d.score for d in defects], float),
        ignore=np.array([d.ignore for d in defects], bool),
        rles=tuple(d.rle(*shape) for d in defects),
    )
