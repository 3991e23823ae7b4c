"""Defects of many masks as spans of pixels, and masks painted from them, without a loop over defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tem_data.core.micrograph import Defect
from tem_data.masks.ranges import ranges
from tem_data.masks.spacing import Ellipses


@dataclass(frozen=True, eq=False)
class Spans:
    """Runs of pixels `start <= x < stop` of row `y`, (spans,) int each, in the order of their `owner`."""

    owner: np.ndarray
    y: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def areas(self, owners: int) -> np.ndarray:
        """px² of each owner, (owners,) int."""
        return np.bincount(self.owner, self.stop - self.start, minlength=owners).astype(int)


def ellipse_spans(ellipses: Ellipses, size: int) -> Spans:
    """The pixels of masks of `size` px whose centres lie in each ellipse (px), as `defect_from_ellipse` has them.

    In the row dy from the centre an ellipse of the matrix M reaches from dy·xy/yy
    by √(det M·(yy − dy²))/yy to both sides.
    """
    xx, xy, yy = ellipses.form()
    half = np.sqrt(yy)
    top = np.clip(np.ceil(ellipses.y - half - 0.5), 0, size).astype(int)
    rows = np.maximum(np.clip(np.floor(ellipses.y + half + 0.5), 0, size).astype(int) - top, 0)
    owner, y = np.repeat(np.arange(len(ellipses)), rows), ranges(top, rows)
    dy = y + 0.5 - ellipses.y[owner]
    middle = ellipses.x[owner] + dy * (xy / yy)[owner] - 0.5
    reach = np.sqrt(np.maximum(yy[owner] - dy**2, 0)) * (np.sqrt(xx * yy - xy**2) / yy)[owner]
    start = np.clip(np.ceil(middle - reach), 0, size).astype(int)
    stop = np.clip(np.floor(middle + reach) + 1, 0, size).astype(int)
    seen = stop > start
    return Spans(owner[seen], y[seen], start[seen], stop[seen])


def mask_spans(masks: Sequence[Defect | None]) -> Spans:
    """The pixels of masks, one owner each; None has none."""
    runs = [(np.zeros((0, 4), int))]
    for owner, defect in enumerate(masks):
        if defect is not None:
            edges = np.diff(np.pad(defect.mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
            (y, start), (_, stop) = np.nonzero(edges == 1), np.nonzero(edges == -1)
            x = defect.x
            runs.append(np.stack([np.full(y.size, owner), y + defect.y, start + x, stop + x], 1))
    return Spans(*np.concatenate(runs).T)


def paint(
    spans: Spans, item: np.ndarray, number: np.ndarray, value: np.ndarray, items: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Class masks uint8 and instance maps uint16, `(items, size, size)`; small defects lie on top of large ones.

    Of each owner of spans: which mask it lies in, its `number` on the instance
    map and its `value` on the class mask. The rule of what lies on top is that of
    `micrograph.class_mask`.
    """
    owners = len(item)
    order = np.lexsort((number, -spans.areas(owners), item))
    each = np.bincount(spans.owner, minlength=owners)
    painted = ranges((np.cumsum(each) - each)[order], each[order])
    owner, length = spans.owner[painted], (spans.stop - spans.start)[painted]
    first = (item[owner] * size + spans.y[painted]) * size + spans.start[painted]
    pixels = ranges(first, length)
    classes, instances = np.zeros(items * size * size, np.uint8), np.zeros(items * size * size, np.uint16)
    classes[pixels] = np.repeat(value[owner].astype(np.uint8), length)
    instances[pixels] = np.repeat(number[owner].astype(np.uint16), length)
    return classes.reshape(items, size, size), instances.reshape(items, size, size)


def defect_from_spans(category: str, y: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Defect:
    """One defect from its spans, at least one."""
    left, top = int(start.min()), int(y.min())
    mask = np.zeros((int(y.max()) + 1 - top, int(stop.max()) - left), bool)
    mask[np.repeat(y - top, stop - start), ranges(start - left, stop - start)] = True
    return Defect(category, left, top, mask)
