"""The first files of a project of one's own: a profile, its classes, and a calibration table to fill in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

from tem_data.coco.faults import Faults
from tem_data.coco.reading import read_truth
from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, write_table
from tem_data.formats.fiji import parse_log
from tem_data.images.calibration import nm_per_px_in_metadata
from tem_data.images.reading import files_by_stem
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings, LabelSource
from tem_data.importing.sources import class_names, kind_of, kind_of_file, read_labels

TEST_SHARE = 0.3
CALIBRATION = ("file_name", "nm_per_px", "thickness_nm", "specimen")


class Labels(NamedTuple):
    """What labels a folder holds: their kind and place, and the classes that they name, by number for Fiji's logs."""

    source: str
    annotations: Path
    classes: list[str]
    numbers: dict[int, str]


def begin(folder: str | os.PathLike, name: str, project: str | os.PathLike) -> dict[Path, str]:
    """Write conf/profile/NAME.yaml and conf/classes/NAME.yaml of a clone, and FOLDER/calibration.csv.

    Returns what each file is. Files that are there stay. Raises TemDataError where the folder holds no images or no
    labels, and where `project` is no clone.
    """
    folder, conf = Path(folder), Path(project, "conf")
    if not (conf / "config.yaml").is_file():
        raise TemDataError(f"{conf}: no config.yaml; run it in a clone of the project, or name one by --project")
    images = folder / "images" if (folder / "images").is_dir() else folder
    paths = [path for of_stem in files_by_stem(images).values() for path in of_stem]
    if not paths:
        raise TemDataError(f"{images}: no PNG, JPEG or TIFF images; give the folder that holds them, or its parent")
    labels = _labels(folder, images)
    profile, classes = conf / "profile" / f"{name}.yaml", conf / "classes" / f"{name}.yaml"
    calibration, made = folder / "calibration.csv", {}
    if not calibration.exists():
        _write_calibration(calibration, paths)
        made[calibration] = f"the pixel size of {len(paths)} images; fill in what is empty"
    for path, text, what in (
        (profile, _profile(name, folder, images, labels, len(paths)), f"the profile, labels by {labels.source}"),
        (classes, _classes(labels), f"the classes {', '.join(labels.classes)}"),
    ):
        if not path.exists():
            with atomic_write(path) as draft:
                draft.write_text(text, encoding="utf-8")
            made[path] = what
    return made


def _labels(folder: Path, images: Path) -> Labels:
    subfolders = (path for path in sorted(folder.iterdir()) if path.is_dir() and path != images)
    seen = []
    for place in dict.fromkeys((folder, images, *subfolders)):
        try:
            source = kind_of(place)
        except TemDataError as error:
            seen.append(str(error).partition("; expected")[0])
            continue
        if place in (folder, images) and source == "masks":  # the images themselves
            continue
        return _of_kind(place, source, images)
    found = f" ({'; '.join(seen)})" if seen else ""
    raise TemDataError(f"{folder}: no labels beside the images{found}; put them there, or into a folder of their own")


def _of_kind(place: Path, source: LabelSource, images: Path) -> Labels:
    paths = sorted(path for path in place.iterdir() if kind_of_file(path) == source)
    annotations = paths[0] if len(paths) == 1 and source in ("coco", "ellipses", "cvat") else place
    numbers: dict[int, str] = {}
    if source == "fiji":
        logs = (parse_log(log.read_text(encoding="utf-8-sig")) for log in place.glob("*_log.txt"))
        numbers = {n: f"class{n}" for n in sorted({n for log in logs for n in log})}
    if source == "masks":
        return Labels(source, annotations, ["defect"], {})
    settings = ImportSettings(
        source=source, images=str(images), annotations=str(annotations), class_numbers=numbers or None
    )
    tables = read_labels(settings, Quarantine())
    found = class_names(tables)
    if source == "coco" and not found:
        found = [category.name for category in read_truth(Faults(annotations, Quarantine())).categories.values()]
    return Labels(source, annotations, _names(numbers.values() or found), numbers)


def _names(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(name.strip() for name in names) if name] or ["defect"]


def _write_calibration(path: Path, images: list[Path]) -> None:
    known = ((image.name, nm_per_px_in_metadata(image)) for image in images)
    rows = ({"file_name": name, "nm_per_px": "" if size is None else f"{size:g}"} for name, size in known)
    write_table(path, rows, CALIBRATION)


def _profile(name: str, folder: Path, images: Path, labels: Labels, count: int) -> str:
    test = max(1, round(TEST_SHARE * count))
    size = max(2, count - test)
    settings: dict[str, object] = {
        "profile": name,
        "import": {
            "source": labels.source,
            "watch": str(folder),
            "images": str(images),
            "annotations": str(labels.annotations),
            "calibration": str(folder / "calibration.csv"),
        }
        | ({"class_numbers": labels.numbers} if labels.numbers else {}),
        "split": {"test": test, "validation": max(1, round(0.2 * size))},
        "study": {"cells": [f"1-{size}"]},
        # as for FeCrAl at 1024 px
        "patch": {"size": 256, "stride": 64, "count": 1200},
        "autoencoder": {"factor": 8, "latent_noise": 0.15, "steps": 600, "batch_size": 2},
        "ldm": {"block_out_channels": [64, 128, 192], "steps": 4000, "batch_size": 8, "sample_steps": 1000},
        "judges": {"iterations": 400},
    }
    head = f"# @package _global_\n# Made by `tem-data init`: {count} micrographs, {test} of them to test.\n"
    head += yaml.safe_dump({"defaults": [{"override /classes": name}]}, sort_keys=False)
    return head + "\n" + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _classes(labels: Labels) -> str:
    head = (
        "# @package _global_\n# Each class and the names that label files give it; `ignored` labels are not scored.\n"
    )
    ignored = [name for name in labels.classes if name.lower() in ("ambiguous", "unsure", "?")]
    classes = {name: [name] for name in labels.classes if name not in ignored}
    settings = {
        "import": {"classes": classes, "ignored": {name: [name] for name in ignored}},
        "materials": {"size": dict.fromkeys(classes, "loop"), "barrier_strength": {}},
    }
    return head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
