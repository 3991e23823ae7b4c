"""Masks painted with Label Studio's brush: the bits of a run-length code of RGBA values.

32 bits hold the number of values, 5 the bits of a value less one, four times 4
the bits of a length less one. A run follows: a bit that says whether all its
values are the same, two bits that choose the bits of its length, its length
less one, and its value or values (github.com/thi-ng/umbrella, packages/rle-pack).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tem_data.coco.faults import Fault, shown
from tem_data.importing.labels import Pixels

CHANNELS = 4
OPAQUE = 128
MOST_PX = 2**26


def painted(code: Any, shape: tuple[int, int]) -> Pixels:
    """The pixels of an image of `shape` that are painted at least half opaque; raises Fault for a damaged code."""
    height, width = shape
    if height * width > MOST_PX:
        raise Fault("bad shape", f"a mask of {height} × {width} px is larger than the {MOST_PX} px that can be held")
    if not isinstance(code, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in code):
        raise Fault("bad shape", f"expected `rle` as a list of bytes, found {shown(code)}")
    values = _values(bytes(code), height * width * CHANNELS)
    mask = values.reshape(height, width, CHANNELS)[:, :, -1] >= OPAQUE
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        raise Fault("bad shape", "nothing is painted")
    top, left = int(rows[0]), int(columns[0])
    return Pixels(mask[top : rows[-1] + 1, left : columns[-1] + 1].copy(), left, top, shape)


class _Bits:
    def __init__(self, code: bytes):
        self.bits = "".join(f"{byte:08b}" for byte in code)
        self.place = 0

    def read(self, count: int) -> int:
        found = self.bits[self.place : self.place + count]
        self.place += count
        if len(found) < count:
            raise Fault("bad shape", "the run-length code ends early")
        return int(found, 2)


def _values(code: bytes, expected: int) -> np.ndarray:
    bits = _Bits(code)
    count, width = bits.read(32), bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    if count != expected or width != 8:
        raise Fault("bad shape", f"expected {expected} values of 8 bits, found {count} of {width}")
    values, place = np.empty(count, np.uint8), 0
    while place < count:
        same = bits.read(1)
        end = min(place + bits.read(lengths[bits.read(2)]) + 1, count)
        values[place:end] = bits.read(width) if same else [bits.read(width) for _ in range(place, end)]
        place = end
    return values
