"""Class masks and instance maps as people hold them: arrays, tensors, PIL images, one or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.diffusion.conditioning import unknown_class

# One stored value a pixel: bilevel, grey, palette (the numbers, not the colours), 16 and 32 bits.
ONE_CHANNEL = ("1", "L", "P", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
EXPECTED = "expected an array, a tensor or a PIL image (height, width), or several of one size"


def class_masks(masks: Any, n_classes: int) -> np.ndarray:
    """(N, H, W) uint8 of `masks`: 0 background, k + 1 for class k of `n_classes`; True is 1.

    Takes (H, W), (N, H, W) or (N, 1, H, W) as an array or a tensor of whole numbers, a PIL image by its stored values,
    or a sequence of these. Raises TemDataError for anything else, sizes that differ and values of no class.
    """
    values = _stack(masks, "masks")
    for value in (int(values.min()), int(values.max())):
        if not 0 <= value <= n_classes:
            raise unknown_class(value, n_classes)
    return values.astype(np.uint8)


def instance_maps(instances: Any, shape: tuple[int, ...]) -> np.ndarray:
    """(N, H, W) ids of `instances`, given as masks are. Raises TemDataError where they have not the masks' `shape`."""
    values = _stack(instances, "instances")
    if values.shape != shape:
        raise TemDataError(
            f"instances: expected an id for each pixel of the masks, of shape {shape}; found ids, and so edges of "
            f"shape {values.shape}"
        )
    return values


def _stack(pictures: Any, name: str) -> np.ndarray:
    """(N, H, W) whole numbers, N, H and W at least 1."""
    if isinstance(pictures, Sequence) and not isinstance(pictures, (str, bytes)):
        several = [_one(picture, f"{name}[{number}]") for number, picture in enumerate(pictures)]
        sizes = sorted({picture.shape for picture in several})
        if len(sizes) > 1:
            found = ", ".join(f"{height}×{width}" for height, width in sizes[:4])
            raise TemDataError(f"{name}: expected one size, found {found} px; give others in a new call")
        values = np.stack(several) if several else np.empty((0, 0, 0), np.uint8)
    else:
        values = _array(pictures, name)
        values = values[None] if values.ndim == 2 else values
        values = values[:, 0] if values.ndim == 4 and values.shape[1] == 1 else values
    if values.ndim != 3 or not values.size:
        raise TemDataError(f"{name} of shape {values.shape}: expected (N, height, width) with at least one mask")
    return values


def _one(picture: Any, name: str) -> np.ndarray:
    """(H, W) whole numbers; `with_format("torch")` puts an axis for the channel first."""
    values = _array(picture, name)
    values = values[0] if values.ndim == 3 and len(values) == 1 else values
    if values.ndim != 2:
        raise TemDataError(f"{name} of shape {values.shape}: expected (height, width); give one mask an item")
    return values


def _array(picture: Any, name: str) -> np.ndarray:
    if isinstance(picture, Image.Image) and picture.mode not in ONE_CHANNEL:
        raise TemDataError(
            f"{name}: a PIL image of mode {picture.mode}: expected one value a pixel, as modes L, P and I;16 have; "
            "turn colours into class numbers first"
        )
    if not (isinstance(picture, torch.Tensor) or hasattr(picture, "__array__") or isinstance(picture, Image.Image)):
        raise TemDataError(f"{name}: {EXPECTED}; found {type(picture).__name__}")
    try:
        if isinstance(picture, torch.Tensor):
            picture = picture.detach().cpu()
            picture = (picture.double() if picture.is_floating_point() else picture).numpy()
        values = np.asarray(picture)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        line = str(error).split("\n")[0]
        raise TemDataError(f"{name}: a {type(picture).__name__} that gives no array ({line}): {EXPECTED}") from error
    return _whole(values, name)


def _whole(values: np.ndarray, name: str) -> np.ndarray:
    """The same as whole numbers; True is 1."""
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind != "f":
        raise TemDataError(f"{name} of {values.dtype}: expected whole numbers, a class or an id for each pixel")
    broken = values[~((np.floor(values) == values) & (np.abs(values) < 2**53))]
    if broken.size:
        raise TemDataError(
            f"{name} of {values.dtype} that holds {broken.flat[0]}: expected whole numbers, a class or an id for each "
            "pixel; give the masks as they were drawn, not interpolated or scaled"
        )
    return values.astype(np.int64)
