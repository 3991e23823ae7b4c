"""What a run has done so far, a file for each micrograph, from which it goes on after it was killed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_data.analysis.inputs import Shot
from tem_data.analysis.measuring import defect_rows, field_of, micrograph_rows
from tem_data.analysis.saving import Folder
from tem_data.analysis.searching import Found
from tem_data.analysis.settings import AnalysisSettings
from tem_data.core.errors import TemDataError
from tem_data.core.files import PACKAGE, atomic_write, fingerprint, locked, read_json
from tem_data.materials.hardening import Materials
from tem_data.materials.quantities import Field, Measured
from tem_data.trust.columns import candidate_of

if TYPE_CHECKING:
    from tem_data.detection import Detector


class Records:
    """The records of a run in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, shot: Shot) -> bool:
        """Whether a micrograph was done, and its file is as it was."""
        return self._path(shot).exists()

    def write(self, found: Found, folder: Folder, materials: Materials) -> None:
        """Keep what the files of all micrographs are made of, and a thumbnail."""
        field = field_of(found, materials)
        record = {
            "micrograph": micrograph_rows(found, field, folder.classes.names, materials),
            "defects": defect_rows(found, field),
            "measured": [list(defect) for defect in field.predictions],
            "area_px": field.area_px,
            "coco": folder.coco(found),
            "candidate": candidate_of(found.shot.file_name, found.trust),
        }
        folder.thumbnail(found, self.thumbnail(found.shot))
        with atomic_write(self._path(found.shot)) as draft:
            draft.write_text(json.dumps(record, allow_nan=False))

    def read(self, shot: Shot) -> dict[str, Any]:
        return read_json(self._path(shot))

    def thumbnail(self, shot: Shot) -> Path:
        return self._path(shot).with_suffix(".jpg")

    def _path(self, shot: Shot) -> Path:
        state = shot.path.stat()
        identity = [*map(str, shot), str(shot.path.resolve()), state.st_size, state.st_mtime_ns]
        return self.folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]}.json"


def field_in(shot: Shot, record: dict[str, Any]) -> Field:
    """The defects of a record as the materials quantities are made of them."""
    known = shot.calibration
    defects = [Measured(*values) for values in record["measured"]]
    return Field(shot.file_name, known.nm_per_px, known.thickness_nm, record["area_px"], [], defects, [])


@contextmanager
def records_of(
    out: Path, detector: Detector, shots: Sequence[Shot], settings: AnalysisSettings, materials: Materials
) -> Iterator[Records]:
    """The records of the run that writes `out`: of an earlier one of the same model, micrographs and settings, if it
    was killed.

    They lie in `.{out}.work` and go when it is done. `out` is locked meanwhile. Raises TemDataError where it holds
    anything else.
    """
    work = out.with_name(f".{out.name}.work")
    with locked(out):
        folder = work / _identity(detector, shots, settings, materials)
        if out.is_dir() and any(out.iterdir()) and not folder.is_dir():
            raise TemDataError(_refusal(out, work.is_dir()))
        if not folder.is_dir():
            shutil.rmtree(work, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        out.mkdir(parents=True, exist_ok=True)
        yield Records(folder)
        shutil.rmtree(work)


def _refusal(out: Path, begun: bool) -> str:
    if begun:
        return (
            f"--out {out}: holds an unfinished run with another model, other micrographs or settings; give the command "
            "that began it to go on, remove the folder, or give another name"
        )
    return f"--out {out}: the folder is there already; remove it, or give another name"


def _identity(detector: Detector, shots: Sequence[Shot], settings: AnalysisSettings, materials: Materials) -> str:
    """A hash of all that decides the results but what the micrographs show, which `Records` looks at."""
    weights = hashlib.sha256()
    for tensor in detector.model.state_dict().values():
        weights.update(tensor.cpu().numpy().tobytes())
    names = [(str(shot.path.resolve()), shot.name) for shot in shots]
    chosen = [settings.threshold, settings.data_bar, list(settings.save), asdict(materials), names]
    scores = detector.scores and asdict(detector.scores)
    known = [asdict(detector.about), scores, detector.threshold, weights.hexdigest()]
    return fingerprint([chosen, known], *sorted(PACKAGE.rglob("*.py")))
