"""Labels as they stand in a file, whatever its format.

A reader turns files into `LabelTable`s; whether the labels are right is judged in
`checking`, and `tem_data.importing.micrographs` makes micrographs of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.micrograph import (
    Defect,
    defect_from_ellipse,
    defect_from_mask,
    defect_from_polygons,
    defect_from_rle,
    ellipse_box,
    paste,
    window,
)
from tem_data.core.rle import to_rle

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge of an outline, px."""


class Ellipse(NamedTuple):
    """Centre and full axes in px, angle counter-clockwise from +x in degrees, as in Fiji."""

    x: float
    y: float
    major: float
    minor: float
    angle_deg: float

    def box(self) -> Box:
        return ellipse_box(*self)

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        return defect_from_ellipse(category, *self, shape, ignore)

    def area(self) -> float:
        return float(np.pi / 4 * self.major * self.minor)

    def key(self) -> Hashable:
        return self


class Polygons(NamedTuple):
    """Flat x, y lists in px, as in COCO."""

    parts: tuple[tuple[float, ...], ...]

    def box(self) -> Box:
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in self.parts])
        return *points.min(0).tolist(), *points.max(0).tolist()

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        return defect_from_polygons(category, self.parts, shape, ignore)

    def area(self) -> float:
        corners = [np.reshape(part, (-1, 2)).T for part in self.parts]
        return float(sum(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 for x, y in corners))

    def key(self) -> Hashable:
        return self.parts

    def rle(self, shape: tuple[int, int]) -> dict:
        """The COCO run-length code of what lies on an image of `shape`."""
        return to_rle([list(part) for part in self.parts], *shape)


class RunLengths(NamedTuple):
    """A compressed COCO run-length code on an image of `shape`, checked; its px are not held until it is drawn."""

    counts: str
    shape: tuple[int, int]

    def box(self) -> Box:
        x, y, width, height = rle_ops.toBbox(self.rle(self.shape)).tolist()
        return x, y, x + width, y + height

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        return defect_from_rle(category, self.rle(shape), ignore)

    def area(self) -> float:
        return float(rle_ops.area(self.rle(self.shape)))

    def key(self) -> Hashable:
        return self.counts

    def rle(self, shape: tuple[int, int]) -> dict:
        """The COCO run-length code; `shape` is the code's own."""
        return {"size": list(self.shape), "counts": self.counts}


class Pixels(NamedTuple):
    """A bool mask whose upper left pixel is `(x, y)` of an image of `shape`, None where the file does not state it."""

    mask: np.ndarray
    x: int
    y: int
    shape: tuple[int, int] | None = None

    def box(self) -> Box:
        return self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0]

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        defect = defect_from_mask(category, self.mask, self.x, self.y, ignore)
        return defect and window(defect, 0, 0, shape)

    def area(self) -> float:
        return float(self.mask.sum())

    def key(self) -> Hashable:
        return self.x, self.y, self.mask.shape, self.mask.tobytes()


class Rings(NamedTuple):
    """Closed rings of flat x, y lists in px; a pixel belongs where its centre lies inside an odd number of them.

    A ring along pixel edges holds exactly the pixels that it runs round, which COCO's polygons do not promise.
    """

    rings: tuple[tuple[float, ...], ...]

    def box(self) -> Box:
        return Polygons(self.rings).box()

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        left, top, right, bottom = self.box()
        x0, x1 = max(0, int(np.floor(left))), min(shape[1], int(np.ceil(right)))
        y0, y1 = max(0, int(np.floor(top))), min(shape[0], int(np.ceil(bottom)))
        if x0 >= x1 or y0 >= y1:
            return None
        return defect_from_mask(category, even_odd(self.rings, (x0, y0, x1, y1)), x0, y0, ignore)

    def area(self) -> float:
        left, top, right, bottom = self.box()
        window = int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom))
        return float(even_odd(self.rings, window).sum())

    def key(self) -> Hashable:
        return self.rings


class Several(NamedTuple):
    """One defect drawn in several parts; a pixel belongs where it belongs to any of them."""

    parts: tuple[Ellipse | Pixels | Rings, ...]

    def box(self) -> Box:
        edges = np.array([part.box() for part in self.parts])
        return *edges[:, :2].min(0).tolist(), *edges[:, 2:].max(0).tolist()

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        drawn = [defect for part in self.parts if (defect := part.drawn(category, shape, ignore))]
        if not drawn:
            return None
        boxes = np.array([defect.bbox for defect in drawn])
        (x, y), (right, bottom) = boxes[:, :2].min(0).tolist(), (boxes[:, :2] + boxes[:, 2:]).max(0).tolist()
        canvas = np.zeros((bottom - y, right - x), bool)
        for defect in drawn:
            paste(canvas, replace(defect, x=defect.x - x, y=defect.y - y), 1)
        return defect_from_mask(category, canvas, x, y, ignore)

    def area(self) -> float:
        return sum(part.area() for part in self.parts)

    def key(self) -> Hashable:
        return tuple(part.key() for part in self.parts)


EDGES_AT_ONCE = 1024  # so that a zigzag over the whole image does not fill the memory


def even_odd(rings: Sequence[Sequence[float]], window: tuple[int, int, int, int]) -> np.ndarray:
    """The pixels of a window (left, top, right, bottom edge, px) whose centres lie inside `rings`, bool.

    A centre that a ring meets belongs to what lies left of the ring there, as in ImageJ.
    """
    x0, y0, x1, y1 = window
    flips = np.zeros((y1 - y0, x1 - x0 + 1), bool)
    for ring in rings:
        points = np.asarray(ring, float).reshape(-1, 2)
        edges = np.stack([points, np.roll(points, -1, 0)], 1)
        upward = edges[:, 0, 1] > edges[:, 1, 1]
        edges[upward] = edges[upward, ::-1]  # an edge is the same whichever way it is drawn
        for first in range(0, len(edges), EDGES_AT_ONCE):
            _cross(flips, edges[first : first + EDGES_AT_ONCE], window)
    return np.logical_xor.accumulate(flips, 1)[:, :-1]


def _cross(flips: np.ndarray, edges: np.ndarray, window: tuple[int, int, int, int]) -> None:
    """Flip each row of pixel centres where the downward `edges` (n, 2, 2) cross it."""
    x0, y0, x1, y1 = window
    rows = np.clip(np.ceil(edges[:, :, 1] - 0.5), y0, y1).astype(np.int64)
    counts = rows[:, 1] - rows[:, 0]
    (x, y), (end_x, end_y) = np.repeat(edges, counts, 0).transpose(1, 2, 0)
    row = np.arange(counts.sum()) + np.repeat(rows[:, 0] - np.cumsum(counts) + counts, counts)
    column = np.clip(np.floor(x + (row + 0.5 - y) * ((end_x - x) / (end_y - y)) + 0.5), x0, x1).astype(np.int64)
    np.logical_xor.at(flips, (row - y0, column - x0), True)


Outline = Ellipse | Polygons | RunLengths | Pixels | Rings | Several


class Label(NamedTuple):
    """One label as it stands in a file; `item` says where; `name` is its class there; None: no shape was given.

    `proposal` is the fingerprint that it was written with, "" of one that we did not write.
    """

    item: str
    name: str
    outline: Outline | None
    area: float | None = None
    ignore: bool = False
    proposal: str = ""


class LabelTable(NamedTuple):
    """The labels of one image, and how many were `lost` in reading; `shape` `(height, width)` where it is stated.

    `measured` ellipses may be in px or in the unit of their image. `proposed_by` is the model that proposed labels,
    `proposed` how many.
    """

    file_name: str
    labels: tuple[Label, ...]
    shape: tuple[int, int] | None = None
    lost: int = 0
    measured: bool = False
    proposed_by: str = ""
    proposed: int = 0
