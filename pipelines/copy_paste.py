"""Paste experimental defects onto experimental patches: the control that generated pairs are measured against."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.places import Cell
from tem_data.core.schema import read_dataset, write_dataset
from tem_data.importing.micrographs import classes_of
from tem_data.patches.copy_paste import copy_paste_patches


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    patches = list(read_dataset(cell.data / "patches", "train"))
    count = round(params["copy_paste"]["per_patch"] * len(patches))
    pasted = copy_paste_patches(patches, count, cell.seed)
    write_dataset(cell.folder / "pairs" / "exp_copypaste", {"train": pasted}, classes_of(params), "Copy-paste pairs.")


if __name__ == "__main__":
    stage(main)
