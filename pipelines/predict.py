"""Find the defects on the validation and test tiles, at every confidence."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.places import Cell
from tem_data.detection.tiles import predict_tiles


def main(cell: Cell, arm: str) -> None:
    predict_tiles(cell.folder / arm, cell.data / "patches", cell.folder / "found" / arm, ("validation", "test"))


if __name__ == "__main__":
    stage(main)
