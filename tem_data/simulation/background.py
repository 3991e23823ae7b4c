"""What a simulated micrograph shows besides its defects: foil, bend contours, dislocation lines, and the camera."""

from __future__ import annotations

import cv2
import numpy as np


def scenery(rng: np.random.Generator, size_px: int, nm_per_px: float) -> np.ndarray:
    """Absorption of what is not labelled, `(size_px, size_px) float32`: foil, bend contours and dislocation lines."""
    field = size_px * nm_per_px
    mottling = ((0.05, 250.0), (0.03, 60.0), (0.025, 15.0))  # depth, nm
    foil = sum(depth * _smooth(rng, size_px, nm_per_px, length) for depth, length in mottling)
    slope = rng.normal(0, 0.08, 2)
    y, x = (np.mgrid[:size_px, :size_px] + 0.5) * nm_per_px
    foil += slope[0] * (x / field - 0.5) + slope[1] * (y / field - 0.5)
    for _ in range(rng.integers(0, 3)):
        angle, width, depth = rng.uniform(0, np.pi), rng.uniform(15, 60), rng.uniform(0.08, 0.3)
        place = rng.uniform(-0.6, 0.6) * field
        wobble = 25 * _smooth(rng, size_px, nm_per_px, 200.0)
        t = (x - field / 2) * np.cos(angle) + (y - field / 2) * np.sin(angle) + wobble - place
        foil += depth * np.exp(-0.5 * (t / width) ** 2)
    return (foil + _dislocation_lines(rng, size_px, nm_per_px)).astype(np.float32)


def _smooth(rng: np.random.Generator, size_px: int, nm_per_px: float, length_nm: float) -> np.ndarray:
    """A random field `(size_px, size_px)` of about unit variance that varies over `length_nm`."""
    cells = int(np.ceil(size_px * nm_per_px / length_nm)) + 3
    coarse = rng.normal(size=(cells, cells)).astype(np.float32)
    place = 1 + (np.arange(size_px, dtype=np.float32) + 0.5) * np.float32(nm_per_px / length_nm)
    across, down = np.meshgrid(place, place)
    return cv2.remap(coarse, across, down, cv2.INTER_CUBIC)


def _dislocation_lines(rng: np.random.Generator, size_px: int, nm_per_px: float) -> np.ndarray:
    """Absorption of dislocation lines: smooth random walks, beaded where they climb through the foil."""
    field, step = size_px * nm_per_px, 3.0
    canvas = np.zeros((size_px, size_px), np.uint8)
    for _ in range(rng.poisson(rng.gamma(1.0, 10.0) * (field / 490) ** 2)):
        steps = int(rng.lognormal(np.log(90), 0.6) / step) + 2
        bends = np.cumsum(rng.normal(0, 0.008, steps)) + rng.normal(0, 0.08, steps)
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bends)
        walk = rng.uniform(-20, field + 20, 2) + step * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0)
        bead, strength = rng.uniform(0, 2 * np.pi), rng.uniform(70, 220)
        shade = strength * (0.75 + 0.25 * np.sin(bead + np.arange(steps) * step * 2 * np.pi / rng.uniform(20, 60)))
        points = np.rint(walk / nm_per_px * 16).astype(int)  # cv2 takes sixteenths of a pixel with shift=4
        for start, end, grey in zip(points[:-1], points[1:], shade[:-1], strict=True):
            thickness = max(1, round(2.2 / nm_per_px))
            cv2.line(canvas, start.tolist(), end.tolist(), float(grey), thickness, cv2.LINE_AA, shift=4)
    return 0.7 / 255 * cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), 1.1 / nm_per_px)


def exposed(rng: np.random.Generator, absorption: np.ndarray, nm_per_px: float) -> np.ndarray:
    """The 8-bit picture of an absorption map: surface grain, shot noise, gain of the scan lines, brightness."""
    electrons = 400 * rng.lognormal(0, 0.3)  # a pixel, at any magnification: the probe dwells as long
    brightness = rng.uniform(115, 170)
    shape = absorption.shape
    grain = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), 1.6 / nm_per_px)
    bright = np.exp(-absorption - 0.025 * grain / max(grain.std(), 1e-6))
    counted = rng.poisson(bright * electrons) / electrons
    blurred = cv2.GaussianBlur(counted.astype(np.float32), (0, 0), 0.5)  # the probe is wider than a pixel
    lines = 1 + 0.005 * rng.normal(size=(shape[0], 1))
    return np.clip(np.rint(blurred * lines * brightness), 0, 255).astype(np.uint8)
