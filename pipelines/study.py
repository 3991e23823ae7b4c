"""The study: what all runs of all arms gave, in one table, with tests, intervals, figures and a report."""

from __future__ import annotations

from pathlib import Path

from pipelines.common import stage
from tem_data.core.places import CARDS, IMPORT_SHEET, MICROGRAPHS, RESULTS
from tem_data.core.schema import read_dataset
from tem_data.core.settings import SettingsFile
from tem_data.reports.origin import Origin
from tem_data.reports.page import Link
from tem_data.study.arms import StudySettings
from tem_data.study.report import write_study

PAGE = Path("runs/study.html")
MOST_RUNS = 12
CARD_NAMES = {"dataset": "dataset", "ldm": "diffusion model", "detector": "detectors"}


def main(settings: StudySettings) -> None:
    simulated = next(iter(read_dataset(MICROGRAPHS))).origin == "builtin"
    origin = Origin(SettingsFile.open().content, simulated)
    write_study(RESULTS, settings, RESULTS / "study", PAGE, origin, links(settings))


def links(settings: StudySettings) -> list[Link]:
    runs = [Link(f"Run {run.folder.name}", f"{run.folder.name}/report.html") for run in settings.every_run]
    cards = [name for name in CARD_NAMES if name != "ldm" or settings.models]
    return [
        Link("Imported micrographs", IMPORT_SHEET.name),
        *(runs if len(runs) <= MOST_RUNS else ()),  # the table of runs links to all of them
        *(Link(f"Card of the {CARD_NAMES[name]}", f"../{CARDS}/{name}.md") for name in cards),
    ]


if __name__ == "__main__":
    stage(main)
