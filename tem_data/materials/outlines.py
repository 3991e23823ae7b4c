"""Size and shape of a defect from the outline of its mask, as the 2022 paper measures them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial import ConvexHull
from skimage.measure import find_contours


class Outline(NamedTuple):
    """`points` (n, 2) float along the outer outline and the `centroid` (2,) of what it encloses: row, column in px."""

    points: np.ndarray
    centroid: np.ndarray


def outline_of(mask: np.ndarray) -> Outline:
    """The outer outline of a bool mask `(h, w)`, halfway between the pixels inside and those outside.

    Holes are filled, so that a ring is as large as its disc. Of several parts
    the largest stands for the defect, as stray pixels far away are no size.
    """
    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5, fully_connected="high")
    moments = [cv2.moments(points.astype(np.float32)) for points in contours]
    points, of = max(zip(contours, moments, strict=True), key=lambda pair: pair[1]["m00"])
    return Outline(points, np.array([of["m10"], of["m01"]]) / of["m00"])


def loop_size(outline: Outline) -> float:
    """2 · max distance from the centroid to the outline, px ([P22], dislocation loops)."""
    return 2 * float(_distances(outline).max())


def dot_size(outline: Outline) -> float:
    """2 · √(min · max distance from the centroid to the outline), px ([P22], black dots)."""
    distances = _distances(outline)
    return 2 * float(np.sqrt(distances.min() * distances.max()))


SIZES = {"loop": loop_size, "dot": dot_size}


def circularity(outline: Outline) -> float:
    """Heywood circularity of the convex outline: perimeter / circumference of the circle of equal area; a disc has 1.

    [P22], table 3.
    """
    hull = ConvexHull(outline.points)
    return float(hull.area / np.sqrt(4 * np.pi * hull.volume))  # in two dimensions `area` is the perimeter


def _distances(outline: Outline) -> np.ndarray:
    return np.hypot(*(outline.points - outline.centroid).T)
