"""The step from a data set of micrographs to a table of splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tem_data.core.files import write_table
from tem_data.core.schema import read_dataset
from tem_data.splits.scenes import leaking_pairs
from tem_data.splits.schemes import SplitSettings, describe_splits, make_splits
from tem_data.splits.table import cut_scenes, numbers_of_splits, random_image_split


def split_dataset(dataset: str | os.PathLike, out: str | os.PathLike, settings: SplitSettings) -> list[dict[str, str]]:
    """Write the split table of a data set to `out`, and return its rows. Raises TemDataError as `make_splits` does."""
    rows = make_splits(settings, read_dataset(dataset))
    write_table(out, rows, list(dict.fromkeys(column for row in rows for column in row)))
    for line in describe_splits(rows):
        print(line)
    print(f"{out}: {len(rows)} micrographs of {len({row['scene'] for row in rows})} scenes")
    return rows


def leaks(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """How many test micrographs share a scene with training: in our splits, and in two by single images as in [P26].

    These have as many test micrographs as our first split.
    """
    splits = numbers_of_splits(rows)
    report = {f"split{k}": {"scenes_cut": len(cut_scenes(rows, k))} for k in splits}
    scene = {row["micrograph_id"]: row["scene"] for row in rows}
    test = sum(row.get(f"split{splits[0]}_role") == "test" for row in rows)
    for seed in (1, 2):
        pairs = leaking_pairs(random_image_split(list(scene), test, seed), scene)
        report[f"by_single_images_{seed}"] = {
            "leaking_pairs": len(pairs),
            "test_micrographs_seen": len({tested for tested, _ in pairs}),
            "test_micrographs": test,
        }
    return report
