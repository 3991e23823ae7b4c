"""The step from micrographs to a folder of numbers, outlines and pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from tem_data.analysis.inputs import Shot, find_shots
from tem_data.analysis.job import Job
from tem_data.analysis.measuring import numbers_by_class
from tem_data.analysis.records import Records, field_in, records_of
from tem_data.analysis.report import Run, entries_of, write_page
from tem_data.analysis.saving import Folder
from tem_data.analysis.searching import search
from tem_data.analysis.settings import AnalysisSettings
from tem_data.analysis.summary import facts_of, summary_of
from tem_data.analysis.tables import write_defects, write_found, write_micrographs, write_quarantine
from tem_data.analysis.words import counted, duration
from tem_data.core.errors import TemDataError
from tem_data.core.files import write_json
from tem_data.core.schema import Classes
from tem_data.importing.quarantine import Quarantine
from tem_data.materials.hardening import Materials
from tem_data.trust.columns import write_candidates
from tem_data.trust.micrograph import Trust

if TYPE_CHECKING:
    from tem_data.detection import Detector

LONG = 100  # tiles, from which on a micrograph has a bar of its own


@dataclass(frozen=True)
class Planned:
    """A micrograph and the number of tiles that it is searched by."""

    shot: Shot
    tiles: int


def analyse(
    detector: Detector,
    paths: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    settings: AnalysisSettings,
    materials: Materials,
    model: str,
) -> dict[str, Any]:
    """Find and measure the defects on micrographs, one after the other, and write what was found to the folder `out`.

    What cannot be read is set aside in `quarantine.csv`. A run that was killed
    goes on when it is called again in the same way. `model` is what the results
    call the detector. Returns the content of `summary.json`. Raises TemDataError
    where no micrograph can be read, `out` holds something else, and as
    `find_shots` does.
    """
    trust = Trust.of_detector(detector, settings.threshold)
    job = Job(detector, trust, settings, materials, model, Quarantine())
    planned = _planned(job, find_shots(paths, settings, job.quarantine))
    if not planned:
        raise TemDataError(_none_left(job.quarantine))
    folder = Folder(Path(out), settings.save, Classes(detector.classes), model)
    shots = [one.shot for one in planned]
    with records_of(folder.path, detector, shots, settings, materials) as records:
        _announce(job, planned, records)
        _search_all(job, planned, folder, records)
        done = [shot for shot in shots if records.has(shot)]
        if not done:
            shutil.rmtree(folder.path)
            shutil.rmtree(records.folder.parent)
            raise TemDataError(_none_left(job.quarantine))
        return _write_all(job, done, folder, records)


def _planned(job: Job, shots: Sequence[Shot]) -> list[Planned]:
    planned = []
    for shot in shots:
        try:
            tiles = job.detector.plan(shot.shape, shot.calibration.nm_per_px).tiles
            planned.append(Planned(shot, tiles))
        except TemDataError as error:
            job.quarantine.add(shot.file_name, "", "scale out of range", "set aside", str(error))
    return planned


def _none_left(quarantine: Quarantine) -> str:
    rows = [row for row in quarantine.rows if row["action"] == "set aside"]
    shown = "; ".join(f"{row['file']}: {row['detail']}" for row in rows[:3])
    return f"none of {counted(len(rows), 'image')} can be searched ({shown}{'; …' * (len(rows) > 3)}); give others"


def _announce(job: Job, planned: Sequence[Planned], records: Records) -> None:
    """Say what is to be done before it begins."""
    done = sum(records.has(one.shot) for one in planned)
    tiles = sum(one.tiles for one in planned)
    before = f"; {done} of them were done before" if done else ""
    print(f"{counted(len(planned), 'micrograph')} in about {counted(tiles, 'tile')}{before}")
    print(f"threshold {job.threshold:g}: {job.origin_of_threshold}")
    unknown = [one.shot.file_name for one in planned if one.shot.calibration.nm_per_px is None]
    if unknown:
        names = f"{unknown[0]}{', …' * (len(unknown) > 1)}"
        remedy = "give --calibration or --nm-per-px for sizes in nm and densities"
        print(f"{counted(len(unknown), 'micrograph')} without a known scale ({names}): {remedy}")


def _search_all(job: Job, planned: Sequence[Planned], folder: Folder, records: Records) -> None:
    """Search the micrographs that have no record yet, and write the files and the record of each."""
    left = [one for one in planned if not records.has(one.shot)]
    with tqdm(total=sum(one.tiles for one in left), unit="tile", disable=not left) as bar:
        for number, one in enumerate(left, 1):
            bar.set_description(f"micrograph {number} of {len(left)}")
            _search_one(job, one, folder, records)
            bar.update(one.tiles)
            if number == 1 and len(left) > 1:
                seconds = bar.format_dict["elapsed"] * (bar.total - bar.n) / bar.n
                bar.write(f"about {duration(seconds)} for the other {len(left) - 1}")


def _search_one(job: Job, one: Planned, folder: Folder, records: Records) -> None:
    try:
        found = search(job, one.shot, progress=one.tiles >= LONG)
    except (OSError, ValueError) as error:
        job.quarantine.add(one.shot.file_name, "", "unreadable image", "set aside", str(error))
        return
    folder.save(found)
    records.write(found, folder, job.materials)


def _write_all(job: Job, shots: Sequence[Shot], folder: Folder, records: Records) -> dict[str, Any]:
    """The files of all micrographs together."""
    out = folder.path

    def each() -> Iterator[dict[str, Any]]:
        return map(records.read, shots)

    write_defects(out / "defects.csv", each())
    write_micrographs(out / "micrographs.csv", each())
    write_quarantine(out / "quarantine.csv", job.quarantine.rows)
    if "coco" in folder.kinds:
        write_found(out / "found.json", each())
    write_candidates(out, job.model, job.trust, (record["candidate"] for record in each()))
    fields = [field_in(shot, record) for shot, record in zip(shots, each(), strict=True)]
    by_class = numbers_by_class(fields, folder.classes.names, job.materials)
    entries = entries_of(shots, each(), map(records.thumbnail, shots))
    summary = summary_of(job, entries, by_class)
    run = Run(
        fields, by_class, folder.classes.names, facts_of(job, summary), job.quarantine.rows, "overlays" in folder.kinds
    )
    write_page(out / "report.html", entries, run)
    write_json(out / "summary.json", summary)
    return summary
