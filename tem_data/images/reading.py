"""Images of any kind: PNG, JPEG, BMP, TIFF and the files of microscopes, as 8-bit grey or as they are stored."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.images.grey import combined, shown, to_8_bits, turned
from tem_data.images.microscopes import READERS, is_microscope_file, microscope_source
from tem_data.images.pictures import pillow_source, pillow_tiff_source
from tem_data.images.source import Refused, SeveralPlanes, Source, one_line, quiet
from tem_data.images.tiffs import MAGIC, tiff_source

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", *READERS)

Frame = int | Literal["mean", "max"] | None  # planes are counted from 1, as Fiji does
Kind = Literal["grey", "palette", "bilevel", "colour"]
T = TypeVar("T")


class Picture(NamedTuple):
    """A micrograph as it is displayed."""

    pixels: np.ndarray  # (height, width) uint8
    nm_per_px: float | None
    doubt: str  # one line on why a size that is written in the file is not used; "" otherwise
    planes: int  # of the file


class Layout(NamedTuple):
    """What is known of a file before its pixels are decoded; `shape` is the height and width of the first plane."""

    planes: int
    shape: tuple[int, int]
    nm_per_px: float | None


class Stored(NamedTuple):
    """A mask as it is stored."""

    values: np.ndarray  # (height, width), of a colour (height, width, 3 or 4) uint8; 1 bit is 0 and 1
    kind: Kind
    palette: np.ndarray | None  # (256, 3) uint8, of the kind "palette"
    lossy: bool  # compressed as JPEG


def read_image(path: str | os.PathLike, frame: Frame = None) -> Picture:
    """A micrograph as 8-bit grey, turned and inverted as it is displayed, with its pixel size.

    8 bits stay as they are; all else is scaled from the 0.1–99.9 % percentiles
    of the finite pixels: +∞ becomes 255, −∞ and what is not a number 0. Of
    several planes `frame` takes one, or their mean or maximum before scaling.
    Raises SeveralPlanes where it is None then, OSError or ValueError where the
    file cannot be decoded, no pixel is finite or there is no such plane.
    """
    if isinstance(frame, bool) or not (frame is None or frame in ("mean", "max") or isinstance(frame, int)):
        raise ValueError(f"frame {frame!r}: expected a number from 1, mean or max")
    return _read(path, lambda source: _picture(source, frame))


def layout(path: str | os.PathLike) -> Layout:
    """How many planes a file has, how large, and their pixel size. Raises as `read_image` does."""

    def of(source: Source) -> Layout:
        shape = source.shape[::-1] if source.orientation > 4 else source.shape
        return Layout(source.planes, shape, source.size()[0])

    return _read(path, of)


def orientation(path: str | os.PathLike) -> int:
    """How the file says to turn what is stored, numbered as in TIFF; 1 is not at all. Raises as `read_image` does."""
    return _read(path, lambda source: source.orientation)


def read_stored(path: str | os.PathLike) -> Stored:
    """A mask with the values that are in the file: not inverted, not looked up in a palette, but turned.

    Grey with alpha is given as a colour, 16-bit colour by its upper 8 bits.
    Raises SeveralPlanes where there are several, OSError or ValueError where
    the file cannot be decoded or a value is not finite.
    """
    return _read(path, _stored)


def files_by_stem(folder: str | os.PathLike) -> dict[str, list[Path]]:
    """The pictures of a folder by file name without extension (`.ome.tif` is one), sorted; none if hidden.

    Raises TemDataError if there is no such folder.
    """
    if not Path(folder).is_dir():
        raise TemDataError(f"{folder}: expected a folder of images; give its path in the section `import`")
    found: dict[str, list[Path]] = {}
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            stem = Path(path.stem)
            found.setdefault(stem.stem if stem.suffix.lower() == ".ome" else path.stem, []).append(path)
    return found


def other_files(folder: str | os.PathLike) -> dict[str, int]:
    """How many files of each suffix (lower-case, "" for none) lie in a folder that are no images; none if hidden."""
    files = (path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    counts = Counter(path.suffix.lower() for path in files)
    return {suffix: count for suffix, count in sorted(counts.items()) if suffix not in IMAGE_SUFFIXES}


def _read(path: str | os.PathLike, use: Callable[[Source], T]) -> T:
    """What `use` makes of the file; where a decoder fails, the next is tried."""
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        raise Refused("the file is empty")
    is_tiff = start in MAGIC
    first = None
    for opened in (tiff_source, pillow_tiff_source) if is_tiff else (_source_by_suffix(path),):
        with quiet():
            try:
                with opened(path) as source:
                    return use(source)
            except Refused:
                raise
            except Exception as error:  # foreign decoders raise anything where a file is damaged
                first = first or error
    assert first is not None
    raise ValueError(one_line(first)) from first


def _source_by_suffix(path: str | os.PathLike):
    return microscope_source if is_microscope_file(path) else pillow_source


def _picture(source: Source, frame: Frame) -> Picture:
    count = source.planes
    if frame is None and count > 1:
        raise SeveralPlanes(count)
    if isinstance(frame, int) and not 1 <= frame <= count:
        raise Refused(f"frame {frame}: expected a number from 1 to {count}, the planes of the file")
    if frame in ("mean", "max") and count > 1:
        values = combined((shown(source, i) for i in range(count)), frame)
    else:
        values = shown(source, frame - 1 if isinstance(frame, int) else 0)
    return Picture(to_8_bits(values), *source.size(), count)


def _stored(source: Source) -> Stored:
    if source.planes > 1:
        raise SeveralPlanes(source.planes)
    values = turned(source.plane(0), source.orientation)
    if values.ndim == 3:
        return Stored(_colour(values), "colour", None, source.lossy)
    if values.dtype == bool:
        return Stored(values.astype(np.uint8), "bilevel", None, source.lossy)
    if values.dtype.kind not in "uif":
        raise Refused(f"values of type {values.dtype} are no mask")
    if lost := int((~np.isfinite(values)).sum()):
        raise Refused(f"{lost} pixels are infinite or not a number")
    if source.palette is None:
        return Stored(values, "grey", None, source.lossy)
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(source.palette)] = source.palette[:256]
    return Stored(values, "palette", colours, source.lossy)


def _colour(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint16:
        values = (values >> 8).astype(np.uint8)
    if values.dtype != np.uint8:
        raise Refused(f"colour of type {values.dtype}; expected 8 or 16 bits")
    return values if values.shape[2] > 2 else values[..., [0, 0, 0, 1]]
