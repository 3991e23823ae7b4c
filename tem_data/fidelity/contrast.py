"""Local contrast of defects: how much darker they are than what surrounds them, real and generated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from tem_data.core.columns import Columns
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, paste
from tem_data.scoring.significance import bootstrap_draws

LEAST_RING_PX, RING_SHARE = 3, 1 / 4  # width of the ring, and as a part of the equivalent diameter
OUTLINE_PX = 3
KINDS = ("inside", "outline")
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Contrasts(Columns):
    """The defects of a set of pictures, (n,) each: class, index of the picture, and both contrasts in grey levels.

    `inside` is the mean of the ring around a defect minus that of the defect,
    `outline` minus that of the outermost 3 px of the defect: a loop seen
    face-on is a dark line around matrix. Positive where the defect is darker.
    """

    category: np.ndarray
    picture: np.ndarray
    inside: np.ndarray
    outline: np.ndarray

    def values(self, category: str, kind: str = "inside", pictures: np.ndarray | None = None) -> np.ndarray:
        """One of `KINDS` of the defects of a class, on all or on these pictures."""
        held = self.category == category
        if pictures is not None:
            held &= np.isin(self.picture, pictures)
        return getattr(self, kind)[held]


class Ratio(NamedTuple):
    """Mean contrast of generated over that of real defects, with its interval; None where undefined."""

    value: float | None
    interval: tuple[float, float] | None


def measure_contrasts(pictures: Sequence[Micrograph], progress: bool = True) -> Contrasts:
    """The contrasts of all defects that count and around which there is anything free of defects.

    Raises TemDataError for a picture without an image.
    """
    rows = [
        (defect.category, number, *contrast)
        for number, picture in enumerate(tqdm(pictures, "contrasts", leave=False, disable=not progress))
        for defect, contrast in _measure(picture)
    ]
    category, picture, inside, outline = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Contrasts(np.array(category, str), np.array(picture, int), np.array(inside, float), np.array(outline, float))


def local_contrast(image: np.ndarray, defect: Defect, occupied: np.ndarray) -> tuple[float, float] | None:
    """`inside` and `outline` of one defect, grey levels; None where no pixel of its ring is free.

    `image` (h, w) uint8; `occupied` (h, w) bool: the pixels of any defect. The
    ring is max(3 px, a quarter of the equivalent diameter) wide. Where the edge
    of the image cuts a defect it has neither a ring nor an outline.
    """
    width = max(LEAST_RING_PX, RING_SHARE * np.sqrt(4 * defect.area / np.pi))
    x, y, w, h = defect.bbox
    margin = int(np.ceil(width))
    top, left = max(0, y - margin), max(0, x - margin)
    part = np.s_[top : y + h + margin, left : x + w + margin]
    grey = image[part].astype(np.float32)
    own = np.zeros(grey.shape, np.uint8)
    own[y - top : y - top + h, x - left : x - left + w] = defect.mask
    ring = (_distance(1 - own) <= width) & ~occupied[part]
    if not ring.any():
        return None
    around, mask = grey[ring].mean(), own.astype(bool)
    band = mask & (_distance(own) <= OUTLINE_PX) if (own == 0).any() else mask
    return float(around - grey[mask].mean()), float(around - grey[band].mean())


def summary(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation (n − 1) and number; None where undefined."""
    return {
        "mean": float(values.mean()) if values.size else None,
        "sd": float(values.std(ddof=1)) if values.size > 1 else None,
        "n": int(values.size),
    }


def contrast_ratio(
    real: Contrasts,
    groups: np.ndarray,
    generated: Contrasts,
    category: str,
    kind: str = "inside",
    seed: int = 0,
    resamples: int = 1000,
) -> Ratio:
    """Mean contrast of the generated defects of a class over that of the real ones.

    `groups` names the micrograph or scene of each real picture. Interval: 95 %
    percentile bootstrap that draws groups of real and single generated
    pictures. It is None where the class is in fewer than two groups or
    generated pictures, or where the sign of the real mean is not sure.
    """
    rng = np.random.default_rng(seed)
    _, group = np.unique(groups, return_inverse=True)
    theirs = _sums(real, category, kind, group[real.picture])
    ours = _sums(generated, category, kind, generated.picture)
    if not (len(ours) and len(theirs)) or not theirs[:, 0].sum():
        return Ratio(None, None)
    value = _mean(ours.sum(0)) / _mean(theirs.sum(0))
    if min(len(ours), len(theirs)) < 2:
        return Ratio(float(value), None)
    of_real, of_generated = (_mean(bootstrap_draws(len(s), rng, resamples) @ s) for s in (theirs, ours))
    if of_real.min() <= 0 <= of_real.max():
        return Ratio(float(value), None)
    low, high = np.quantile(of_generated / of_real, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(float(value), (float(low), float(high)))


def _measure(picture: Micrograph) -> Iterator[tuple[Defect, tuple[float, float]]]:
    if picture.image is None:
        raise TemDataError(f"{picture.micrograph_id}: a mask without an image has no contrast; give generated pairs")
    occupied = np.zeros(picture.shape, np.uint8)
    for defect in picture.defects:
        paste(occupied, defect, 1)
    for defect in picture.defects:
        contrast = None if defect.ignore else local_contrast(picture.image, defect, occupied.astype(bool))
        if contrast is not None:
            yield defect, contrast


def _distance(mask: np.ndarray) -> np.ndarray:
    """Of each pixel of a mask the distance, px, to the nearest one outside it, of which there must be some."""
    return cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _sums(contrasts: Contrasts, category: str, kind: str, unit: np.ndarray) -> np.ndarray:
    """Sum and number of the contrasts in each unit that holds the class, (units, 2)."""
    held = contrasts.category == category
    _, number = np.unique(unit[held], return_inverse=True)
    return np.stack([np.bincount(number, getattr(contrasts, kind)[held]), np.bincount(number)], 1)


def _mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]
