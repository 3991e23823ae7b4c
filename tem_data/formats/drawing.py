"""Outlines of the shapes that annotation tools draw, and rings along the pixel edges of masks, to write them.

The origin is the upper left corner of the upper left pixel, whose centre lies
at (0.5, 0.5), px. What makes no shape raises Fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tem_data.coco.faults import Fault, shown
from tem_data.core.rle import finite
from tem_data.importing.labels import Ellipse, Rings

FARTHEST_PX = 1e8
NO_AREA = "encloses no area; draw an outline"


def coordinates(values: Any, what: str, count: int | None = None) -> list[float]:
    """A list of `count` finite numbers that may be positions or lengths in px."""
    if not isinstance(values, (list, tuple)) or not all(finite(v) for v in values):
        raise Fault("bad shape", f"expected {what} as finite numbers, found {shown(values)}")
    if count is not None and len(values) != count:
        raise Fault("bad shape", f"expected {what} as {count} numbers, found {len(values)}")
    if any(abs(v) > FARTHEST_PX for v in values):
        raise Fault("bad shape", f"expected {what} in px, found {max(values, key=abs):.3g}")
    return [float(v) for v in values]


def points(values: Any, count: int | None = None) -> list[list[float]]:
    """A list of `count` points [x, y]."""
    if not isinstance(values, list):
        raise Fault("bad shape", f"expected a list of points [x, y], found {shown(values)}")
    if count is not None and len(values) != count:
        raise Fault("bad shape", f"expected {count} points, found {len(values)}")
    return [coordinates(value, "a point x, y", 2) for value in values]


def ring(values: Any) -> tuple[float, ...]:
    """The flat ring through at least three points [x, y]; the first one may be repeated at the end."""
    corners = points(values)
    if len(corners) > 1 and corners[0] == corners[-1]:
        del corners[-1]
    if len(corners) < 3:
        raise Fault("bad shape", f"expected at least three points, found {len(corners)}")
    return tuple(value for corner in corners for value in corner)


def polygon(*rings: Any) -> Rings:
    """The inside of rings by the even-odd rule, so that a ring in another one is a hole."""
    return Rings(tuple(map(ring, rings)))


def rectangle(left: float, top: float, right: float, bottom: float) -> Rings:
    left, right, top, bottom = *sorted((left, right)), *sorted((top, bottom))
    if left == right or top == bottom:
        raise Fault("bad shape", f"a rectangle of {right - left:g} × {bottom - top:g} px")
    return Rings(((left, top, right, top, right, bottom, left, bottom),))


def ellipse(x: float, y: float, radius_x: float, radius_y: float, clockwise_deg: float = 0.0) -> Ellipse:
    """Radii along the axes x and y, before it is turned clockwise as one sees it."""
    if radius_x <= 0 or radius_y <= 0:
        raise Fault("bad shape", f"radii {radius_x:g} and {radius_y:g} px")
    return Ellipse(x, y, 2 * radius_x, 2 * radius_y, -clockwise_deg if clockwise_deg else 0.0)


def traced(mask: np.ndarray, x: int = 0, y: int = 0) -> list[np.ndarray]:
    """The rings along the pixel edges of a bool mask whose upper left pixel is `(x, y)`: (n, 2) int corners x, y.

    Pixels that meet at a corner only are in rings of their own. Outer rings
    run clockwise as one sees them, holes counter-clockwise.
    """
    padded = np.pad(mask.astype(bool), 1)
    corner, hole, partner = _links(padded)
    free, found = np.ones(len(corner), bool), []
    for start in range(len(corner)):
        if not free[start]:
            continue
        nodes, node = [], start
        while free[node]:
            across = partner[0][node]
            nodes += [node, across]
            free[[node, across]] = False
            node = partner[1][across]
        nodes = nodes[:1] + nodes[:0:-1] if hole[start] else nodes
        found.append(corner[nodes] + (x, y))
    return found


def _links(padded: np.ndarray) -> tuple[np.ndarray, np.ndarray, Sequence[np.ndarray]]:
    """The corners of a mask row by row, whether each begins a hole, and the ends of their lines across and down.

    Where pixels meet at a corner only there are two: one with the line to the left, one with that to the right.
    """
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    left, right, up, down = a != c, b != d, a != b, c != d
    rows, columns = np.nonzero((left ^ right) | (left & up & right & down))
    twice = (left & right)[rows, columns]
    order = np.repeat(np.arange(len(rows)), 1 + twice)
    second = np.r_[False, order[1:] == order[:-1]] if len(order) else np.zeros(0, bool)
    rows, columns, double = rows[order], columns[order], twice[order]
    # of two pixels that meet, the left one's lines go left and up where it lies above the other
    downward = np.where(double, second == a[rows, columns], down[rows, columns])
    rightward = np.where(double, second, right[rows, columns])
    across = _pairs(np.lexsort((rightward, columns, rows)))
    along = _pairs(np.lexsort((downward, rows, columns)))
    return np.stack([columns, rows], 1), ~d[rows, columns], (across, along)


def _pairs(order: np.ndarray) -> np.ndarray:
    """The other one of each pair of neighbours in `order`."""
    partner = np.empty(len(order), np.int64)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner
