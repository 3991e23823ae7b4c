"""TIFF through tifffile."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tifffile import TiffFile

from tem_data.images.calibration import tiff_pixel_size
from tem_data.images.source import Refused, Source, check_pixels

MINISWHITE, MINISBLACK, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
UNCOMPRESSED, JPEG = 1, (6, 7, 33007, 34892)  # compressions
REDUCED, TRANSPARENCY = 1, 4  # bits of the tag NewSubfileType
ORIENTATION = 274
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def tiff_source(path: str | os.PathLike) -> Iterator[Source]:
    """A TIFF through tifffile. Raises what tifffile raises, ValueError for colours that it does not convert."""
    with TiffFile(path) as tif:
        parts = [_Part(series, os.path.getsize(path)) for series in _pictures(tif)]
        page = parts[0].page
        jpeg = page.compression in JPEG
        if page.photometric not in (MINISWHITE, MINISBLACK, RGB, PALETTE) and not (page.photometric == YCBCR and jpeg):
            raise ValueError(f"colours of kind {page.photometric!r} are not read")
        tag = page.tags.get(ORIENTATION)
        yield Source(
            sum(part.count for part in parts),
            lambda index: _plane(parts, index),
            (page.imagelength, page.imagewidth),
            lambda: tiff_pixel_size(tif, path),
            inverted=page.photometric == MINISWHITE,
            bits=page.bitspersample if page.bitspersample not in (8, 16, 32, 64) else 0,
            palette=_palette(page) if page.photometric == PALETTE else None,
            orientation=int(tag.value) if tag is not None else 1,
            lossy=jpeg,
        )


class _Part:
    """A series of pages of one shape, as planes."""

    def __init__(self, series: Any, file_bytes: int) -> None:
        self.series, self.page = series, series.keyframe
        check_pixels(self.page.shape, self.page.dtype.itemsize if self.page.dtype else 1, file_bytes)
        if self.page.compression == UNCOMPRESSED and self.page.size * self.page.bitspersample > 8 * file_bytes:
            raise Refused(f"the file ends before the {self.page.imagewidth} × {self.page.imagelength} px of its header")
        sizes = dict(zip(series.axes, series.shape, strict=True))
        if not {"Y", "X"} <= set(sizes) or len(sizes) != len(series.axes):
            raise ValueError(f"axes {series.axes} are no image")
        self.samples = self._samples(sizes.get("S", 1))
        others = [size for axis, size in sizes.items() if axis not in "YX" and not (axis == "S" and self.samples)]
        self.count = math.prod(others)
        self.paged = len(series.pages) == self.count

    def _samples(self, count: int) -> int:
        """How many samples make up a colour or grey with alpha; 0 where they are planes."""
        if self.page.photometric in (RGB, YCBCR) and count >= 3:
            return min(count, 4)
        alpha = self.page.extrasamples and self.page.extrasamples[0] in (1, 2)
        return 2 if count == 2 and alpha and self.page.photometric in (MINISWHITE, MINISBLACK) else 0

    def plane(self, index: int) -> np.ndarray:
        """Plane `index` from 0, `(height, width)` or `(height, width, samples)`."""
        if self.paged and self.series.pages[index] is not None:
            values, axes, index = self.series.pages[index].asarray(), self.page.axes, 0
        else:
            check_pixels(self.series.shape)
            values, axes = self.series.asarray(), self.series.axes
        last = "YXS" if self.samples else "YX"
        order = [axes.index(axis) for axis in axes if axis not in last] + [axes.index(axis) for axis in last]
        values = values.transpose(order)
        values = values.reshape(-1, *values.shape[-len(last) :])[index]
        return values[..., : self.samples] if self.samples else values


def _plane(parts: list[_Part], index: int) -> np.ndarray:
    for part in parts:
        if index < part.count:
            return part.plane(index)
        index -= part.count
    raise Refused("the plane is beyond the last")


def _pictures(tif: TiffFile) -> list[Any]:
    """The series that are no thumbnails, levels of a pyramid or transparency masks; all where nothing else is there."""
    series = [one for one in tif.series if len(one.pages)]
    if not series:
        raise ValueError("no image in the file")
    return [one for one in series if not one.keyframe.subfiletype & (REDUCED | TRANSPARENCY)] or series


def _palette(page: Any) -> np.ndarray:
    """`(colours, 3) uint8`; TIFF has 16 bits, of which some programs fill only the lower 8."""
    colours = np.asarray(page.colormap).T
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
