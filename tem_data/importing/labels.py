"""Labels as they stand in a file, whatever its format.

A reader turns files into `LabelTable`s; whether the labels are right is judged in
`checking`, and `tem_data.importing.micrographs` makes micrographs of them.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from tem_data.core.micrograph import Defect, defect_from_ellipse, defect_from_mask, defect_from_polygons, ellipse_box

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


class Label(NamedTuple):
    """One label as it stands in a file; `item` says where; `name` is its class there; None: no shape was given."""

    item: str
    name: str
    outline: Ellipse | Polygons | Pixels | None
    area: float | None = None
    ignore: bool = False


class LabelTable(NamedTuple):
    """All labels of one image; `shape` `(height, width)` where the file states it."""

    file_name: str
    labels: tuple[Label, ...]
    shape: tuple[int, int] | None = None
