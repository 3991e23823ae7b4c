"""Cut the micrographs of a split into patches: windows in eight symmetries for training, tiles for the rest."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.coco.writing import coco_truth
from tem_data.core.files import read_table, write_json
from tem_data.core.micrograph import count_by_class
from tem_data.core.places import MICROGRAPHS, SPLIT_TABLE, Cell
from tem_data.core.schema import read_dataset, write_dataset
from tem_data.importing.micrographs import classes_of
from tem_data.patches.cutting import cut_roles
from tem_data.splits.table import members


def main() -> None:
    args = parse_cell("split", "size")
    cell, params = Cell(args.split, args.size), read_params()
    settings = params["patch"]
    by_role = members(read_table(SPLIT_TABLE), args.split, args.size)
    micrographs = {m.micrograph_id: m for m in read_dataset(MICROGRAPHS)}
    patches = cut_roles(micrographs.values(), by_role, seed=cell.seed, **settings)
    title = f"Patches of {settings['size']} px: split {args.split}, {args.size} training and validation micrographs."
    classes = classes_of(params)
    write_dataset(cell.data / "patches", patches, classes, title)
    write_json(cell.data / "truth.json", coco_truth(patches["test"], classes))
    report = {
        role: {
            "micrographs": len(by_role[role]),
            "patches": len(patches[role]),
            "labelled": count_by_class(micrographs[name] for name in by_role[role]),
            "defects": count_by_class(patches[role]),
        }
        for role in patches
    }
    write_json(cell.data_results / "patches.json", report)
    print("\n".join(f"{role}: {counts}" for role, counts in report.items()))


if __name__ == "__main__":
    stage(main)
