"""The vocabulary: a micrograph and its defects.

A micrograph is an 8-bit grey image with its calibration and its defects. A
patch is a micrograph too: the square window `(x, y)` of another one, turned by
one of the eight symmetries of the square. Pixel (0, 0) is the upper left one,
y points down, boxes are `x, y, width, height` in px as in COCO.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from pycocotools import mask as rle_ops

ORIGINS = ("exp", "builtin", "sim", "gen", "paint", "copypaste")


@dataclass(frozen=True, eq=False)
class Defect:
    """One labelled (or predicted) defect.

    `mask` is a bool array, cut to the defect's box, whose upper left pixel is
    `(x, y)` of the image. `ignore` marks what is to count neither as found nor
    as missed. `score` is a prediction's confidence in [0, 1].
    """

    category: str
    x: int
    y: int
    mask: np.ndarray
    ignore: bool = False
    score: float = 1.0

    @property
    def area(self) -> int:
        return int(self.mask.sum())

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        return self.x, self.y, self.mask.shape[1], self.mask.shape[0]

    def rle(self, height: int, width: int) -> dict:
        """COCO run-length code on the whole image; `counts` is a str."""
        # the columns beside the box are counted, not drawn: images may be large
        strip = np.zeros((self.mask.shape[1], height), bool)
        strip[:, self.y : self.y + self.mask.shape[0]] = self.mask.T
        values = np.pad(strip.ravel(), 1)
        changes = np.flatnonzero(values[1:] != values[:-1]) + self.x * height
        runs = np.diff(changes, prepend=0, append=height * width)
        runs = runs if runs[-1] else runs[:-1]
        code = rle_ops.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
        return {"size": [height, width], "counts": code["counts"].decode("ascii")}


@dataclass(frozen=True, eq=False)
class Micrograph:
    """An image `(height, width) uint8`, its calibration and its defects.

    `image` is None for a mask that nothing was painted on yet (origin `sim`).
    `nm_per_px` and `thickness_nm` are None where they are not known. `x`, `y`
    and `symmetry` say which window of which micrograph a patch is; `seed`,
    `checkpoint`, `guidance_scale` and `num_inference_steps` say how a drawn mask
    or a generated patch can be made again. `labelled_by` says who drew the defects,
    a person or a model that one reviewed; "" where it is not known.
    """

    micrograph_id: str
    image: np.ndarray | None
    defects: tuple[Defect, ...]
    shape: tuple[int, int]
    nm_per_px: float | None = None
    thickness_nm: float | None = None
    specimen: str = ""
    scene: str = ""
    origin: str = "exp"
    x: int = 0
    y: int = 0
    symmetry: int = 0
    seed: int | None = None
    checkpoint: str = ""
    guidance_scale: float | None = None
    num_inference_steps: int | None = None
    labelled_by: str = ""

    @property
    def pixels(self) -> np.ndarray:
        """The image of a micrograph that is known to have one."""
        return cast(np.ndarray, self.image)

    @property
    def scene_name(self) -> str:
        """The scene; where it is not known the micrograph itself."""
        return self.scene or self.micrograph_id


def defect_from_mask(
    category: str, mask: np.ndarray, x: int = 0, y: int = 0, ignore: bool = False, score: float = 1.0
) -> Defect | None:
    """A defect from any bool mask whose upper left pixel lies at `(x, y)`; None if it is empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    tight = np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], dtype=bool)
    return Defect(category, int(x + cols[0]), int(y + rows[0]), tight, ignore, score)


def ellipse_box(x: float, y: float, major: float, minor: float, angle_deg: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom edge of an ellipse, px; it is given as in `defect_from_ellipse`."""
    turn = np.deg2rad(angle_deg)
    half_w = np.hypot(major * np.cos(turn), minor * np.sin(turn)) / 2
    half_h = np.hypot(major * np.sin(turn), minor * np.cos(turn)) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


def defect_from_ellipse(
    category: str,
    x: float,
    y: float,
    major: float,
    minor: float,
    angle_deg: float,
    shape: tuple[int, int],
    ignore: bool = False,
) -> Defect | None:
    """The pixels of an image of `shape` whose centres lie in an ellipse; None if there are none.

    `x, y` is the centre and `major, minor` the full axes, in px, with the
    origin at the upper left corner of the image as in Fiji; `angle_deg` is
    counter-clockwise from +x as Fiji gives it.
    """
    left, top, right, bottom = ellipse_box(x, y, major, minor, angle_deg)
    x0, x1 = max(0, int(np.floor(left))), min(shape[1], int(np.ceil(right)) + 1)
    y0, y1 = max(0, int(np.floor(top))), min(shape[0], int(np.ceil(bottom)) + 1)
    if x0 >= x1 or y0 >= y1:
        return None
    turn = np.deg2rad(angle_deg)
    dx = np.arange(x0, x1)[None, :] + 0.5 - x
    dy = y - (np.arange(y0, y1)[:, None] + 0.5)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    inside = (along / (major / 2)) ** 2 + (across / (minor / 2)) ** 2 <= 1
    return defect_from_mask(category, inside, x0, y0, ignore)


def defect_from_polygons(
    category: str, polygons: Sequence[Sequence[float]], shape: tuple[int, int], ignore: bool = False
) -> Defect | None:
    """The part inside an image of `shape` of a COCO polygon list (flat x, y lists); None if empty."""
    points = np.concatenate([np.asarray(p, float).reshape(-1, 2) for p in polygons])
    low = np.floor(points.min(0)).astype(int)
    width, height = (np.ceil(points.max(0)).astype(int) - low + 1).tolist()
    local = [(np.asarray(p, float).reshape(-1, 2) - low).ravel().tolist() for p in polygons]
    mask = rle_ops.decode(rle_ops.merge(rle_ops.frPyObjects(local, height, width))).astype(bool)
    defect = defect_from_mask(category, mask, int(low[0]), int(low[1]), ignore)
    return defect and window(defect, 0, 0, shape)


def defect_from_rle(category: str, code: dict, ignore: bool = False, score: float = 1.0) -> Defect | None:
    """A defect from a COCO run-length code (compressed, or `counts` as a list of ints)."""
    if isinstance(code["counts"], list):
        code = rle_ops.frPyObjects(code, *code["size"])
    return defect_from_mask(category, rle_ops.decode(code).astype(bool), 0, 0, ignore, score)


def window(defect: Defect, x: int, y: int, shape: tuple[int, int]) -> Defect | None:
    """The part of a defect in the window of `shape` at `(x, y)`, in the window's coordinates."""
    left, top = defect.x - x, defect.y - y
    cut = defect.mask[max(0, -top) : max(0, shape[0] - top), max(0, -left) : max(0, shape[1] - left)]
    if cut.shape == defect.mask.shape:
        return replace(defect, x=left, y=top)
    return defect_from_mask(defect.category, cut, max(0, left), max(0, top), defect.ignore, defect.score)


def touches_edge(defect: Defect, shape: tuple[int, int]) -> bool:
    """Whether a defect reaches the edge of an image of `shape`, which may have cut it."""
    x, y, w, h = defect.bbox
    return x == 0 or y == 0 or x + w == shape[1] or y + h == shape[0]


def paste(canvas: np.ndarray, defect: Defect, value: int) -> None:
    """Write `value` where the defect lies; it must lie inside the canvas."""
    x, y, w, h = defect.bbox
    canvas[y : y + h, x : x + w][defect.mask] = value


def _painting_order(defects: Sequence[Defect]) -> list[int]:
    return sorted(range(len(defects)), key=lambda i: -defects[i].area)


def class_mask(defects: Sequence[Defect], classes: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
    """Class mask, uint8: 0 background, k + 1 for `classes[k]`. Small defects lie on top of large ones.

    Defects of no listed class (`ambiguous`) are not drawn.
    """
    canvas = np.zeros(shape, np.uint8)
    value = {name: k + 1 for k, name in enumerate(classes)}
    for i in _painting_order(defects):
        if defects[i].category in value:
            paste(canvas, defects[i], value[defects[i].category])
    return canvas


def instance_map(defects: Sequence[Defect], shape: tuple[int, int]) -> np.ndarray:
    """Instance map, uint16: 0 background, i + 1 for `defects[i]`. Small defects lie on top.

    Where defects overlap the map shows one of them; the whole shapes are the defects' own masks.
    """
    canvas = np.zeros(shape, np.uint16)
    for i in _painting_order(defects):
        paste(canvas, defects[i], i + 1)
    return canvas


def crop(micrograph: Micrograph, x: int, y: int, shape: tuple[int, int]) -> Micrograph:
    """The window of `shape` at `(x, y)`, with the defects cut at its edges."""
    inside = (window(d, x, y, shape) for d in micrograph.defects)
    image = micrograph.image
    return replace(
        micrograph,
        image=None if image is None else np.ascontiguousarray(image[y : y + shape[0], x : x + shape[1]]),
        defects=tuple(d for d in inside if d is not None),
        shape=shape,
        x=micrograph.x + x,
        y=micrograph.y + y,
    )


def symmetric_array(array: np.ndarray, symmetry: int) -> np.ndarray:
    """One of the eight symmetries of the square: `symmetry % 4` quarter turns, mirrored first from 4 on."""
    mirrored = array[:, ::-1] if symmetry >= 4 else array
    return np.ascontiguousarray(np.rot90(mirrored, symmetry % 4))


def symmetric(patch: Micrograph, symmetry: int) -> Micrograph:
    """A square patch turned by one of the eight symmetries (0 is the identity)."""
    size = patch.shape[0]

    def turned(defect: Defect) -> Defect:
        x, y, w, h = defect.bbox
        if symmetry >= 4:
            x = size - x - w
        for _ in range(symmetry % 4):
            x, y, w, h = y, size - x - w, h, w
        return replace(defect, x=x, y=y, mask=symmetric_array(defect.mask, symmetry))

    image = None if patch.image is None else symmetric_array(patch.image, symmetry)
    return replace(patch, image=image, defects=tuple(map(turned, patch.defects)), symmetry=symmetry)


def halved(micrograph: Micrograph) -> Micrograph:
    """The micrograph at half the size: the mean of 2×2 px; a mask keeps a pixel of which half is covered."""
    h, w = (side // 2 * 2 for side in micrograph.shape)

    def blocks(array: np.ndarray) -> np.ndarray:
        return array.reshape(array.shape[0] // 2, 2, array.shape[1] // 2, 2).mean((1, 3))

    def half(defect: Defect) -> Defect | None:
        cut = window(defect, 0, 0, (h, w))
        if cut is None:
            return None
        left, top = cut.x % 2, cut.y % 2
        bottom, right = (top + cut.mask.shape[0]) % 2, (left + cut.mask.shape[1]) % 2
        mask = blocks(np.pad(cut.mask, ((top, bottom), (left, right)))) >= 0.5
        return defect_from_mask(cut.category, mask, cut.x // 2, cut.y // 2, cut.ignore, cut.score)

    image = micrograph.image
    scale = micrograph.nm_per_px
    return replace(
        micrograph,
        image=None if image is None else np.rint(blocks(image[:h, :w].astype(np.float32))).astype(np.uint8),
        defects=tuple(d for d in map(half, micrograph.defects) if d is not None),
        shape=(h // 2, w // 2),
        nm_per_px=None if scale is None else scale * 2,
    )


def count_by_class(micrographs: Iterable[Micrograph]) -> dict[str, int]:
    """How many defects of each category there are."""
    counts: dict[str, int] = {}
    for micrograph in micrographs:
        for defect in micrograph.defects:
            counts[defect.category] = counts.get(defect.category, 0) + 1
    return dict(sorted(counts.items()))
