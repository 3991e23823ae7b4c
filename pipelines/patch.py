"""Cut the micrographs of a split into patches: windows in eight symmetries for training, tiles for the rest."""

from __future__ import annotations

from pipelines.common import MICROGRAPHS, SPLITS, Cell, classes_in_force, parse_cell, read_params, stage
from tem_data.files import read_table, write_json
from tem_data.micrograph import count_by_class
from tem_data.patches import cut_roles
from tem_data.schema import read_dataset, write_dataset
from tem_data.splits import members


def main() -> None:
    args = parse_cell("split", "size")
    cell, params = Cell(args.split, args.size), read_params()
    settings = params["patch"]
    by_role = members(read_table(SPLITS), args.split, args.size)
    patches = cut_roles(read_dataset(MICROGRAPHS), by_role, seed=cell.seed, **settings)
    title = f"Patches of {settings['size']} px: split {args.split}, {args.size} training and validation micrographs."
    write_dataset(cell.data / "patches", patches, classes_in_force(params), title)
    report = {
        role: {
            "micrographs": len(by_role[role]),
            "patches": len(patches[role]),
            "defects": count_by_class(patches[role]),
        }
        for role in patches
    }
    write_json(cell.data_results / "patches.json", report)
    print("\n".join(f"{role}: {counts}" for role, counts in report.items()))


if __name__ == "__main__":
    stage(main)
