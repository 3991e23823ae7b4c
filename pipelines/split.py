"""Split the micrographs by whole scenes, and say how splits by single images would leak."""

from __future__ import annotations

from pipelines.common import read_params, stage
from tem_data.core.files import write_json, write_table
from tem_data.core.places import MICROGRAPHS, RESULTS, SPLIT_TABLE
from tem_data.core.schema import read_dataset
from tem_data.core.settings import read_settings
from tem_data.splits.scenes import leaking_pairs
from tem_data.splits.schemes import SplitSettings, describe_splits, make_splits
from tem_data.splits.table import cut_scenes, numbers_of_splits, random_image_split


def main() -> None:
    section = read_params()["split"]
    settings = {key: value for key, value in section.items() if key != "watch"}
    rows = make_splits(read_settings(SplitSettings, settings, "split"), read_dataset(MICROGRAPHS))
    write_table(SPLIT_TABLE, rows, list(dict.fromkeys(column for row in rows for column in row)))
    for line in describe_splits(rows):
        print(line)
    write_json(RESULTS / "leaks.json", leaks(rows))


def leaks(rows: list[dict[str, str]]) -> dict:
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


if __name__ == "__main__":
    stage(main)
