"""The steps from micrographs to patches, and from patches to pairs made by copy and paste."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from tem_data.core.micrograph import Micrograph, count_by_class
from tem_data.core.schema import count_rows, read_classes, read_dataset, read_rows, write_dataset
from tem_data.patches.copy_paste import copy_paste_patches
from tem_data.patches.cutting import cut_roles
from tem_data.patches.settings import CopyPasteSettings, PatchSettings
from tem_data.splits.table import members, read_splits

Path = str | os.PathLike


def cut_dataset(
    dataset: Path, splits: Path, out: Path, settings: PatchSettings, split: int, size: int | str, seed: int
) -> tuple[dict[str, list[Micrograph]], dict[str, Any]]:
    """Write the patches of a split at a training size to `out`; returns them by role, and their counts.

    Raises TemDataError as `members` and `cut_roles` do.
    """
    by_role = members(read_splits(splits), split, size)
    micrographs = {m.micrograph_id: m for m in read_dataset(dataset)}
    patches = cut_roles(micrographs.values(), by_role, seed=seed, **asdict(settings))
    title = f"Patches of {settings.size} px: split {split}, {size} training and validation micrographs."
    write_dataset(out, patches, read_classes(dataset), title)
    report = {
        role: {
            "micrographs": len(by_role[role]),
            "patches": len(patches[role]),
            "labelled": count_by_class(micrographs[name] for name in by_role[role]),
            "defects": count_by_class(patches[role]),
        }
        for role in patches
    }
    for role, counts in report.items():
        print(f"{role}: {counts}")
    print(f"{out}: " + ", ".join(f"{len(held)} {role}" for role, held in patches.items()))
    return patches, report


def copy_paste_dataset(patches: Path, out: Path, settings: CopyPasteSettings, seed: int) -> None:
    """Write training patches with defects of others pasted in to `out`."""
    count = settings.count or round(settings.per_patch * count_rows(patches, "train"))
    pasted = copy_paste_patches(read_rows(patches, "train"), count, seed)
    write_dataset(out, {"train": pasted}, read_classes(patches), "Copy-paste pairs.")
    print(f"{out}: {count} patches with pasted defects")
