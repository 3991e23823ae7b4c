"""To which scale a micrograph is brought before it is searched, and by how many tiles."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, defect_from_mask
from tem_data.detection.about import About
from tem_data.detection.tiling import corners

FAR = 2.0
LARGEST_SIDE = 32768


@dataclass(frozen=True)
class Plan:
    """How a micrograph is searched: enlarged by `factor` (1: as it is) to `shape`, by so many tiles.

    `note` says in words what is odd about its scale, and is empty where nothing is.
    """

    factor: float
    shape: tuple[int, int]
    tiles: int
    note: str


def plan(about: About, shape: tuple[int, int], nm_per_px: float | None) -> Plan:
    """How a detector searches a micrograph of `shape` px. Raises TemDataError for a scale that cannot be."""
    if nm_per_px is not None and not 0 < nm_per_px < np.inf:
        raise TemDataError(f"nm_per_px: expected a number above 0, or none where it is not known, found {nm_per_px}")
    factor = _factor(about, nm_per_px)
    height, width = (max(1, round(side * factor)) for side in shape)
    if max(height, width) > LARGEST_SIDE:
        raise TemDataError(
            f"a micrograph of {shape[1]} × {shape[0]} px at {nm_per_px:g} nm per px would be searched at "
            f"{width} × {height} px, the scale that the detector was trained at; check the calibration, or crop it"
        )
    return Plan(factor, (height, width), len(corners((height, width), about.tile)), _note(about, nm_per_px))


def _factor(about: About, nm_per_px: float | None) -> float:
    if about.nm_per_px is None or nm_per_px is None:
        return 1.0
    return nm_per_px / min(max(nm_per_px, about.nm_per_px.low), about.nm_per_px.high)


def _note(about: About, nm_per_px: float | None) -> str:
    known = about.nm_per_px
    if known is None:
        return ""
    trained = f"{known.low:.3g} to {known.high:.3g} nm per px"
    if nm_per_px is None:
        return f"calibration unknown: searched as it is, though the detector was trained at {trained}"
    if known.low / FAR <= nm_per_px <= known.high * FAR:
        return ""
    return f"{nm_per_px:.3g} nm per px is far from the {trained} that the detector was trained at"


def rescaled(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image (h, w) uint8 at another size; where it gets smaller, each pixel is the mean of what it covers."""
    if image.shape == shape:
        return image
    smaller = shape[0] < image.shape[0]
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def to_own_px(defect: Defect, searched: tuple[int, int], shape: tuple[int, int]) -> Defect | None:
    """A defect of an image that was searched at `searched` px, in the px of that image as it is, of `shape`.

    Its outline is interpolated between the pixels. None where it is smaller than one of them.
    """
    if searched == shape:
        return defect
    x, y, w, h = defect.bbox
    columns, rows = _places(x, w, searched[1], shape[1]), _places(y, h, searched[0], shape[0])
    soft = cv2.remap(
        np.pad(defect.mask, 1).astype(np.float32),
        *np.meshgrid(
            (columns + 0.5) * searched[1] / shape[1] - x + 0.5, (rows + 0.5) * searched[0] / shape[0] - y + 0.5
        ),
        interpolation=cv2.INTER_LINEAR,
    )
    return defect_from_mask(defect.category, soft >= 0.5, columns[0], rows[0], defect.ignore, defect.score)


def _places(start: int, length: int, searched: int, own: int) -> np.ndarray:
    """The own pixels that may show what covers `length` of the searched ones from `start` on."""
    first, last = int(start * own / searched) - 1, int((start + length) * own / searched) + 1
    return np.arange(max(0, first), min(own, last + 1), dtype=np.float32)
