"""The study: what all runs of all arms gave, in one table, with tests, intervals, figures and a report."""

from __future__ import annotations

from pathlib import Path

from pipelines.common import stage
from tem_data.core.places import MICROGRAPHS, RESULTS
from tem_data.core.schema import read_dataset
from tem_data.study.arms import StudySettings
from tem_data.study.report import write_study


def main(settings: StudySettings, profile: str) -> None:
    simulated = next(iter(read_dataset(MICROGRAPHS))).origin == "builtin"
    write_study(RESULTS, settings, RESULTS / "study", Path("runs/study.html"), profile, simulated)


if __name__ == "__main__":
    stage(main)
