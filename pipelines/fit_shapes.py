"""Fit shapes and densities on the whole training micrographs of a split."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.files import read_table
from tem_data.importing import classes_of
from tem_data.places import MICROGRAPHS, SPLITS, Cell
from tem_data.schema import read_dataset
from tem_data.shapes import describe_shapes, fit_shapes, save_shapes
from tem_data.splits import members


def main() -> None:
    args, params = parse_cell("split", "size"), read_params()
    training = set(members(read_table(SPLITS), args.split, args.size)["train"])
    micrographs = (m for m in read_dataset(MICROGRAPHS) if m.micrograph_id in training)
    shapes = fit_shapes(micrographs, classes_of(params).names, **params["shapes"])
    save_shapes(shapes, Cell(args.split, args.size).data / "shapes.json")
    print("\n".join(describe_shapes(shapes)))


if __name__ == "__main__":
    stage(main)
