"""The levels of a mask image: which pixel is of which class, whatever way the picture was saved."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from tem_data.images.reading import Stored

DARK, BRIGHT = 31, 224  # a mask of 0 and 255 that was smoothed or compressed keeps most pixels below or above these
SOFT_PX, JPEG_PX = 4.0, 8.0  # width of a soft edge, and as far as a JPEG blurs one
FEW_LEVELS, FEW_LONELY = 4, 10  # of a mask without soft edges
MOST_CLASSES = 64  # of numbers that are classes
NEAR = 4  # by which a colour may miss the one that is meant, in each of red, green and blue
BACKGROUND = {"background", "_background_", "bg"}
NOTHING = -(2**24)  # the code of what is background, far from those of colours
BASE = np.array((65536, 256, 1))
LUMA = np.array((299, 587, 114))


def class_levels(stored: Stored, values: Mapping[int, str] | None, every: str) -> tuple[np.ndarray, Mapping[int, str]]:
    """The grey levels (height, width) of a mask, and the class of each level.

    `values` gives these classes; without it every level but 0 is of the class `every`, and where that
    is "" the only one `defect`. Soft edges between 0 and 255,
    also of JPEG, are cut at half. Raises ValueError where levels cannot be told without doubt.
    """
    grey = _grey(stored, by_index=values is not None)
    if grey.dtype.kind == "f" and (grey != np.rint(grey)).any():
        raise ValueError("its levels are no whole numbers, as of probabilities; cut them at a threshold and save that")
    if stored.kind == "bilevel" and (values is None or 1 not in values):
        grey = grey * np.uint8(255)  # as it is shown
    top = None if values is None else max(values, default=0)
    if top is None or (len(values or ()) == 1 and top >= BRIGHT):
        if soft := softened(grey, stored.lossy):
            grey = np.where(grey > 127, np.uint8(top or 255), np.uint8(0))
        if stored.lossy and not soft and np.unique(grey).size > 2:
            raise ValueError(f"it is a JPEG of {np.unique(grey).size} grey levels; save masks as PNG or TIFF")
    elif stored.lossy:
        raise ValueError("it is a JPEG, which blurs classes into each other; save masks of several classes as PNG")
    refuse_soft(grey, "grey levels")
    if values is None:
        if grey.min() < 0:
            raise ValueError("it has levels below 0; name the class of each level by mask_values")
        _refuse_outlines(grey)
        levels = np.unique(grey[grey != 0]).tolist()
        if not every and len(levels) > 1:
            raise ValueError(
                f"levels {', '.join(map(str, levels[:8]))}{', …' * (len(levels) > 8)}: name the class of each by "
                "mask_values; where they number defects of one class, name that by classes"
            )
        return grey, {int(level): every or "defect" for level in levels}
    if values.get(0, "bg").lower() not in BACKGROUND:  # 0 is a class, and what is named so the background
        grey, values = grey.astype(np.int64) + 1, {value + 1: name for value, name in values.items()}
    nothing = [value for value, name in values.items() if name.lower() in BACKGROUND]
    return np.where(np.isin(grey, nothing), np.zeros_like(grey), grey), values


def refuse_soft(levels: np.ndarray, what: str) -> None:
    """Raises ValueError where pixels on others differ from all around, as in soft edges and in micrographs."""
    count = len(np.unique(levels[levels != 0]))
    height, width = levels.shape
    padded = np.pad(levels, 1)
    lonely, beside = levels != 0, np.zeros(levels.shape, bool)
    for y, x in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        around = padded[y : y + height, x : x + width]
        lonely &= around != levels
        beside |= around != 0
    if count > FEW_LEVELS and (lonely & beside).sum() > max(FEW_LONELY, count):
        raise ValueError(
            f"its {count} {what} run into each other, as in a micrograph or along soft edges; save a mask of plain "
            "levels or colours, one a class or one a defect"
        )


def _refuse_outlines(grey: np.ndarray) -> None:
    """Raises ValueError where 255 is only the outlines between other levels, as in masks of PASCAL VOC."""
    white = (grey == 255).astype(np.uint8)
    others = (grey != 0) & (white == 0)
    if not white.any() or not others.any() or grey[others].max() >= MOST_CLASSES:
        return
    thin = not cv2.erode(white, np.ones((5, 5), np.uint8)).any()
    if thin and cv2.dilate(white, np.ones((3, 3), np.uint8))[others].any():
        raise ValueError("255 stands along the outlines of others; name the class of each level by mask_values")


def colour_levels(stored: Stored, named: Mapping[tuple[int, ...], str]) -> tuple[np.ndarray, Mapping[int, str]]:
    """Levels 1, 2, … for the colours of `named`, more for others, and the class or the name of the colour of each.

    Background are black, what is transparent, colours named so, and another colour that has no name and fills most of
    the image. Colours that miss a named one by little are meant to be that.
    """
    if stored.lossy:
        raise ValueError("it is a JPEG, which blurs colours into each other; save masks as PNG")
    codes = _codes(stored)
    classes = {int(np.dot(colour, BASE)): name for colour, name in named.items()}
    known = {0: NOTHING} | {code: code for code in classes} | {NOTHING: NOTHING}
    for code in [int(code) for code in np.unique(codes) if int(code) not in known]:
        filled = (codes == code).mean()
        near = [meant for other, meant in known.items() if np.abs(_rgb(other) - _rgb(code)).max() <= NEAR]
        if filled > 0.5 or len(near) == 1:
            codes[codes == code] = near[0] if len(near) == 1 else NOTHING
    codes[codes == 0] = known[0]
    others = [int(code) for code in np.unique(codes) if code not in (NOTHING, *classes)]
    if len(others) > 255:
        raise ValueError(f"{len(others)} colours besides the named ones; save masks without soft edges")
    levels = np.zeros(codes.shape, np.int32)
    names = [*classes.items(), *((code, f"colour #{code:06x}") for code in others)]
    for level, (code, name) in enumerate(names, 1):
        levels[codes == code] = 0 if name.lower() in BACKGROUND else level
    refuse_soft(levels, "colours")
    return levels, {level: name for level, (_, name) in enumerate(names, 1)}


def _codes(stored: Stored) -> np.ndarray:
    """One number a colour, NOTHING where it is transparent."""
    colours = stored.values[..., :3] if stored.kind == "colour" else np.asarray(stored.palette)[stored.values]
    codes = colours.astype(np.int32) @ BASE
    if stored.kind == "colour" and stored.values.shape[2] == 4 and np.ptp(stored.values[..., 3]):
        codes[stored.values[..., 3] == 0] = NOTHING
    return codes


def _rgb(code: int) -> np.ndarray:
    return np.array([code >> 16, code >> 8 & 255, code & 255])


def softened(grey: np.ndarray, lossy: bool = False) -> bool:
    """Whether this is a mask of 0 and 255 with soft edges: much of what is not dark is bright, the rest beside it."""
    if grey.dtype != np.uint8:
        return False
    bright, dark = grey >= BRIGHT, grey <= DARK
    between = np.unique(grey[~bright & ~dark])
    if bright.sum() < 0.2 * (~dark).sum() or not bright.any() or not dark.any():
        return False
    if len(between) < 2 and not lossy:  # classes of some low levels, and of 255
        return False
    remote = cv2.distanceTransform((~bright).astype(np.uint8), cv2.DIST_L2, 3)
    return bool((remote[~dark] <= (JPEG_PX if lossy else SOFT_PX)).all())


def _grey(stored: Stored, by_index: bool = False) -> np.ndarray:
    """One level a pixel, of palettes the index: with `by_index` always, else where 0 may be the background.

    Raises ValueError where colours have to be named.
    """
    if stored.kind == "palette" and not by_index:
        used = np.unique(stored.values)
        black = ~np.asarray(stored.palette)[used].any(-1)
        if black.any() and used[black].min() > 0:  # the background has another number than 0
            return _grey(stored._replace(values=np.asarray(stored.palette)[stored.values], kind="colour"))
    if stored.kind != "colour":
        return stored.values
    colours = stored.values[..., :3]
    if stored.values.shape[2] == 4 and np.ptp(stored.values[..., 3]):
        seen = stored.values[..., 3] > 0
        if not np.ptp(colours[seen], axis=0).any() or not np.ptp(colours.reshape(-1, 3), axis=0).any():
            return stored.values[..., 3]
        if (colours.any(-1) != seen).any():
            raise ValueError("both its colours and its transparency vary; save the mask without transparency")
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
