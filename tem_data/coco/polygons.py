"""Masks as COCO polygons that pycocotools fills to the same pixels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label
from scipy.spatial.distance import cdist

from tem_data.formats.drawing import traced


def pixel_polygons(mask: np.ndarray, x: int = 0, y: int = 0) -> list[list[int]]:
    """Flat x, y lists along the pixel edges of a bool mask whose upper left pixel is `(x, y)`, one for each part.

    COCO adds polygons up and knows no holes, so that a hole is joined to its outline by a cut without width.
    """
    parts, count = label(mask)
    return [_outline(traced(parts == part, x, y)).ravel().tolist() for part in range(1, count + 1)]


def _outline(rings: list[np.ndarray]) -> np.ndarray:
    """One closed path (n, 2) along an outer ring and the holes that follow it."""
    path, *holes = rings
    for hole in holes:
        distances = cdist(path, hole)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        around = np.roll(hole, -there, 0)
        path = np.concatenate([path[: here + 1], around, around[:1], path[here:]])
    return path
