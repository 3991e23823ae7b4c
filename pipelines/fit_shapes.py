"""Fit shapes and densities on the whole training micrographs of a split."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.places import MICROGRAPHS, SPLIT_TABLE, Cell
from tem_data.masks.settings import ShapeSettings
from tem_data.masks.steps import fit_dataset
from tem_data.splits.table import members, read_splits


def main(cell: Cell, settings: ShapeSettings) -> None:
    training = members(read_splits(SPLIT_TABLE), cell.split, cell.size)["train"]
    fit_dataset(MICROGRAPHS, cell.data / "shapes.json", settings, training)


if __name__ == "__main__":
    stage(main)
