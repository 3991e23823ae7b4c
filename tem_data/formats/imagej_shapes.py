"""The outlines of ImageJ's regions, px; what encloses no area raises Fault (ij/io/RoiDecoder.java)."""

from __future__ import annotations

import itertools
import struct

import numpy as np
from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from tem_data.coco.faults import Fault
from tem_data.formats import drawing
from tem_data.importing.labels import Ellipse, Rings

POLYGONS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
OPERANDS = (2, 2, 4, 6, 0)  # of moving, a line, a quadratic and a cubic curve, closing (java.awt.geom.PathIterator)
CURVE_STEPS = np.linspace(0, 1, 17)[1:, None]


def outline_of(roi: ImagejRoi) -> Ellipse | Rings:
    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE, ROI_SUBTYPE.ARROW):
        raise Fault("bad shape", f"an overlay ({_name(roi.subtype)}) {drawing.NO_AREA}")
    if roi.composite:
        if roi.multi_coordinates is None:
            raise Fault("bad shape", "a composite region without a path")
        return drawing.polygon(*_path(roi.multi_coordinates.tolist()))
    if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        return _boxed(roi)
    if roi.roitype == ROI_TYPE.FREEHAND and roi.subtype in (ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT):
        return _along_a_line(roi)
    if roi.roitype in POLYGONS:
        return drawing.polygon(np.asarray(roi.coordinates(), float).reshape(-1, 2).tolist())
    raise Fault("bad shape", f"a region of type {_name(roi.roitype)} {drawing.NO_AREA}")


def _name(kind: ROI_TYPE | ROI_SUBTYPE) -> str:
    return str(kind.name).lower()


def _boxed(roi: ImagejRoi) -> Ellipse | Rings:
    whole = roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top
    exact = roi.xd, roi.yd, roi.widthd, roi.heightd
    x, y, width, height = drawing.coordinates(exact if roi.subpixelrect else whole, "the box of a region", 4)
    if roi.roitype == ROI_TYPE.OVAL:
        return drawing.ellipse(x + width / 2, y + height / 2, width / 2, height / 2)
    if roi.rounded_rect_arc_size > 0:
        raise Fault("bad shape", "a rectangle with rounded corners; draw it as an oval or a polygon")
    return drawing.rectangle(x, y, x + width, y + height)


def _along_a_line(roi: ImagejRoi) -> Ellipse | Rings:
    """An ellipse or a turned rectangle: its middle line, and the ratio of its axes or its width."""
    last = struct.pack(roi.byteorder + "BBh", *_last_bytes(roi))
    (ratio,) = struct.unpack(roi.byteorder + "f", last)
    values = [roi.x1, roi.y1, roi.x2, roi.y2, ratio]
    x1, y1, x2, y2, ratio = drawing.coordinates(values, "the axis of a region", 5)
    length = float(np.hypot(x2 - x1, y2 - y1))
    if roi.subtype == ROI_SUBTYPE.ELLIPSE:
        turn = float(np.rad2deg(np.arctan2(y2 - y1, x2 - x1)))
        return drawing.ellipse((x1 + x2) / 2, (y1 + y2) / 2, length / 2, length * ratio / 2, turn)
    if length == 0 or ratio == 0:
        raise Fault("bad shape", f"a rectangle of {length:g} × {ratio:g} px")
    across_x, across_y = (y2 - y1) / length * ratio / 2, (x1 - x2) / length * ratio / 2
    ends = [(x1, y1, 1), (x2, y2, 1), (x2, y2, -1), (x1, y1, -1)]
    return drawing.polygon([[x + side * across_x, y + side * across_y] for x, y, side in ends])


def _last_bytes(roi: ImagejRoi) -> tuple[int, int, int]:
    # the place of a number of 4 bytes in regions of this kind
    return roi.arrow_style_or_aspect_ratio, roi.arrow_head_size, roi.rounded_rect_arc_size


def _path(values: list[float]) -> list[list[list[float]]]:
    """The rings of a composite region, its curves as lines."""
    rings: list[list[list[float]]] = []
    place = 0
    while place < len(values):
        kind = values[place]
        if kind not in range(len(OPERANDS)):
            raise Fault("bad shape", f"a path with the unknown step {kind:g}")
        count = OPERANDS[int(kind)]
        numbers = drawing.coordinates(values[place + 1 : place + 1 + count], "a step of a path", count)
        place += 1 + count
        if kind == 0:
            rings.append([])
        elif not rings:
            raise Fault("bad shape", "a path that does not begin with a point")
        if kind in (0, 1):
            rings[-1].append(numbers)
        elif count and rings[-1]:
            rings[-1] += _curve(np.array([*rings[-1][-1], *numbers]).reshape(-1, 2)).tolist()
    # ImageJ leaves points and lines without area behind where it combines regions
    found = [ring for ring in rings if len({tuple(point) for point in ring}) > 2]
    if not found:
        raise Fault("bad shape", "a composite region of fewer than three points")
    return found


def _curve(points: np.ndarray) -> np.ndarray:
    """Points on the Bézier curve that the corners (n, 2) control, after the first."""
    levels = [np.broadcast_to(point, (len(CURVE_STEPS), 2)) for point in points]
    while len(levels) > 1:
        levels = [a * (1 - CURVE_STEPS) + b * CURVE_STEPS for a, b in itertools.pairwise(levels)]
    return levels[0]
