"""Labels as they stand in a file, whatever its format.

A reader turns files into `LabelTable`s; whether the labels are right is judged in
`checking`, and `tem_data.importing.micrographs` makes micrographs of them.
"""

from __future__ import annotations

from collections.abc import Hashable
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
    """A bool mask whose upper left pixel is `(x, y)` of an image of `shape`."""

    mask: np.ndarray
    x: int
    y: int
    shape: tuple[int, int]

    def box(self) -> Box:
        return self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0]

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        return defect_from_mask(category, self.mask, self.x, self.y, ignore)

    def area(self) -> float:
        return float(self.mask.sum())

    def key(self) -> Hashable:
        return self.x, self.y, self.mask.shape, self.mask.tobytes()


Outline = Ellipse | Polygons | RunLengths | Pixels


class Label(NamedTuple):
    """One label as it stands in a file; `item` says where; `name` is its class there; None: no shape was given."""

    item: str
    name: str
    outline: Outline | None
    area: float | None = None
    ignore: bool = False


class LabelTable(NamedTuple):
    """The labels of one image, and how many were `lost` in reading; `shape` `(height, width)` where it is stated."""

    file_name: str
    labels: tuple[Label, ...]
    shape: tuple[int, int] | None = None
    lost: int = 0
