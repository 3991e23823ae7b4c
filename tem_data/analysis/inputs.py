"""The micrographs that paths name: which files, which frames, under which names, and at which scale."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from tem_data.analysis.settings import AnalysisSettings
from tem_data.core.errors import TemDataError
from tem_data.images.reading import IMAGE_SUFFIXES, Layout, layout
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.tables import Calibration, calibration_of, read_calibrations, row_of

RESULTS = {"micrographs.csv", "defects.csv", "summary.json"}
MANY = 50  # files, from which on a bar is shown while they are looked at


class Shot(NamedTuple):
    """A micrograph to be searched. `frame` counts from 1, None where the file holds no others.

    `name` is that of its result files, `file_name` that of the micrograph in tables; no other has either of them.
    `shape` is its height and width in px, and `calibration` what is known of its scale.
    """

    path: Path
    frame: int | None
    name: str
    file_name: str
    shape: tuple[int, int]
    calibration: Calibration


def find_shots(paths: Sequence[str | os.PathLike], settings: AnalysisSettings, quarantine: Quarantine) -> list[Shot]:
    """The micrographs of files and folders, in this order; what cannot be taken goes to the quarantine.

    Raises TemDataError where a path does not exist, none holds an image, or the calibration table cannot be read.
    """
    calibrations = read_calibrations(settings.calibration)
    files = find_files(paths, settings.recursive, quarantine)
    if not files:
        raise TemDataError(_nothing(paths, settings.recursive))
    file_names = _file_names(files)
    _say_unused(calibrations, file_names, settings, quarantine)
    names = set(file_names.values())
    found = []
    for path in tqdm(files, "look at the files", disable=len(files) < MANY, leave=False):
        known = calibration_of(calibrations, file_names[path], path.name, images=names)
        found += _shots(path, file_names[path], known, settings, quarantine)
    return [shot._replace(name=name) for shot, name in zip(found, _result_names(found), strict=True)]


def find_files(paths: Sequence[str | os.PathLike], recursive: bool, quarantine: Quarantine) -> list[Path]:
    """Files as they are named, and the images of folders, each once. Raises TemDataError where a path does not exist.

    Hidden files, and what an earlier run wrote, are passed over.
    """
    found: dict[Path, Path] = {}
    for given in map(Path, paths):
        if not given.exists():
            raise TemDataError(f"{given}: no such file or folder; give micrographs, or folders of them")
        for path in _within(given, recursive, quarantine) if given.is_dir() else [given]:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _within(folder: Path, recursive: bool, quarantine: Quarantine) -> Iterator[Path]:
    others: Counter[str] = Counter()
    inner = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            inner.append(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            others[path.suffix.lower()] += 1
    for suffix, count in sorted(others.items()):
        file = f"{count} files {suffix or 'without suffix'} in {folder}"
        quarantine.add(file, "", "no image", "left alone")
    for path in inner:
        if recursive and not all(Path(path, name).exists() for name in RESULTS):
            yield from _within(path, recursive, quarantine)
        elif not recursive and (count := _images_in(path)):
            detail = f"{count} images; --recursive searches them, too"
            quarantine.add(str(path), "", "no image", "left alone", detail)


def _images_in(folder: Path) -> int:
    return sum(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir() if path.name[0] != ".")


def _nothing(paths: Sequence[str | os.PathLike], recursive: bool) -> str:
    deeper = "" if recursive else "; --recursive looks into the folders within them"
    return f"{', '.join(map(str, paths))}: expected images ({' '.join(IMAGE_SUFFIXES)}), found none{deeper}"


def _file_names(files: Sequence[Path]) -> dict[Path, str]:
    """The name of each file; where two have the same, those of all with their folders."""
    if len({path.name.casefold() for path in files}) == len(files):
        return {path: path.name for path in files}
    root = os.path.commonpath([path.resolve().parent for path in files])
    return {path: path.resolve().relative_to(root).as_posix() for path in files}


def _say_unused(
    calibrations: Mapping[str, Calibration],
    file_names: Mapping[Path, str],
    settings: AnalysisSettings,
    quarantine: Quarantine,
) -> None:
    names = set(file_names.values())
    used = {row_of(calibrations, name, path.name, images=names) for path, name in file_names.items()}
    if unused := [name for name in calibrations if name not in used]:
        detail = f"of other files, as {unused[0]}"
        quarantine.add(str(settings.calibration), f"{len(unused)} rows", "unused row", "left alone", detail)


def _shots(
    path: Path, file_name: str, known: Calibration, settings: AnalysisSettings, quarantine: Quarantine
) -> list[Shot]:
    """The frames of a file; none, and a row of the quarantine, where it cannot be read."""
    try:
        held = layout(path)
        frames = _frames(held, settings.frame)
    except (OSError, ValueError) as error:
        quarantine.add(file_name, "", "unreadable image", "set aside", str(error))
        return []
    calibration = Calibration(
        nm_per_px=settings.nm_per_px or known.nm_per_px or held.nm_per_px,
        thickness_nm=settings.thickness_nm or known.thickness_nm,
        specimen=known.specimen,
    )
    digits = len(str(held.planes))
    shots = []
    for frame in frames:
        suffix = "" if frame is None else f"_f{frame:0{digits}d}"
        own = Path(file_name)
        named = own.with_name(f"{own.stem}{suffix}{own.suffix}").as_posix()
        shots.append(Shot(path, frame, "", named, held.shape, calibration))
    return shots


def _frames(held: Layout, frame: int | None) -> list[int | None]:
    """Raises ValueError where a stack has no such frame."""
    if held.planes == 1:
        return [None]
    if frame is not None and frame > held.planes:
        raise ValueError(f"--frame {frame}: it has {held.planes} frames")
    return [frame] if frame is not None else list(range(1, held.planes + 1))


def _result_names(shots: Sequence[Shot]) -> list[str]:
    """The shortest names that tell all apart, also where capital letters do not count.

    Without suffix, with it, or with folders.
    """
    candidates: tuple[Callable[[Shot], str], ...] = (
        lambda shot: Path(shot.file_name).stem,
        lambda shot: Path(shot.file_name).name,
        lambda shot: Path(shot.file_name).with_suffix("").as_posix().replace("/", "_"),
        lambda shot: shot.file_name.replace("/", "_"),
    )
    taken: set[str] = set()
    names = [""] * len(shots)
    for candidate in candidates:
        counts = Counter(candidate(shot).casefold() for shot in shots)
        for place, shot in enumerate(shots):
            name = candidate(shot)
            if not names[place] and counts[name.casefold()] == 1 and name.casefold() not in taken:
                names[place] = name
                taken.add(name.casefold())
    return [name or _numbered(shot, taken) for name, shot in zip(names, shots, strict=True)]


def _numbered(shot: Shot, taken: set[str]) -> str:
    base, number = shot.file_name.replace("/", "_"), 2
    while f"{base}_{number}".casefold() in taken:
        number += 1
    taken.add(f"{base}_{number}".casefold())
    return f"{base}_{number}"
