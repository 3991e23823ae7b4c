"""Grey levels and texture of pictures: power spectra, grey-level distributions, scan lines, and distances of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.stats import wasserstein_distance
from tqdm import tqdm

from tem_data.core.columns import Columns
from tem_data.core.errors import TemDataError

BLOCK = 64
GREY_LEVELS = 256
HIGH = 0.25  # cycles/px from which power is that of noise and scan lines
BESIDE_AXIS = 2  # the window spreads a line along an axis over this many bins


@dataclass(frozen=True, eq=False)
class Textures(Columns):
    """What is measured on each of n pictures.

    `spectrum` (n, bins) float: radial power, as `radial_spectra`; `histogram`
    (n, 256) int: pixels at each grey level; `mean` and `sd` (n,) float, grey
    levels; `lines` (n,) float: |ln| of the power above 0.25 cycles/px along one
    axis over that along the other, 0 without scan lines.
    """

    spectrum: np.ndarray
    histogram: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    lines: np.ndarray


def measure_textures(images: np.ndarray, progress: bool = True) -> Textures:
    """The textures of square pictures (n, side, side) uint8. Raises TemDataError for other shapes or types."""
    _check(images)
    starts = tqdm(range(0, len(images), BLOCK), "textures", leave=False, disable=not progress)
    blocks = [_measure(images[start : start + BLOCK]) for start in starts]
    return Textures.joined(blocks)


def radial_spectra(images: np.ndarray) -> np.ndarray:
    """The power of each picture (n, side, side) at 1, 2, … side/2 cycles a side: (n, side // 2) float.

    Mean removed, Hann window, mean over the ring of frequencies that round to
    the bin. White noise of variance σ² gives σ² at each.
    """
    return _radial_means(_power(images))


def frequencies(side: int) -> np.ndarray:
    """The frequencies, cycles/px, of the bins of `radial_spectra`."""
    return np.arange(1, side // 2 + 1) / side


def spectrum_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over bins of |ln P_a − ln P_b|, P the mean power over pictures; `a`, `b` (n, bins)."""
    if a.shape[1] != b.shape[1]:
        raise TemDataError(
            f"spectra of pictures of {2 * a.shape[1]} and of {2 * b.shape[1]} px; compare patches of one size"
        )
    tiny = np.finfo(float).tiny  # a blank picture has no power
    return float(np.abs(np.log(np.maximum(a.mean(0), tiny)) - np.log(np.maximum(b.mean(0), tiny))).mean())


def grey_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance, grey levels, of the pixels of all pictures; `a`, `b` (n, 256) counts."""
    first, second = (np.cumsum(counts.sum(0)) / counts.sum() for counts in (a, b))
    return float(np.abs(first - second).sum())


def texture_distances(a: Textures, b: Textures) -> dict[str, float]:
    """The distances of two sets of pictures, by name.

    `spectrum` as `spectrum_distance`; `grey` as `grey_distance`; `patch_mean`,
    `patch_sd` (grey levels) and `lines` are Wasserstein-1 distances of what each
    picture has.
    """
    return {
        "spectrum": spectrum_distance(a.spectrum, b.spectrum),
        "grey": grey_distance(a.histogram, b.histogram),
        "patch_mean": float(wasserstein_distance(a.mean, b.mean)),
        "patch_sd": float(wasserstein_distance(a.sd, b.sd)),
        "lines": float(wasserstein_distance(a.lines, b.lines)),
    }


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1] != images.shape[2] or not len(images):
        raise TemDataError(
            f"expected square grey pictures (n, side, side) uint8, found {images.shape} {images.dtype}; "
            "give patches of one size"
        )


def _measure(images: np.ndarray) -> Textures:
    power = _power(images)
    histogram = np.stack([np.bincount(image.ravel(), minlength=GREY_LEVELS) for image in images])
    pixels = images.reshape(len(images), -1)
    return Textures(_radial_means(power), histogram, pixels.mean(1), pixels.std(1), _lines(power))


def _power(images: np.ndarray) -> np.ndarray:
    """The half of the power spectrum that a real picture has, (n, side, side // 2 + 1) float32."""
    side = images.shape[1]
    hann = np.sin(np.pi * np.arange(side) / side) ** 2
    window = np.outer(hann, hann).astype(np.float32)
    grey = images.astype(np.float32)
    grey -= grey.mean((1, 2), keepdims=True)
    return np.abs(fft.rfft2(grey * window)) ** 2 / (window**2).sum()


def _radial_means(power: np.ndarray) -> np.ndarray:
    count, side, half = power.shape
    rows, columns = np.fft.fftfreq(side, 1 / side)[:, None], np.arange(half)
    ring = np.rint(np.hypot(rows, columns)).astype(int)
    # every column but the first and, of an even side, the last stands for two
    twice = np.where((columns > 0) & (2 * columns != side), 2.0, 1.0) * np.ones((side, 1))
    within = (ring >= 1) & (ring <= side // 2)
    ring, weight, bins = ring[within] - 1, twice[within], side // 2
    at = ring + bins * np.arange(count)[:, None]
    sums = np.bincount(at.ravel(), (power[:, within] * weight).ravel(), count * bins).reshape(count, bins)
    return sums / np.bincount(ring, weight)


def _lines(power: np.ndarray) -> np.ndarray:
    side = power.shape[1]
    rows, columns = np.abs(np.fft.fftfreq(side)), np.arange(power.shape[2]) / side
    high_rows, high_columns = ((f >= HIGH) & (f < 0.5) for f in (rows, columns))
    weights = [1] + [2] * BESIDE_AXIS  # every column but the first stands for two
    # where rows differ from one another, power lies along the axis of the row frequencies
    across = np.average(power[:, high_rows, : BESIDE_AXIS + 1].mean(1), 1, weights)
    along = power[:, rows <= BESIDE_AXIS / side][:, :, high_columns].mean((1, 2))
    tiny = np.finfo(np.float32).tiny
    return np.abs(np.log(np.maximum(across, tiny) / np.maximum(along, tiny)))
