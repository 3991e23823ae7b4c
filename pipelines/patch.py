"""Cut the micrographs of a split into patches: windows in eight symmetries for training, tiles for the rest."""

from __future__ import annotations

from pipelines.common import MICROGRAPHS, SPLITS, Cell, classes_in_force, parse_cell, read_params, stage
from tem_data.files import read_table, write_json
from tem_data.micrograph import count_by_class
from tem_data.patches import tiles, training_patches
from tem_data.schema import read_dataset, write_dataset
from tem_data.splits import members


def main() -> None:
    args = parse_cell("split", "size")
    cell, params = Cell(args.split, args.size), read_params()
    settings = params["patch"]
    by_id = {m.micrograph_id: m for m in read_dataset(MICROGRAPHS)}
    roles = {
        role: [by_id[m] for m in ids] for role, ids in members(read_table(SPLITS), args.split, args.size).items()
    }
    size, least = settings["size"], settings["min_area_px"]
    patches = {
        "train": list(
            training_patches(roles["train"], size, settings["stride"], settings["count"], cell.seed, least)
        ),
        "validation": list(tiles(roles["validation"], size, least)),
        "test": list(tiles(roles["test"], size, least)),
    }
    title = f"Patches of {size} px: split {args.split}, {args.size} training and validation micrographs."
    write_dataset(cell.data / "patches", patches, classes_in_force(params), title)
    report = {
        role: {
            "micrographs": len(roles[role]),
            "patches": len(patches[role]),
            "defects": count_by_class(patches[role]),
        }
        for role in patches
    }
    write_json(cell.data_results / "patches.json", report)
    print("\n".join(f"{role}: {counts}" for role, counts in report.items()))


if __name__ == "__main__":
    stage(main)
