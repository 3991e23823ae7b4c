"""How defects are blended into a picture: how far they reach, and how their pixels fade out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tem_data.core.micrograph import Defect

REACH = 0.4  # strain contrast reaches beyond a label, in parts of the square root of its area,
REACH_PX = (4.0, 16.0)  # within these limits
CORE = 0.25  # so much of the reach is taken from the donor as it is; over the rest the donor fades out
TOGETHER = 0.75  # defects whose reaches meet at this part belong together, or one would show without its label
SCALE_TOLERANCE = 0.1


def same_scale(a: float | None, b: float | None) -> bool:
    """Whether two nm per px differ by at most 10 %; unknown goes with unknown."""
    if a is None or b is None:
        return a is b
    return max(a, b) <= (1 + SCALE_TOLERANCE) * min(a, b)


def remoteness(defects: Sequence[Defect], shape: tuple[int, int]) -> np.ndarray:
    """How far each pixel lies from the defects, in units of their reach: 0 in a defect, 1 where none reaches."""
    distance = np.ones(shape, np.float32)
    for defect in defects:
        reach = float(np.clip(REACH * np.sqrt(defect.area), *REACH_PX))
        x, y, w, h = defect.bbox
        left, top = max(0, x - int(reach) - 1), max(0, y - int(reach) - 1)
        around = distance[top : y + h + int(reach) + 1, left : x + w + int(reach) + 1]
        outside = np.ones(around.shape, np.uint8)
        outside[y - top : y - top + h, x - left : x - left + w][defect.mask] = 0
        np.minimum(around, cv2.distanceTransform(outside, cv2.DIST_L2, 5) / reach, out=around)
    return distance


def blend_weight(defects: Sequence[Defect], shape: tuple[int, int]) -> np.ndarray:
    """1 in the defects and close to them, from there falling smoothly to 0 where they reach no more."""
    fading = np.clip((remoteness(defects, shape) - CORE) / (1 - CORE), 0, 1)
    return 0.5 * (1 + np.cos(np.pi * fading))
