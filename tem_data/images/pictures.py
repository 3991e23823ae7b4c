"""PNG, JPEG, BMP and whatever else Pillow reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from tem_data.images.source import Refused, Source, silent_stderr

ORIENTATION, BITS, PHOTOMETRIC, PLANAR = 274, 258, 262, 284  # tags of EXIF and TIFF
PACKED = {"L;2": 2, "L;4": 4}  # bits of grey that Pillow spreads over 8


@contextmanager
def pillow_source(path: str | os.PathLike) -> Iterator[Source]:
    """A PNG, JPEG or the like. Raises what Pillow raises."""
    with Image.open(path) as picture:
        raw = _raw_mode(picture)
        lossy = picture.format in ("JPEG", "MPO")
        count = 1 if lossy else getattr(picture, "n_frames", 1)
        orientation = picture.getexif().get(ORIENTATION, 1)
        if picture.format == "PNG" and raw.endswith(";16B") and picture.mode in ("RGB", "RGBA", "LA") and count == 1:
            picture.load()  # refuses what is damaged
            yield Source(1, lambda index: _deep_png(path), picture.size[::-1], orientation=orientation)
            return
        bits = PACKED.get(raw, 0)
        picture.seek(0)
        palette = _palette(picture)
        plane = _frames(picture, bits, palette is not None)
        shape = picture.size[::-1]
        yield Source(count, plane, shape, bits=bits, palette=palette, orientation=orientation, lossy=lossy)


@contextmanager
def pillow_tiff_source(path: str | os.PathLike) -> Iterator[Source]:
    """A TIFF that tifffile could not read. Raises what Pillow raises."""
    with silent_stderr(), Image.open(path) as picture:
        yield _tiff(picture)


def _frames(picture: Image.Image, bits: int, indexed: bool) -> Callable[[int], np.ndarray]:
    def plane(index: int) -> np.ndarray:
        if index != picture.tell():
            picture.seek(index)
        picture.load()
        values = _values(picture, indexed)
        return values // np.uint8(255 // (2**bits - 1)) if bits else values

    return plane


def _values(picture: Image.Image, indexed: bool) -> np.ndarray:
    """The values of a loaded picture, or of its indices into a palette."""
    mode = picture.mode
    if mode == "PA":
        return np.asarray(picture)[..., 0]
    if mode == "P" and not indexed:
        picture = picture.convert("RGB")
    elif mode == "La":
        picture = picture.convert("LA")
    elif not (mode in ("1", "L", "P", "LA", "RGB", "RGBA") or mode.startswith(("I", "F"))):
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _palette(picture: Image.Image) -> np.ndarray | None:
    """The 256 colours of a picture with a palette; None where there is none, or each frame may have its own."""
    if picture.mode not in ("P", "PA") or getattr(picture, "n_frames", 1) > 1:
        return None
    picture.load()
    colours = np.zeros((256, 3), np.uint8)
    known = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    colours[: len(known)] = known
    return colours


def _raw_mode(picture: Image.Image) -> str:
    """How samples lie in the file, as Pillow names it before it decodes."""
    tiles = getattr(picture, "tile", None)
    args = tiles[0][3] if tiles else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _deep_png(path: str | os.PathLike) -> np.ndarray:
    """Colour of 16 bits, of which Pillow keeps 8."""
    return imagecodecs.png_decode(Path(path).read_bytes())


def _tiff(picture: Image.Image) -> Source:
    """Pillow has turned it as its orientation says."""
    tags = dict(getattr(picture, "tag_v2", {}))
    bits = tuple(tags.get(BITS, (1,)))
    if max(bits) > 8 and len(bits) > 1:
        raise Refused("colour of more than 8 bits in a compression that cannot be read")
    count = getattr(picture, "n_frames", 1)
    palette = _palette(picture)
    # Pillow inverts grey of up to 8 bits itself
    inverted = tags.get(PHOTOMETRIC) == 0
    undo = inverted and picture.mode in ("1", "L")
    frames = _frames(picture, 0, palette is not None)

    def plane(index: int) -> np.ndarray:
        values = frames(index)
        return ~values if undo else values

    lossy = "jpeg" in str(picture.info.get("compression"))
    return Source(count, plane, picture.size[::-1], inverted=inverted, palette=palette, lossy=lossy)
