"""Find the defects on dropped micrographs once, and look at them at any threshold."""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np

from tem_data.analysis.inputs import Shot, find_shots
from tem_data.analysis.job import Job
from tem_data.analysis.measuring import defect_rows, field_of, micrograph_rows, numbers_by_class
from tem_data.analysis.searching import Found, search
from tem_data.analysis.settings import KINDS, AnalysisSettings
from tem_data.analysis.steps import analyse
from tem_data.app.session import held
from tem_data.core.errors import TemDataError
from tem_data.core.files import write_table
from tem_data.core.settings import PARAMS, SettingsFile, read_section
from tem_data.detection.detector import Detector, Prediction
from tem_data.detection.tiling import FAINT, OnTile, Wanted
from tem_data.images.units import NO_SIZE, is_plausible
from tem_data.importing.quarantine import Quarantine
from tem_data.materials.hardening import Materials
from tem_data.materials.quantities import Field
from tem_data.trust.micrograph import Trust

FLOOR = FAINT
Told = Callable[[int], None]
Tiles = dict[int, OnTile]


@dataclass(frozen=True, eq=False)
class Kept(Detector):
    """A detector that searches each micrograph once, down to a score of `FLOOR`, and keeps what each tile showed.

    So it gives at any threshold from `FLOOR` on what `own` would find. `chosen` are the classes that it gives,
    `told(n)` hears of each n tiles searched. It raises Stopped where `stop` is set.
    """

    own: Detector | None = None
    lock: Lock = field(default_factory=Lock)
    stop: Event = field(default_factory=Event)
    kept: dict[str, Tiles] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()
    told: Told = lambda tiles: None
    tiles: Tiles = field(default_factory=dict)
    places: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, own: Detector, lock: Lock, stop: Event) -> Kept:
        return cls(own.model, own.cfg, own.about, own.scores, own, lock, stop, {}, own.classes)

    def choosing(self, classes: Sequence[str]) -> Kept:
        """The same for some classes; what is known of the trust in all of them does not hold for these."""
        if self.scores is None or set(classes) == set(self.classes):
            return replace(self, chosen=tuple(classes))
        return replace(self, chosen=tuple(classes), scores=replace(self.scores, trust={}))

    def predict(
        self,
        image: np.ndarray,
        nm_per_px: float | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Prediction:
        key = hashlib.sha256(f"{image.shape} {nm_per_px}".encode() + image.tobytes()).hexdigest()
        one = replace(self, tiles=self.kept.setdefault(key, {}), places=itertools.count())
        found = Detector.predict(one, image, nm_per_px, threshold, batch_size)
        return replace(found, defects=tuple(d for d in found.defects if d.category in self.chosen))

    def find(self, crops: Sequence[np.ndarray], threshold: float, wanted: Wanted) -> Sequence[OnTile]:
        assert self.own is not None
        places = [next(self.places) for _ in crops]
        if not all(place in self.tiles for place in places):
            with held(self.lock, self.stop):
                self.tiles.update(zip(places, self.own.find(crops, FLOOR, wanted), strict=True))
        self.told(len(crops))
        return [_from(threshold, self.tiles[place], k, wanted) for k, place in enumerate(places)]


def _from(threshold: float, tile: OnTile, k: int, wanted: Wanted) -> OnTile:
    """What tile k shows from a threshold on."""
    faint = [defect for defect in tile.defects if defect.score < threshold]
    boxes = np.array([defect.bbox for defect in faint], float).reshape(-1, 4)
    own = wanted(k, boxes[:, :2] + boxes[:, 2:] / 2, 0)
    scores = np.array([defect.score for defect in faint])
    return OnTile([d for d in tile.defects if d.score >= threshold], float(scores[own].sum()))


@dataclass(eq=False)
class Search:
    """Micrographs of one page, what a detector found on them, and at which scale.

    `model` is what results call the detector, `paths` are the micrographs' files, whose `scales` (nm per px by file
    name) a user gave. `fields` hold what was measured on each micrograph down to a score of `FLOOR`, by file name.
    """

    folder: Path
    model: str
    detector: Kept
    paths: list[Path] = field(default_factory=list)
    scales: dict[str, float] = field(default_factory=dict)
    thickness_nm: float | None = None
    shots: dict[str, Shot] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    quarantine: Quarantine = field(default_factory=Quarantine)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.detector.classes

    @property
    def materials(self) -> Materials:
        """As `predict` takes them: those that the detector was measured with, else those of the project."""
        scores = self.detector.scores
        if scores and scores.materials:
            return read_section(Materials, dict(scores.materials))
        return (SettingsFile.open() if PARAMS.is_file() else SettingsFile({})).read(Materials)

    def run(self, told: Callable[[float, str], None]) -> Iterator[str]:
        """Search what was not searched yet; gives the name of each micrograph. What cannot be read is in `quarantine`.

        `told(share, text)` hears how far it is. Raises TemDataError where no file is an image, and Stopped.
        """
        self.quarantine, self.fields = Quarantine(), {}
        shots = {shot.file_name: shot for shot in find_shots(self.paths, self._settings(None), self.quarantine)}
        self.shots = {name: shot for name, shot in shots.items() if self._tiles(shot)}
        total, done = sum(map(self._tiles, self.shots.values())), 0
        for number, (name, shot) in enumerate(self.shots.items(), 1):
            text = f"micrograph {number} of {len(self.shots)}"
            self._search(shot, replace(self.detector, told=_counter(told, done, total, text)))
            done += self._tiles(shot)
            yield name

    def look(self, name: str, threshold: float, classes: Sequence[str]) -> Found:
        """What was found on a micrograph from a threshold on, of some classes. It is searched where it was not yet."""
        return search(self._job(self.detector.choosing(classes), threshold), self.shots[name])

    def numbers(self, threshold: float, classes: Sequence[str], name: str = "") -> dict[str, dict[str, Any]]:
        """The numbers by class of all micrographs together, or of one."""
        fields = [self.fields[name]] if name else list(self.fields.values())
        shown = [
            replace(one, predictions=[d for d in one.predictions if (d.score or 0) >= threshold]) for one in fields
        ]
        return numbers_by_class(shown, classes, self.materials)

    def rows(self, found: Found) -> list[dict[str, Any]]:
        """The rows of `defects.csv` of a micrograph."""
        return defect_rows(found, field_of(found, self.materials))

    def summary(self, found: Found) -> dict[str, Any]:
        """The row of `micrographs.csv` of all classes of a micrograph."""
        rows = micrograph_rows(found, field_of(found, self.materials), self.classes, self.materials)
        return rows[-1]

    def write(self, threshold: float, classes: Sequence[str]) -> Path:
        """Everything that `predict` writes, as one zip file."""
        out = self.folder / "found"
        for old in (out, out.with_name(f".{out.name}.work")):
            shutil.rmtree(old, ignore_errors=True)
        settings = self._settings(threshold)
        analyse(self.detector.choosing(classes), self.paths, out, settings, self.materials, self.model)
        return Path(shutil.make_archive(str(out), "zip", self.folder, out.name))

    def _search(self, shot: Shot, detector: Kept) -> None:
        try:
            found = search(self._job(detector, FLOOR), shot)
            self.fields[shot.file_name] = field_of(found, self.materials)
        except (OSError, ValueError) as error:
            self.quarantine.add(shot.file_name, "", "unreadable image", "set aside", str(error))
            del self.shots[shot.file_name]

    def _tiles(self, shot: Shot) -> int:
        """By how many tiles a micrograph is searched; 0, and a row of the quarantine, where it cannot be."""
        try:
            return self.detector.plan(shot.shape, shot.calibration.nm_per_px).tiles
        except TemDataError as error:
            self.quarantine.add(shot.file_name, "", "scale out of range", "set aside", str(error))
            return 0

    def _job(self, detector: Kept, threshold: float) -> Job:
        trust = Trust.of_detector(detector, threshold)
        return Job(detector, trust, self._settings(threshold), self.materials, self.model, self.quarantine)

    def _settings(self, threshold: float | None) -> AnalysisSettings:
        table = _calibration(self.folder, self.scales) if self.scales else None
        return AnalysisSettings(threshold, calibration=table, thickness_nm=self.thickness_nm, save=KINDS)


def _counter(told: Callable[[float, str], None], done: int, total: int, text: str) -> Told:
    """Tells the share of `total` tiles, of which so many were `done` before."""

    def hear(tiles: int) -> None:
        nonlocal done
        done += tiles
        told(done / total, text)

    return hear


def _calibration(folder: Path, scales: Mapping[str, float]) -> Path:
    path = folder / "calibration.csv"
    rows = ({"file_name": name, "nm_per_px": scale} for name, scale in scales.items())
    write_table(path, rows, ("file_name", "nm_per_px"))
    return path


def scale_of(clicks: Sequence[Sequence[float]], length_nm: float | None) -> float:
    """nm per px of two places (x, y) in px that are `length_nm` apart. Raises TemDataError where they give none."""
    if len(clicks) != 2:
        raise TemDataError("click on both ends of the scale bar first")
    if not length_nm or length_nm <= 0:
        raise TemDataError("give the length of the scale bar in nm")
    distance = math.dist(*clicks)
    if distance < 2 or not is_plausible(length_nm / distance):
        raise TemDataError(f"{length_nm:g} nm over {distance:.0f} px is {NO_SIZE}; click again, or give another length")
    return length_nm / distance
