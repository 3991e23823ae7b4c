"""What all decoders give: the planes of a file as they are stored, and how they are to be shown."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from tem_data.images.units import Size

MOST_PIXELS = 2**30  # of one plane
MOST_GROWTH = 10_000  # bytes that a byte of a file can stand for
SMALL = 2**26  # bytes that any file may stand for


class Refused(ValueError):
    """The file can be decoded, but holds no picture that can be taken; no other decoder is tried."""


class SeveralPlanes(Refused):
    """The file holds several planes, and none is chosen."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"{count} planes; choose one with `frame`: a number, mean or max")


class Source(NamedTuple):
    """An open file. `plane(i)` gives plane i from 0, `(height, width)` or `(height, width, samples)`, as stored.

    `shape` is the height and width of the first one, known without its pixels where the format allows that.
    Two samples are grey and alpha, three or four a colour and alpha. `inverted`: the least value is white. `bits`
    are those used of an unsigned integer, 0 for all. `palette` has a row of 8-bit RGB for each value. `orientation`
    is numbered as in TIFF. `lossy`: compressed as JPEG.
    """

    planes: int
    plane: Callable[[int], np.ndarray]
    shape: tuple[int, int]
    size: Callable[[], Size] = lambda: (None, "")
    inverted: bool = False
    bits: int = 0
    palette: np.ndarray | None = None
    orientation: int = 1
    lossy: bool = False


def check_pixels(shape: Sequence[int], itemsize: int = 1, file_bytes: int | None = None) -> None:
    """Raises Refused where a header claims more than a picture has, or than the file can hold."""
    count = 1
    for side in shape:
        count *= int(side)
    if count <= 0:
        raise Refused("an image without pixels")
    if count > MOST_PIXELS:
        raise Refused(f"{' × '.join(str(side) for side in shape)} px are more than can be read")
    if file_bytes is not None and count * itemsize > max(SMALL, MOST_GROWTH * file_bytes):
        raise Refused(f"{file_bytes} bytes cannot hold the {' × '.join(str(side) for side in shape)} px of its header")


def one_line(error: BaseException) -> str:
    """What an error of a decoder says, in one line; where it stumbled over what it read, that the file is damaged."""
    text = " ".join(str(error).split())[:200]
    if isinstance(error, (OSError, ValueError)) and text:
        return text
    return f"damaged, or of another format than its name says ({type(error).__name__}{': ' * bool(text)}{text})"


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings and log lines of the decoders from the terminal."""
    loggers = [logging.getLogger(name) for name in ("tifffile", "rsciio", "PIL", "h5py", "dask")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Sends what C libraries print to the terminal (libtiff, in Pillow) to nowhere, for the whole process."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
