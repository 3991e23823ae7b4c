"""As much of a DM3 file as holds images with calibrations."""

from __future__ import annotations

import struct

import numpy as np

CODES = {"uint8": (6, 10), "int16": (1, 2), "uint16": (10, 4), "float32": (2, 6)}  # of images, of numbers


def dm3(*images: np.ndarray, scale: float, unit: str, tags: dict | None = None) -> bytes:
    """Images of `(height, width)` or `(planes, height, width)` with the same pixel size; `tags` are ImageTags."""
    content = _group({"ImageList": [_image(image, scale, unit, tags or {}) for image in images]})
    return struct.pack(">3I", 3, len(content), 1) + content + bytes(8)


def _image(image: np.ndarray, scale: float, unit: str, tags: dict) -> dict:
    sides = [{"Origin": 0.0, "Scale": scale, "Units": unit} for _ in image.shape]
    calibrations = {"Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": ""}, "Dimension": sides}
    data = {"Calibrations": calibrations, "Data": image, "DataType": CODES[image.dtype.name][0]}
    return {"ImageData": {**data, "Dimensions": list(image.shape[::-1])}, "ImageTags": tags, "Name": "a"}


def _group(items: dict | list) -> bytes:
    named = items.items() if isinstance(items, dict) else [("", item) for item in items]
    return struct.pack(">bbI", 1, 0, len(items)) + b"".join(_tag(name, value) for name, value in named)


def _tag(name: str, value) -> bytes:
    inner = isinstance(value, dict | list)
    head = struct.pack(">bh", 20 if inner else 21, len(name)) + name.encode()
    return head + (_group(value) if inner else b"%%%%" + _data(value))


def _data(value) -> bytes:
    if isinstance(value, int):
        return struct.pack(">2I", 1, 5) + struct.pack("<I", value)
    if isinstance(value, float):
        return struct.pack(">2I", 1, 6) + struct.pack("<f", value)
    array = np.frombuffer(value.encode("utf-16-le"), "<u2") if isinstance(value, str) else value
    return struct.pack(">4I", 3, 20, CODES[array.dtype.name][1], array.size) + array.tobytes()
