"""The steps from micrographs to fitted shapes, and from shapes to masks."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from typing import cast

from tem_data.core.errors import SettingError
from tem_data.core.schema import Classes, count_rows, read_classes, read_dataset, write_dataset
from tem_data.masks.sampler import MaskSampler
from tem_data.masks.settings import MaskSettings, ShapeSettings
from tem_data.masks.shapes import describe_shapes, fit_shapes, load_shapes, save_shapes
from tem_data.patches.cutting import ignore_slivers

Path = str | os.PathLike


def fit_dataset(dataset: Path, out: Path, settings: ShapeSettings, micrographs: Collection[str] | None = None) -> None:
    """Fit shapes on the micrographs of a data set, or on those that are named, and write them to the file `out`."""
    chosen = (m for m in read_dataset(dataset) if micrographs is None or m.micrograph_id in micrographs)
    shapes = fit_shapes(chosen, read_classes(dataset).names, settings.min_ellipse_iou)
    save_shapes(shapes, out)
    for line in describe_shapes(shapes):
        print(line)
    print(f"{out}: {len(shapes.fields)} micrographs, lengths in {shapes.unit}")


def sample_dataset(
    shapes: Path, out: Path, settings: MaskSettings, min_area_px: int, seed: int, patches: Path | None = None
) -> None:
    """Draw masks from fitted shapes and write them to `out`, of the size and with the classes of `patches` if given.

    What an edge leaves of a defect below `min_area_px` is ignored. Raises
    SettingError where neither `count` nor `patches` says how many, and for
    settings that the shapes cannot meet.
    """
    fitted = load_shapes(shapes)
    if settings.count is None and patches is None:
        raise SettingError("masks", "count", "missing; say how many masks, or name the patches to draw them for")
    if patches is not None and settings.size_px is None:
        settings = replace(settings, size_px=next(iter(read_dataset(patches, "train"))).shape[0])
    sampler = MaskSampler(fitted, settings)
    count = settings.count or round(settings.per_patch * count_rows(cast(Path, patches), "train"))
    masks = (ignore_slivers(mask, min_area_px) for mask in sampler.masks(seed, 0, count))
    classes = Classes(sampler.classes) if patches is None else read_classes(patches)
    write_dataset(out, {"train": masks}, classes, "Simulated masks (SIM).")
    print(f"{out}: {count} masks of {sampler.side_px} px")
