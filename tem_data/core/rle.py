"""COCO segmentations as compressed run-length codes, checked first: pycocotools writes past its memory on bad ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.errors import TemDataError

FARTHEST = 10  # times the image's longer side; pycocotools' memory grows with the length of an outline


def numbers(values: Any) -> bool:
    """Whether this is a list of finite numbers."""
    return isinstance(values, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )


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
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise TemDataError("the COCO run-length code ends early")
    return runs


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
    if not isinstance(segmentation, list) or not all(numbers(p) and len(p) % 2 == 0 for p in segmentation):
        raise TemDataError("expected a run-length code or polygons [[x1, y1, x2, y2, ...], ...] of finite numbers")
    reach = FARTHEST * max(height, width)
    if any(abs(v) > reach for polygon in segmentation for v in polygon):
        raise TemDataError(f"polygons leave the image of {height}×{width} px by far; expected x, y in px")
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
    if not polygons:
        return _text(rle_ops.frPyObjects({"size": [height, width], "counts": [height * width]}, height, width))
    return _text(rle_ops.merge(rle_ops.frPyObjects(polygons, height, width)))


def _checked(code: dict, height: int, width: int) -> dict:
    size, counts = code.get("size"), code.get("counts")
    if size != [height, width]:
        raise TemDataError(f"expected a mask of the image's size [{height}, {width}] (height, width), found {size}")
    if not isinstance(counts, (str, list)):
        raise TemDataError("expected `counts` to be a string or a list of run lengths")
    runs = run_lengths(counts) if isinstance(counts, str) else counts
    if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != height * width:
        raise TemDataError(f"expected run lengths that sum to {height}*{width} px; the code is damaged")
    if isinstance(counts, list):
        code = _text(rle_ops.frPyObjects(code, height, width))
    return {"size": [height, width], "counts": code["counts"]}


def _text(code: dict) -> dict:
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}
