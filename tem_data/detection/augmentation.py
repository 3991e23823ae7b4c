"""What training patches look like: lighter or darker, blurred, noisy, larger or smaller, drawn anew at every step."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from tem_data.detection.settings import DetectorSettings

# detectron2 pads to multiples of this anyway.
SIDE_STEP = 32


class Look(NamedTuple):
    """How one picture is changed: grey levels added, factor of contrast, blur (px) and noise (grey levels)."""

    brightness: float
    contrast: float
    blur: float
    noise: float
    seed: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """An image (h, w) uint8, changed."""
        mean = image.mean()
        changed = (image - mean) * self.contrast + mean + self.brightness
        if self.blur:
            changed = cv2.GaussianBlur(changed, (0, 0), self.blur)
        if self.noise:
            changed += self.noise * np.random.default_rng(self.seed).standard_normal(image.shape)
        return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def draw_look(rng: np.random.Generator, settings: DetectorSettings) -> Look:
    """Blur and noise in every second picture; contrast as often lower as higher by the same factor."""
    contrast = np.log1p(settings.contrast) * rng.uniform(-1, 1)
    blurred, noisy = rng.random(2) < 0.5
    return Look(
        brightness=settings.brightness * rng.uniform(-1, 1),
        contrast=float(np.exp(contrast)),
        blur=settings.blur * rng.random() * blurred,
        noise=settings.noise * rng.random() * noisy,
        seed=int(rng.integers(2**32)),
    )


def draw_side(rng: np.random.Generator, side: int, scale: float) -> int:
    """The side, px, to which a batch of `side` px is brought: up to `scale` times smaller or larger."""
    drawn = side * np.exp(np.log(scale) * rng.uniform(-1, 1))
    return side if scale == 1 else max(SIDE_STEP, SIDE_STEP * round(drawn / SIDE_STEP))
