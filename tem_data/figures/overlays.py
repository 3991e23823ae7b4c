"""Micrographs with what was found on them drawn in, pixel for pixel."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import find_contours

from tem_data.core.files import atomic_write
from tem_data.core.micrograph import Defect
from tem_data.figures.pictures import colour_of, scale_bar_nm

TEXT_PX, SMALL_TEXT_PX, PX_PER_TEXT_PX = 11, 15, 64  # of the strip: at least, on thumbnails, and by the width
FRACTION_BITS = 4  # of a pixel, to which outlines are placed
LONGEST_LABEL = 24  # characters
QUALITY = 85  # of a JPEG


def drawn(image: np.ndarray, defects: Sequence[Defect], classes: Sequence[str], scale: float = 1.0) -> np.ndarray:
    """An image `(h, w) uint8` with the outlines of its defects, RGB uint8, `scale` (at most 1) times as large."""
    if scale < 1:
        size = [max(1, round(side * scale)) for side in reversed(image.shape)]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    canvas = np.repeat(image[:, :, None], 3, axis=2)
    width = max(1, round(max(image.shape) / 1200))
    for defect in defects:
        colour = _rgb(colour_of(defect.category, classes))
        for contour in find_contours(np.pad(defect.mask, 1).astype(np.float32), 0.5):
            # the centre of pixel 0 lies at 0.5 px, before and after scaling
            corners = (contour[:, ::-1] - 1 + (defect.x, defect.y) + 0.5) * scale - 0.5
            points = np.rint(corners * 2**FRACTION_BITS).astype(np.int32)
            cv2.polylines(canvas, [points[:, None]], True, colour, width, cv2.LINE_AA, FRACTION_BITS)
    return canvas


def overlay(
    path: str | os.PathLike,
    image: np.ndarray,
    defects: Sequence[Defect],
    classes: Sequence[str],
    nm_per_px: float | None = None,
    confidence: bool = False,
) -> None:
    """An image `(h, w) uint8` with the outlines of its defects, pixel for pixel, as a PNG.

    A strip below it says which class has which colour and how many there are,
    and has a scale bar where `nm_per_px` is known. `confidence` writes it beside
    each defect where there is room.
    """
    picture = Image.fromarray(drawn(image, defects, classes))
    if confidence:
        _write_confidences(picture, defects)
    whole = _with_strip(picture, defects, classes, nm_per_px)
    with atomic_write(Path(path)) as draft:
        whole.save(draft, "PNG", compress_level=1)


def thumbnail(
    path: str | os.PathLike,
    image: np.ndarray,
    defects: Sequence[Defect],
    classes: Sequence[str],
    nm_per_px: float | None,
    side_px: int,
) -> None:
    """As `overlay`, no side of the image longer than `side_px`, as a JPEG."""
    scale = min(1.0, side_px / max(image.shape))
    picture = Image.fromarray(drawn(image, defects, classes, scale))
    whole = _with_strip(picture, defects, classes, nm_per_px and nm_per_px / scale, SMALL_TEXT_PX)
    with atomic_write(Path(path)) as draft:
        whole.save(draft, "JPEG", quality=QUALITY)


def _with_strip(
    picture: Image.Image,
    defects: Sequence[Defect],
    classes: Sequence[str],
    nm_per_px: float | None,
    least_px: int = TEXT_PX,
) -> Image.Image:
    font = _font(max(least_px, picture.width // PX_PER_TEXT_PX))
    strip = _strip(picture.width, defects, classes, nm_per_px, font)
    whole = Image.new("RGB", (picture.width, picture.height + strip.height))
    whole.paste(picture, (0, 0))
    whole.paste(strip, (0, picture.height))
    return whole


def _strip(
    width: int, defects: Sequence[Defect], classes: Sequence[str], nm_per_px: float | None, font: ImageFont.FreeTypeFont
) -> Image.Image:
    """The legend and the scale bar, white on black, in as many lines as it takes."""
    size = font.size
    counts = Counter(defect.category for defect in defects)
    keys = [(name, f"{_shortened(name)}: {counts[name]}") for name in dict.fromkeys((*classes, *counts))]
    lengths = [1.6 * size + font.getlength(text) + size for _, text in keys]
    bar = None if nm_per_px is None else _Bar(width, nm_per_px, font)
    places, x, line = [], 0.5 * size, 0
    for length in [*lengths, *([bar.length] if bar else [])]:
        if x > size and x + length > width:
            x, line = 0.5 * size, line + 1
        places.append((x, line))
        x += length
    strip = Image.new("RGB", (width, int(2 * size * (line + 1))), "black")
    draw = ImageDraw.Draw(strip)
    for (name, text), (x, line) in zip(keys, places, strict=False):
        top = 2 * size * line + 0.5 * size
        draw.rectangle((x, top, x + size, top + size), outline=colour_of(name, classes), width=int(max(2, size // 6)))
        draw.text((x + 1.6 * size, top + size / 2), text, "white", font, "lm")
    if bar:
        bar.draw(draw, max(places[-1][0], width - bar.length), 2 * size * (places[-1][1] + 0.5))
    return strip


class _Bar:
    """A scale bar with its length in words on its left; `length` is that of both, px."""

    def __init__(self, width: int, nm_per_px: float, font: Any) -> None:
        nm = scale_bar_nm(width, nm_per_px)
        self.px, self.font = nm / nm_per_px, font
        self.text = f"{nm:g} nm" if nm < 1000 else f"{nm / 1000:g} µm"
        self.length = font.getlength(self.text) + self.px + 1.5 * font.size

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
        draw.text((x, y), self.text, "white", self.font, "lm")
        left, half = round(x + self.length - self.font.size - self.px), self.font.size // 6
        draw.rectangle((left, y - half, left + round(self.px) - 1, y + half), fill="white")


def _write_confidences(picture: Image.Image, defects: Sequence[Defect]) -> None:
    """The surer ones first: beside a defect, on no other one and on no other number."""
    draw, font = ImageDraw.Draw(picture), _font(max(9, picture.width // 95))
    taken = np.zeros((picture.height, picture.width), bool)
    for defect in defects:
        x, y, width, height = defect.bbox
        taken[y : y + height, x : x + width] = True
    for defect in sorted(defects, key=lambda defect: -defect.score):
        text = f"{defect.score:.2f}"
        size = int(font.getlength(text)) + 2, int(font.size)
        place = next((place for place in _beside(defect, size) if _is_free(taken, place, size)), None)
        if place is not None:
            draw.text(place, text, "white", font, "lt", stroke_width=1, stroke_fill="black")
            taken[place[1] : place[1] + size[1], place[0] : place[0] + size[0]] = True


def _beside(defect: Defect, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Upper left corners (x, y) of a text of `size` around a defect, the best first."""
    x, y, w, h = defect.bbox
    left, right, top, bottom = x - size[0] - 2, x + w + 2, y - 1, y + h - size[1] + 1
    return [(right, top), (right, bottom), (left, top), (left, bottom), (x, y - size[1] - 2), (x, y + h + 2)]


def _is_free(taken: np.ndarray, place: tuple[int, int], size: tuple[int, int]) -> bool:
    x, y = place
    height, width = taken.shape
    within = x >= 0 and y >= 0 and x + size[0] <= width and y + size[1] <= height
    return within and not taken[y : y + size[1], x : x + size[0]].any()


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex("ffffff" if colour == "white" else colour.removeprefix("#")))
