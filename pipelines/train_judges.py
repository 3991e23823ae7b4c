"""Train the judges of mask adherence: Mask R-CNNs on all training micrographs but those of a fold."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.places import Cell
from tem_data.detection.settings import DetectorSettings
from tem_data.judges.settings import JudgeSettings
from tem_data.judges.steps import train_judges_on


def main(cell: Cell, judges: JudgeSettings, detector: DetectorSettings) -> None:
    train_judges_on(cell.data / "patches", cell.data / "judges", judges, detector, cell.seed)


if __name__ == "__main__":
    stage(main)
