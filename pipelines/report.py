"""The report of a run: all arms side by side, in figures and in one HTML file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from pipelines.common import stage
from tem_data.core.files import atomic_write
from tem_data.core.micrograph import Micrograph, class_mask
from tem_data.core.places import CARDS, IMPORT_SHEET, RESULTS, Cell
from tem_data.core.schema import read_dataset
from tem_data.core.settings import SettingsFile
from tem_data.figures import Shown, colour_mask, contact_sheet
from tem_data.reports.origin import Origin
from tem_data.reports.page import Link
from tem_data.study.arms import ARMS, StudySettings
from tem_data.study.run_report import RunReport, draw_run, read_run_report, write_run_report

SHEET_COLUMNS = 6
SHEET_STEP = 10


def main(cell: Cell, study: StudySettings) -> None:
    test = list(read_dataset(cell.data / "patches", "test"))
    origin = Origin(SettingsFile.open().content, simulated=test[0].origin == "builtin")
    title = f"Split {cell.split}, n = {cell.size}, run {cell.run}" + " (simulated micrographs)" * origin.simulated
    run = read_run_report(cell.results, cell.folder, study.arms, test, title)
    with atomic_write(cell.folder / "figures") as draft:
        draft.mkdir()
        write_run_report(run, cell.folder / "report.html", draft, draw_run(run, draft), origin, links(study))
        with atomic_write(RESULTS / "figures" / f"{cell.folder.name}.png") as picture:
            picture.write_bytes((draft / "thresholds.png").read_bytes())
    contact_sheet(cell.folder / "contact_sheet.png", sheet_rows(cell, study.arms, run), run.classes, title)


def links(study: StudySettings) -> list[Link]:
    return [
        Link("Study", "../study.html"),
        Link("Imported micrographs", f"../{IMPORT_SHEET.name}"),
        Link("Contact sheet", "contact_sheet.png"),
        *([Link("Card of the diffusion model", f"../../{CARDS}/ldm.md")] if study.models else []),
        Link("Card of the detectors", f"../../{CARDS}/detector.md"),
    ]


def sheet_rows(cell: Cell, arms: Sequence[str], run: RunReport) -> dict[str, Sequence[Shown]]:
    """Labelled patches, what each arm adds, and what it finds on test tiles: those with most defects."""
    labelled = _fullest(_every_tenth(cell.data / "patches"))
    rows: dict[str, Sequence[Shown]] = {"labelled": [(p.pixels, p.defects) for p in labelled]}
    for arm in arms:
        added = _fullest(_every_tenth(cell.folder / "pairs" / arm)) if arm != "exp" else []
        if added and added[0].origin == "gen":
            masks = [colour_mask(class_mask(p.defects, run.classes, p.shape), run.classes) for p in added]
            rows |= {"requested mask": [(m, ()) for m in masks], "generated": [(p.pixels, ()) for p in added]}
        elif added:
            rows["painted" if arm == "exp_paint" else "copied and pasted"] = [(p.pixels, p.defects) for p in added]
    tested = [run.tiles.index(tile) for tile in _fullest(run.tiles)]
    rows["test: truth"] = [(run.tiles[i].pixels, run.tiles[i].defects) for i in tested]
    for arm in arms:
        rows[f"test: {ARMS[arm]}"] = [(run.tiles[i].pixels, run.found[ARMS[arm]][i]) for i in tested]
    return rows


def _every_tenth(folder: Path) -> list[Micrograph]:
    return list(itertools.islice(read_dataset(folder, "train"), 0, None, SHEET_STEP))


def _fullest(patches: Sequence[Micrograph]) -> list[Micrograph]:
    chosen = sorted(range(len(patches)), key=lambda i: -len(patches[i].defects))[:SHEET_COLUMNS]
    return [patches[i] for i in sorted(chosen)]


if __name__ == "__main__":
    stage(main)
