"""Fit shapes and densities on the whole training micrographs of a split."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.places import MICROGRAPHS, SPLIT_TABLE, Cell
from tem_data.core.schema import read_dataset
from tem_data.importing.micrographs import classes_of
from tem_data.masks.shapes import describe_shapes, fit_shapes, save_shapes
from tem_data.splits.table import members, read_splits


def main() -> None:
    args, params = parse_cell("split", "size"), read_params()
    training = set(members(read_splits(SPLIT_TABLE), args.split, args.size)["train"])
    micrographs = (m for m in read_dataset(MICROGRAPHS) if m.micrograph_id in training)
    shapes = fit_shapes(micrographs, classes_of(params).names, **params["shapes"])
    save_shapes(shapes, Cell(args.split, args.size).data / "shapes.json")
    print("\n".join(describe_shapes(shapes)))


if __name__ == "__main__":
    stage(main)
