"""Find the defects on the validation and test tiles, at every confidence."""

from __future__ import annotations

from tem_data.detection.steps import predict_tiles

from pipelines.common import stage
from tem_data.core.places import Cell


def main(cell: Cell, arm: str) -> None:
    predict_tiles(cell.folder / arm, cell.data / "patches", cell.folder / "found" / arm, ("validation", "test"))


if __name__ == "__main__":
    stage(main)
