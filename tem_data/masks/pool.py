"""Measured shapes to draw from: mostly those of the same micrograph, smoothed."""

from __future__ import annotations

import numpy as np

from tem_data.masks.settings import MaskSettings
from tem_data.masks.shapes import PRIOR_DEFECTS, Shapes

SIZE_KERNEL, ASPECT_KERNEL, ANGLE_KERNEL_DEG = 0.1, 0.1, 3.0  # standard deviations: log size, logit of aspect, angle
REACH = np.sqrt(3)  # where a uniform kernel of unit standard deviation ends


class ShapePool:
    """The measured defects of all classes, in the order of class and micrograph, with cumulative weights.

    A defect of a micrograph with n of its class is drawn from these with the chance n/(n + `PRIOR_DEFECTS`), else
    from those of all micrographs, its size shifted by the ratio of the typical sizes of the two micrographs.
    `largest` is by micrograph the longest major axis that can be drawn, in units.
    """

    def __init__(self, shapes: Shapes, settings: MaskSettings) -> None:
        self._settings = settings
        names, fitted, n = list(shapes.classes), list(shapes.classes.values()), len(shapes.fields)
        factor = [settings.class_size.get(name, 1.0) for name in names]
        self._log_size = np.log([[f.size.get(c, 1.0) for c in names] for f in shapes.fields])
        major, self._aspect, self._angle, micrograph, weight = (
            np.concatenate([np.asarray(getattr(c, part), float) for c in fitted])
            for part in ("major", "aspect", "angle_deg", "micrograph", "weight")
        )
        category = np.repeat(np.arange(len(names)), [len(c.major) for c in fitted])
        self._first = np.searchsorted(category, np.arange(len(names)))
        self._relative = np.log(major) - self._log_size[micrograph.astype(int), category]
        self._log_factor = np.log(factor)

        self._cumulative = np.append(0.0, np.cumsum(weight))
        place = category * n + micrograph.astype(int)
        edges = self._cumulative[np.searchsorted(place, np.arange(len(names) * n + 1))]
        self._own_low, own_high = edges[:-1].reshape(len(names), n), edges[1:].reshape(len(names), n)
        self._own = own_high - self._own_low
        self._all_low, self._all = edges[:-1:n], self._own.sum(1)

        longest = np.full(len(names), -np.inf)
        np.maximum.at(longest, category, self._relative)
        reach = self._log_size + longest + self._log_factor + REACH * SIZE_KERNEL
        self.largest = np.exp(reach.max(1))

    def draw(
        self, rng: np.random.Generator, micrograph: np.ndarray, category: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Number of the measured defect within its class, major axis (units), aspect ratio, angle in degrees."""
        count = len(category)
        own = self._own[category, micrograph]
        local = rng.random(count) * (own + PRIOR_DEFECTS) < own
        low = np.where(local, self._own_low[category, micrograph], self._all_low[category])
        target = low + rng.random(count) * np.where(local, own, self._all[category])
        row = np.minimum(np.searchsorted(self._cumulative, target, side="right") - 1, len(self._aspect) - 1)

        shift = self._log_size[micrograph, category] + self._log_factor[category]
        major = np.exp(self._relative[row] + shift + SIZE_KERNEL * rng.uniform(-REACH, REACH, count))
        aspect = np.clip(self._aspect[row], 1e-3, 1 - 1e-3)
        odds = aspect / (1 - aspect) * np.exp(ASPECT_KERNEL * rng.standard_normal(count))
        return row - self._first[category], major, odds / (1 + odds), self._angles(rng, row)

    def _angles(self, rng: np.random.Generator, row: np.ndarray) -> np.ndarray:
        rule = self._settings.angle
        if rule == "measured":
            return (self._angle[row] + ANGLE_KERNEL_DEG * rng.standard_normal(len(row))) % 180
        return rng.uniform(0, 180, len(row)) if rule == "uniform" else np.full(len(row), float(rule) % 180)
