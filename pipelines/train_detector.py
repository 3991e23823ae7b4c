"""Train a Mask R-CNN: on experimental patches (arm exp), or on these and the pairs of another arm."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import is_main_process, write_table
from tem_data.core.places import Cell
from tem_data.detection.settings import DetectorSettings
from tem_data.detection.steps import train_detector_on


def main(cell: Cell, arm: str, settings: DetectorSettings) -> None:
    pairs = None if arm == "exp" else cell.folder / "pairs" / arm
    history = train_detector_on(cell.data / "patches", cell.folder / arm, settings, cell.seed, pairs)
    if is_main_process():
        write_table(cell.results / arm / "loss.csv", history, list(history[0]))


if __name__ == "__main__":
    stage(main)
