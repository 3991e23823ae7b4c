"""COCO segmentations as compressed run-length codes, checked first: pycocotools writes past its memory on bad ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.errors import TemDataError

FARTHEST = 10  # times the image's longer side; pycocotools' memory grows with the length of an outline
IN_FRACTIONS = "all x and y are from 0 to 1, as fractions of the image; multiply x by its width and y by its height"
MOST_PX = 2**30  # pycocotools counts px in 32 bits, and one mask of this many takes 1 GiB


def finite(value: Any) -> bool:
    """Whether this is a finite number; True and False are none."""
    try:
        return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int of hundreds of digits
        return False


def numbers(values: Any) -> bool:
    """Whether this is a list of finite numbers."""
    return isinstance(values, list) and all(map(finite, values))


def whole(value: Any) -> int | None:
    """A whole number, also where it is written 150.0; None if it is none."""
    return int(value) if finite(value) and value == int(value) else None


def run_lengths(counts: str) -> list[int]:
    """The run lengths of a compressed COCO code: 5 bits a character, signed, from the third on as differences."""
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise TemDataError(f"character {character!r} is not part of a COCO run-length code")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            if shift > 60:
                raise TemDataError("a run length of more than 60 bits; the code is damaged")
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise TemDataError("the COCO run-length code ends early")
    return runs


def in_fractions(values: Iterable[float]) -> bool:
    """Whether x and y must be fractions of the image's sides: all within one px, and not all of them whole."""
    held = list(values)
    return bool(held) and all(0 <= v <= 1 for v in held) and any(v not in (0, 1) for v in held)


def encode(mask: np.ndarray) -> dict:
    """The compressed code of a bool mask (h, w)."""
    return _text(rle_ops.encode(np.asfortranarray(mask, dtype=np.uint8)))


def to_rle(segmentation: Any, height: int, width: int) -> dict:
    """The compressed code, on an image of `(height, width)` px, of polygons or of a run-length code.

    Polygons of fewer than three points hold no area and add nothing. Raises
    TemDataError (what is wrong, to be completed by file and item).
    """
    if isinstance(segmentation, dict):
        return _checked(segmentation, height, width)
    polygons = checked_polygons(segmentation, (height, width))
    if not polygons:
        return _text(rle_ops.frPyObjects({"size": [height, width], "counts": [height * width]}, height, width))
    return _text(rle_ops.merge(rle_ops.frPyObjects(polygons, height, width)))


def checked_polygons(segmentation: Any, shape: tuple[int, int] | None = None) -> list[list[float]]:
    """The polygons of at least three points of a COCO segmentation, on an image of `shape` where that is known.

    Raises TemDataError as `to_rle` does.
    """
    if not isinstance(segmentation, list) or not all(numbers(p) and len(p) % 2 == 0 for p in segmentation):
        raise TemDataError("expected a run-length code or polygons [[x1, y1, x2, y2, ...], ...] of finite numbers")
    if shape and any(abs(v) > FARTHEST * max(shape) for polygon in segmentation for v in polygon):
        raise TemDataError(f"polygons leave the image of {shape[0]}×{shape[1]} px by far; expected x, y in px")
    if len(segmentation) > 2 and all(len(polygon) == 2 for polygon in segmentation):
        raise TemDataError("expected polygons [[x1, y1, x2, y2, ...], ...], found points [[x1, y1], [x2, y2], ...]")
    return [polygon for polygon in segmentation if len(polygon) >= 6]


def _checked(code: dict, height: int, width: int) -> dict:
    size, counts = code.get("size"), code.get("counts")
    if not isinstance(size, (list, tuple)) or [whole(side) for side in size] != [height, width]:
        raise TemDataError(f"expected a mask of the image's size [{height}, {width}] (height, width), found {size}")
    if height * width > MOST_PX:
        raise TemDataError(f"a mask of {height}×{width} px is larger than the {MOST_PX} px that can be held")
    if not isinstance(counts, (str, list)):
        raise TemDataError("expected `counts` to be a string or a list of run lengths")
    if isinstance(counts, str) and counts[:2] in ("b'", 'b"'):
        raise TemDataError("`counts` is the text of Python's bytes, b'...'; write counts.decode() when you save them")
    runs: list[Any] = run_lengths(counts) if isinstance(counts, str) else [whole(run) for run in counts]
    if any(run is None or run < 0 for run in runs) or sum(runs) != height * width:
        raise TemDataError(f"expected run lengths that sum to {height}*{width} px; the code is damaged")
    if isinstance(counts, list):
        return _text(rle_ops.frPyObjects({"size": [height, width], "counts": runs}, height, width))
    return {"size": [height, width], "counts": counts}


def _text(code: dict) -> dict:
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}
