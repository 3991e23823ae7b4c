"""Split the micrographs by whole scenes, and say how splits by single images would leak."""

from __future__ import annotations

from collections import Counter

from pipelines.common import MICROGRAPHS, RESULTS, SPLITS, read_params, stage
from tem_data.files import read_table, write_json, write_table
from tem_data.scenes import leaking_pairs
from tem_data.schema import read_dataset
from tem_data.splits import cut_scenes, given_splits, random_image_split, random_splits


def main() -> None:
    settings = read_params()["split"]
    scene = {m.micrograph_id: m.scene for m in read_dataset(MICROGRAPHS)}
    if settings["table"]:
        rows = given_splits(read_table(settings["table"]), scene, settings["table"])
    else:
        rows = random_splits(scene, settings["count"], settings["test"], settings["validation"], settings["seed"])
    columns = list(dict.fromkeys(column for row in rows for column in row))
    write_table(SPLITS, rows, columns)

    splits = sum(column.endswith("_role") for column in columns)
    for k in range(1, splits + 1):
        print(f"split {k}: {dict(Counter(row.get(f'split{k}_role', '') or 'left out' for row in rows))}")
    write_json(RESULTS / "leaks.json", leaks(scene, rows, splits, settings["test"]))


def leaks(scene: dict[str, str], rows: list[dict[str, str]], splits: int, test: int) -> dict:
    """How many test micrographs share a scene with training: in our splits, and in two by single images as in [P26]."""
    report = {f"split{k}": {"scenes_cut": len(cut_scenes(rows, k))} for k in range(1, splits + 1)}
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
