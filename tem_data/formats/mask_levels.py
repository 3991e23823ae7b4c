"""The levels of a mask image: which pixel is of which class, whatever way the picture was saved."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from tem_data.images.reading import Stored

DARK, BRIGHT = 31, 224  # a mask of 0 and 255 that was smoothed or compressed keeps most pixels below or above these
SOFT_PX = 3.0  # width of a soft edge
LUMA = np.array((299, 587, 114))


def class_levels(stored: Stored, values: Mapping[int, str] | None, every: str) -> tuple[np.ndarray, Mapping[int, str]]:
    """The grey levels (height, width) of a mask, and the class of each level.

    `values` gives these classes; without it every level but 0 is of the class `every`. Soft edges between 0 and 255,
    also of JPEG, are cut at half. Raises ValueError where levels cannot be told without doubt.
    """
    grey = _grey(stored)
    if stored.kind == "bilevel" and (values is None or 1 not in values):
        grey = grey * np.uint8(255)  # as it is shown
    top = None if values is None else max(values, default=0)
    if top is None or (len(values or ()) == 1 and top >= BRIGHT):
        if soft := softened(grey):
            grey = np.where(grey > 127, np.uint8(top or 255), np.uint8(0))
        if stored.lossy and not soft and np.unique(grey).size > 2:
            raise ValueError(f"it is a JPEG of {np.unique(grey).size} grey levels; save masks as PNG or TIFF")
    elif stored.lossy:
        raise ValueError("it is a JPEG, which blurs classes into each other; save masks of several classes as PNG")
    if values is None:
        return grey, {int(level): every for level in np.unique(grey[grey != 0])}
    return grey, values


def colour_levels(stored: Stored, named: Mapping[tuple[int, ...], str]) -> tuple[np.ndarray, Mapping[int, str]]:
    """Levels 1, 2, … for the colours of `named`, more for others, and the class or the name of the colour of each."""
    if stored.lossy:
        raise ValueError("it is a JPEG, which blurs colours into each other; save masks as PNG")
    colours = stored.values[..., :3] if stored.kind == "colour" else np.asarray(stored.palette)[stored.values]
    codes = colours.astype(np.int32) @ np.array((65536, 256, 1))
    classes = {int(np.dot(colour, (65536, 256, 1))): name for colour, name in named.items()}
    others = [int(code) for code in np.unique(codes) if code and code not in classes]
    if len(others) > 255:
        raise ValueError(f"{len(others)} colours besides the named ones; save masks without soft edges")
    levels = np.zeros(codes.shape, np.int32)
    names = [*classes.items(), *((code, f"colour #{code:06x}") for code in others)]
    for level, (code, _) in enumerate(names, 1):
        levels[codes == code] = level
    return levels, {level: name for level, (_, name) in enumerate(names, 1)}


def softened(grey: np.ndarray) -> bool:
    """Whether this is a mask of 0 and 255 with soft edges: most of what is not dark is bright, the rest beside it."""
    if grey.dtype != np.uint8 or np.isin(grey, (0, 255)).all():
        return False
    bright, dark = grey >= BRIGHT, grey <= DARK
    if bright.sum() < 0.5 * (~dark).sum() or not bright.any():
        return False
    remote = cv2.distanceTransform((~bright).astype(np.uint8), cv2.DIST_L2, 3)
    return bool((remote[~dark] <= SOFT_PX).all())


def _grey(stored: Stored) -> np.ndarray:
    """One level a pixel. Raises ValueError where colours have to be named."""
    if stored.kind != "colour":
        return stored.values
    colours = stored.values[..., :3]
    if stored.values.shape[2] == 4 and np.ptp(stored.values[..., 3]):
        if np.ptp(colours.reshape(-1, 3), axis=0).any():
            raise ValueError("both its colours and its transparency vary; save the mask without transparency")
        return stored.values[..., 3]
    if (colours[..., :1] == colours).all():
        return colours[..., 0]
    if stored.lossy:
        raise ValueError("it is a JPEG in colours; save masks as PNG")
    # as Pillow weighs colours; two of one luma cannot be told apart by it
    luma = (colours.astype(np.int64) @ LUMA + 500) // 1000
    found = np.unique(colours.reshape(-1, 3), axis=0)
    if len(np.unique((found.astype(np.int64) @ LUMA + 500) // 1000)) < len(found):
        shown = ", ".join(f"#{bytes(colour.tolist()).hex()}" for colour in found[:8])
        raise ValueError(f"its colours {shown} cannot be told apart by their grey; name them by mask_colours")
    return luma.astype(np.uint8)
