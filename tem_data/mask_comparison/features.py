"""What is measured on a set of labelled patches: once for each defect, once for each patch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree
from tqdm import tqdm

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, touches_edge
from tem_data.masks.shapes import ellipse_of

ALL = "all"
ROUND = 0.9  # minor/major from which on an angle says nothing


class Quantity(NamedTuple):
    """`of` is `shape` (whole defects), `defect` (all of them) or `patch`; `power` that of the unit of length."""

    label: str
    of: str
    power: int = 0
    unit: str = ""
    period: float | None = None
    pooled: bool = False  # also asked of all classes together


QUANTITIES = {
    "major": Quantity("major axis", "shape", 1),
    "minor": Quantity("minor axis", "shape", 1),
    "aspect": Quantity("minor/major", "shape"),
    "angle": Quantity("angle", "shape", unit="°", period=180.0),
    "area": Quantity("area", "shape", 2),
    "count": Quantity("count a patch", "patch", pooled=True),
    "class_share": Quantity("share of a patch's defects", "patch"),
    "nearest_neighbour": Quantity("nearest neighbour", "defect", 1, pooled=True),
    "overlap_share": Quantity("overlaps another", "defect", pooled=True),
    "area_fraction": Quantity("area fraction of a patch", "patch", pooled=True),
}
DEFECT_COLUMNS = ("patch", "category", "whole", "major", "minor", "angle", "area", "nearest_neighbour", "overlap_share")


@dataclass(frozen=True, eq=False)
class MaskFeatures:
    """The measured quantities of a set of patches, lengths in px.

    By patch: `scene` (str) and `nm_per_px` (nan where unknown), both (patches,),
    and `count` and `area_fraction`, (patches, classes + 1), the last column that
    of all classes together. By defect, in `defects`: `DEFECT_COLUMNS`, float
    (defects,); `patch` and `category` are numbers, `whole` is 1 for a defect
    that no edge of its patch cuts, centres are those of what the patch shows.
    """

    classes: tuple[str, ...]
    shape: tuple[int, int]
    scene: np.ndarray
    nm_per_px: np.ndarray
    count: np.ndarray
    area_fraction: np.ndarray
    defects: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.scene)


def measure_masks(
    patches: Iterable[Micrograph], classes: Sequence[str], name: str = "patches", progress: bool = True
) -> MaskFeatures:
    """Measures patches of one size; defects of no listed class and those marked `ignore` are left out.

    A patch without a scene is a scene of its own micrograph. Raises TemDataError
    where there is no patch, or where patches differ in size.
    """
    rows, shapes, scenes, scales, counts, fractions = [], set(), [], [], [], []
    for number, patch in enumerate(tqdm(patches, f"measure {name}", unit="patch", leave=False, disable=not progress)):
        shapes.add(patch.shape)
        if len(shapes) > 1:
            (h, w), (height, width) = sorted(shapes)
            raise TemDataError(
                f"{name}: patches of {w}×{h} and of {width}×{height} px; expected one size: cut tiles of one first"
            )
        defects = [d for d in patch.defects if d.category in classes and not d.ignore]
        category = np.array([classes.index(d.category) for d in defects], int)
        overlaps, covered = _cover(defects, category, patch.shape, len(classes))
        rows += _defect_rows(number, defects, category, overlaps, patch.shape)
        scenes.append(patch.scene_name)
        scales.append(patch.nm_per_px or np.nan)
        counts.append([*np.bincount(category, minlength=len(classes)), len(defects)])
        fractions.append(covered)
    if not scenes:
        raise TemDataError(f"{name}: no patches; expected a set of labelled patches")
    columns = np.array(rows, float).reshape(-1, len(DEFECT_COLUMNS)).T
    return MaskFeatures(
        tuple(classes),
        shapes.pop(),
        np.array(scenes),
        np.array(scales, float),
        np.array(counts, float),
        np.array(fractions, float),
        dict(zip(DEFECT_COLUMNS, columns, strict=True)),
    )


def _cover(
    defects: Sequence[Defect], category: np.ndarray, shape: tuple[int, int], classes: int
) -> tuple[list[bool], list[float]]:
    """Which defects share a pixel with another, and the part of the patch that each class, and all, cover."""
    layers, covered = np.zeros(shape, np.uint16), [0.0] * (classes + 1)
    if not defects:
        return [], covered
    windows = [np.s_[d.y : d.y + d.mask.shape[0], d.x : d.x + d.mask.shape[1]] for d in defects]
    for k in np.unique(category):
        own = np.zeros(shape, bool)
        for i in np.flatnonzero(category == k).tolist():
            own[windows[i]] |= defects[i].mask
            layers[windows[i]] += defects[i].mask
        covered[k] = float(own.mean())
    covered[-1] = float((layers > 0).mean())
    return [bool((layers[w][d.mask] > 1).any()) for w, d in zip(windows, defects, strict=True)], covered


def _defect_rows(
    patch: int, defects: Sequence[Defect], category: np.ndarray, overlaps: Sequence[bool], shape: tuple[int, int]
) -> list[tuple]:
    ellipses = [ellipse_of(d) for d in defects]
    nearest = np.full(len(defects), np.nan)
    if len(defects) > 1:
        centres = np.array([(e.x, e.y) for e in ellipses])
        nearest = KDTree(centres).query(centres, 2)[0][:, 1]
    return [
        (patch, k, not touches_edge(d, shape), e.major, e.minor, e.angle_deg, d.area, near, overlap)
        for d, e, k, near, overlap in zip(defects, ellipses, category, nearest, overlaps, strict=True)
    ]


def common_unit(sets: Sequence[MaskFeatures]) -> str:
    """`nm` where every set has a calibrated patch (its others are left out of lengths), else `px`."""
    return "nm" if all(np.isfinite(s.nm_per_px).any() for s in sets) else "px"


class Sample(NamedTuple):
    """The values of one quantity and the patch of each, (n,)."""

    values: np.ndarray
    patch: np.ndarray


def sample(features: MaskFeatures, category: str, quantity: str, unit: str) -> Sample:
    """The values of one of `QUANTITIES` for a class or `ALL`, lengths in `unit` (`nm` or `px`).

    Shapes are those of whole defects, angles of those with minor/major under
    `ROUND`; a neighbour may be of any class, and a defect without one has no
    value; nor has the share of a class in a patch without defects.
    """
    kind = QUANTITIES[quantity]
    k = len(features.classes) if category == ALL else features.classes.index(category)
    if kind.of == "patch":
        values, patch = _of_patches(features, quantity, k), np.arange(len(features))
    else:
        own = features.defects["category"] == k if category != ALL else np.ones(features.defects["patch"].size, bool)
        if kind.of == "shape":
            own &= features.defects["whole"] == 1
        columns = {name: values[own] for name, values in features.defects.items()}
        patch = columns["patch"].astype(int)
        values = _of_defects(columns, quantity)
        if kind.power and unit == "nm":
            values = values * features.nm_per_px[patch] ** kind.power
    known = np.isfinite(values)
    return Sample(values[known], patch[known])


def _of_patches(features: MaskFeatures, quantity: str, k: int) -> np.ndarray:
    if quantity == "class_share":
        counts = features.count
        return np.divide(counts[:, k], counts[:, -1], out=np.full(len(features), np.nan), where=counts[:, -1] > 0)
    return getattr(features, quantity)[:, k]


def _of_defects(columns: dict[str, np.ndarray], quantity: str) -> np.ndarray:
    aspect = columns["minor"] / columns["major"]
    if quantity == "angle":
        return np.where(aspect < ROUND, columns["angle"], np.nan)
    return aspect if quantity == "aspect" else columns[quantity]


def join(first: MaskFeatures, second: MaskFeatures) -> MaskFeatures:
    """Both sets as one; they must be of the same classes."""
    shifted = second.defects | {"patch": second.defects["patch"] + len(first)}
    both = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("scene", "nm_per_px", "count", "area_fraction")
    }
    defects = {name: np.concatenate([first.defects[name], shifted[name]]) for name in DEFECT_COLUMNS}
    return MaskFeatures(first.classes, first.shape, defects=defects, **both)
