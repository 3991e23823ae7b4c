"""Patches: windows of micrographs and their eight symmetries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.micrograph import Micrograph, crop, symmetric, touches_edge

SYMMETRIES = 8


def cut_roles(
    micrographs: Iterable[Micrograph],
    by_role: Mapping[str, Sequence[str]],
    size: int,
    stride: int,
    count: int,
    seed: int,
    min_area_px: int = 0,
) -> dict[str, list[Micrograph]]:
    """The patches of a split: `training_patches` for role `train`, `tiles` for the other roles.

    `by_role` gives each role its micrograph ids, as `splits.members` does.
    Raises TemDataError where one of them is not among the micrographs.
    """
    by_id = {m.micrograph_id: m for m in micrographs}
    missing = sorted({m for ids in by_role.values() for m in ids} - set(by_id))
    if missing:
        raise TemDataError(f"the split table names {missing}, which the dataset does not hold; split it again")
    roles = {role: [by_id[m] for m in ids] for role, ids in by_role.items()}
    training = training_patches(roles.pop("train"), size, stride, count, seed, min_area_px)
    return {"train": list(training)} | {role: list(tiles(ms, size, min_area_px)) for role, ms in roles.items()}


def training_patches(
    micrographs: Sequence[Micrograph], size: int, stride: int, count: int, seed: int, min_area_px: int = 0
) -> Iterator[Micrograph]:
    """At most `count` patches of `size` px, drawn without replacement from all windows in all eight symmetries.

    Windows lie `stride` px apart; the last of a row or column ends at the edge
    of the micrograph. [P26] section 2.3: sliding window, rotations and flips,
    the same number of patches whatever the number of micrographs. Patches come
    in the order of their micrographs. `min_area_px` as in `ignore_slivers`.
    """
    windows = [
        (m, x, y, s)
        for m, micrograph in enumerate(micrographs)
        for y in _starts(micrograph, 0, size, stride)
        for x in _starts(micrograph, 1, size, stride)
        for s in range(SYMMETRIES)
    ]
    drawn = np.random.default_rng(seed).permutation(len(windows))[:count]
    for m, x, y, symmetry in (windows[i] for i in sorted(drawn)):
        yield symmetric(_cut(micrographs[m], x, y, size, min_area_px), symmetry)


def tiles(micrographs: Iterable[Micrograph], size: int, min_area_px: int = 0) -> Iterator[Micrograph]:
    """The micrographs cut into tiles of `size` px that do not overlap, as validation and test are.

    A rest at the right and lower edge that fills no tile is left out.
    `min_area_px` as in `ignore_slivers`.
    """
    for micrograph in micrographs:
        _check(micrograph, size)
        for y in range(0, micrograph.shape[0] - size + 1, size):
            for x in range(0, micrograph.shape[1] - size + 1, size):
                yield _cut(micrograph, x, y, size, min_area_px)


def _starts(micrograph: Micrograph, axis: int, size: int, stride: int) -> list[int]:
    _check(micrograph, size)
    last = micrograph.shape[axis] - size
    return sorted({*range(0, last, stride), last})


def _check(micrograph: Micrograph, size: int) -> None:
    if min(micrograph.shape) < size:
        height, width = micrograph.shape
        problem = f"{micrograph.micrograph_id} is {width}×{height} px, smaller than a patch of {size} px; lower it"
        raise SettingError("patch", "size", problem)


def ignore_slivers(patch: Micrograph, min_area_px: int) -> Micrograph:
    """The patch, in which what its edge leaves of a defect with less than `min_area_px` px² is marked `ignore`."""
    return replace(
        patch,
        defects=tuple(
            replace(d, ignore=True) if d.area < min_area_px and touches_edge(d, patch.shape) else d
            for d in patch.defects
        ),
    )


def _cut(micrograph: Micrograph, x: int, y: int, size: int, min_area_px: int) -> Micrograph:
    return ignore_slivers(crop(micrograph, x, y, (size, size)), min_area_px)
