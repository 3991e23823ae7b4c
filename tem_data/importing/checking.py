"""What can be wrong with labels: each one by itself, and all of them against their image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import cv2
import numpy as np
from scipy import fft

from tem_data.core.micrograph import Defect, paste
from tem_data.core.rle import IN_FRACTIONS, in_fractions
from tem_data.importing.labels import Ellipse, Label, LabelTable, Outline, Pixels, Rings, RunLengths
from tem_data.importing.quarantine import Quarantine

EDGE_PX = 1.0
WRONG_AREA = 0.05


class Names(NamedTuple):
    """What a name in a file means: the class to learn, or the label to keep but not to count."""

    classes: Mapping[str, str]
    ignored: Mapping[str, str]

    def meaning(self, name: str) -> tuple[str, bool] | None:
        """Category, and whether it is ignored; None if the name is not known."""
        if name in self.classes:
            return self.classes[name], False
        return (self.ignored[name], True) if name in self.ignored else None


def checked_defects(table: LabelTable, shape: tuple[int, int], names: Names, quarantine: Quarantine) -> list[Defect]:
    """The labels of one image of `shape` as defects; what is wrong with each goes to the quarantine.

    A shape that is there in two classes is kept once, in the first one, and ignored.
    """
    defects: dict[Hashable, Defect] = {}
    seen: dict[Hashable, Label] = {}
    for label in table.labels:
        outline = cast(Outline, label.outline)  # a label without one is a problem
        problem = _problem(label, shape, names) or _repeated(label, outline, seen, names)
        if problem:
            quarantine.add(table.file_name, label.item, problem[0], "set aside", problem[1])
            if problem[0] == "conflicting class" and (key := outline.key()) in defects:
                defects[key] = replace(defects[key], ignore=True)
            continue
        category, ignore = cast("tuple[str, bool]", names.meaning(label.name))
        defect = outline.drawn(category, shape, ignore or label.ignore)
        if defect is None:
            quarantine.add(table.file_name, label.item, "bad shape", "set aside", "covers no px of the image")
            continue
        if beyond := _beyond(outline, shape):
            quarantine.add(table.file_name, label.item, "leaves the image", "clipped", f"by {beyond:.1f} px")
        if wrong := _wrong_area(label, outline, defect):
            quarantine.add(table.file_name, label.item, "wrong area", "recomputed", wrong)
        defects[outline.key()] = defect
    return list(defects.values())


def centres_outside(table: LabelTable, shape: tuple[int, int]) -> int:
    """How many labels of a table have their centre outside an image of `shape`."""
    boxes = np.array([label.outline.box() for label in table.labels if label.outline is not None]).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(1)]
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return int(((x < 0) | (x > shape[1]) | (y < 0) | (y > shape[0])).sum())


def alignment(image: np.ndarray, defects: Sequence[Defect]) -> float:
    """How well shapes fit an image: about 1.5 for shapes of another image (99 %: 3.5), 8 and more for its own.

    The correlation of the covered area with the local grey (dark or bright
    defects) or the local contrast (rings), at shifts of at most 2/256 of the
    side, in standard deviations of all shifts; the larger magnitude of both.
    `image` is `(height, width) uint8`.
    """
    size = (256, 256)
    cover = np.zeros(image.shape, np.uint8)
    for defect in defects:
        paste(cover, defect, 1)
    grey = _detail(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    spectrum = fft.rfft2(_detail(cv2.resize(cover * 255, size, interpolation=cv2.INTER_AREA))).conj()
    best = 0.0
    for signal in (grey, np.abs(grey)):
        limit = 3 * signal.std()
        match = fft.irfft2(fft.rfft2(np.clip(signal - signal.mean(), -limit, limit)) * spectrum)
        near = np.abs(match[np.ix_(range(-2, 3), range(-2, 3))]).max()
        best = max(best, float(near / max(match.std(), 1e-12)))
    return best


def _detail(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float32)
    return array - cv2.GaussianBlur(array, (0, 0), 12)


def _problem(label: Label, shape: tuple[int, int], names: Names) -> tuple[str, str] | None:
    if not label.name:
        return "no class", "it has none in the file, or attributes of which none is called class or label; give it one"
    if names.meaning(label.name) is None:
        return "unknown class", label.name
    outline = label.outline
    if outline is None:
        return "bad shape", "no outline of at least three points"
    if isinstance(outline, (Pixels, RunLengths)) and outline.shape not in (None, shape):
        return "size mismatch", f"image {shape}, mask {outline.shape} (height, width)"
    box = outline.box()
    if not np.isfinite(box).all():
        return "bad shape", "NaN or no number"
    width, height = box[2] - box[0], box[3] - box[1]
    if isinstance(outline, (Ellipse, Rings)) and in_fractions(box):
        return "bad shape", IN_FRACTIONS
    if width <= 0 or height <= 0 or (isinstance(outline, Ellipse) and min(outline.major, outline.minor) <= 0):
        return "bad shape", "zero size"
    if box[2] <= 0 or box[3] <= 0 or box[0] >= shape[1] or box[1] >= shape[0]:
        return "outside the image", f"box {[round(edge, 1) for edge in box]} px"
    if max(width, height) > 4 * max(shape):
        return "bad shape", f"{width:.0f} × {height:.0f} px is far larger than the image"
    return None


def _repeated(label: Label, outline: Outline, seen: dict[Hashable, Label], names: Names) -> tuple[str, str] | None:
    first = seen.setdefault(outline.key(), label)
    if first is label:
        return None
    if names.meaning(first.name) == names.meaning(label.name):
        return "duplicate shape", f"the same as {first.item} (class {first.name})"
    return "conflicting class", f"{label.name} here, {first.name} in {first.item}, which is kept but ignored"


def _beyond(outline: Outline, shape: tuple[int, int]) -> float:
    """How far a shape reaches out of the image, px; 0 within what drawing an outline along the edge makes."""
    left, top, right, bottom = outline.box()
    beyond = max(-left, -top, right - shape[1], bottom - shape[0])
    return beyond if beyond > EDGE_PX else 0.0


def _wrong_area(label: Label, outline: Outline, defect: Defect) -> str:
    if label.area is None:
        return ""
    # tools state either the outline's area or that of the px inside
    sizes = defect.area, outline.area()
    if any(abs(label.area - size) <= WRONG_AREA * size for size in sizes):
        return ""
    return f"stated {label.area}, found {defect.area} px²"
