"""Stored values as a picture of 8-bit grey, the way they are displayed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from tem_data.images.source import Refused, Source

FILLED = 0.001  # of the pixels have one value
LUMA = np.array([19595, 38470, 7471])  # of red, green and blue, in 65,536ths, as Pillow has them


def shown(source: Source, index: int) -> np.ndarray:
    """A plane as `(height, width)` in display order: white is the largest value, colour is luma, 1 bit is 0 and 255.

    Raises Refused for complex values.
    """
    values = source.plane(index)
    if values.dtype.kind == "c":
        raise Refused("complex values, such as of a Fourier transform, are no image")
    if source.palette is not None:
        values = source.palette[np.minimum(values, len(source.palette) - 1)]
    elif source.inverted:
        values = _inverted(values, source.bits)
    if values.ndim == 3:
        values = _luma(values) if values.shape[2] > 2 else values[..., 0]
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    elif values.dtype == np.uint8 and 0 < source.bits < 8:
        values = np.rint(values * (255 / (2**source.bits - 1))).astype(np.uint8)
    return turned(values, source.orientation)


def combined(planes: Iterable[np.ndarray], how: Literal["mean", "max"]) -> np.ndarray:
    """The mean or the greatest of planes of one shape; 8-bit unsigned stays so. Raises Refused where shapes differ."""
    total, count, dtype = None, 0, None
    for plane in planes:
        values = plane.astype(np.float64) if how == "mean" else plane
        if total is not None and total.shape != values.shape:
            raise Refused(f"planes of different shapes have no {how}; choose one with `frame`, by its number")
        dtype = dtype or plane.dtype
        total = values if total is None else (total + values if how == "mean" else np.maximum(total, values))
        count += 1
    if total is None:
        raise Refused("holds no image")
    if how == "max":
        return total
    return np.rint(total / count).astype(np.uint8) if dtype == np.uint8 else total / count


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """8-bit unsigned as it is; all else scaled from the 0.1–99.9 % percentiles of the finite pixels.

    A value far from all others that many pixels have, as of a frame or a burnt-in bar, does not count for these. +∞
    becomes 255, −∞ and what is not a number 0. Raises Refused if no pixel is finite.
    """
    if values.dtype == np.uint8:
        return values
    # float32 holds 16 bits exactly, not 32
    values = values.astype(np.float64 if values.dtype.itemsize > 2 and values.dtype != np.float32 else np.float32)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise Refused("no finite grey level")
    low, high = np.percentile(_without_fill(finite), (0.1, 99.9))
    with np.errstate(over="ignore", invalid="ignore"):  # far beyond the percentiles
        scaled = (values - low) / max(high - low, np.finfo(np.float32).tiny) * 255
    return np.rint(np.nan_to_num(scaled).clip(0, 255)).astype(np.uint8)


def _without_fill(values: np.ndarray) -> np.ndarray:
    """Values without the least and the greatest where these are no grey of the picture, but fill a part of it.

    That is where more pixels have it than the percentiles leave out, and it lies as far from the rest as that is wide.
    """
    for extreme in (np.min, np.max, np.min):  # once more, in case the greatest hid it
        end = extreme(values)
        rest = values[values != end]
        if not rest.size or len(values) - rest.size <= FILLED * len(values):
            continue
        least, most = np.percentile(rest, (0.1, 99.9))
        if 0 < most - least <= min(abs(end - least), abs(end - most)):
            values = rest
    return values


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """A picture turned as its EXIF or TIFF orientation says, from 1 (as it is) to 8."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _inverted(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype.kind == "f":
        return -values
    if values.dtype.kind == "u" and bits:
        return np.asarray(2**bits - 1, values.dtype) - values
    return ~values


def _luma(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return values[..., :3].astype(np.float64) @ (LUMA / LUMA.sum())
    grey = (values[..., :3].astype(np.int64) @ LUMA + 2**15) >> 16
    return grey.astype(values.dtype)
