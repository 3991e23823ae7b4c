"""Labelled micrographs of any source into the one schema; what is wrong goes to the quarantine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from tqdm import tqdm

from tem_data.coco.faults import Faults
from tem_data.coco.labels import micrographs_of
from tem_data.coco.reading import TRUTH, read_content, read_found, read_truth
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, crop, halved
from tem_data.core.schema import Classes, read_dataset
from tem_data.images.databar import data_bar
from tem_data.images.reading import SeveralPlanes, other_files, read_image
from tem_data.importing.checking import alignment, centres_outside, checked_defects
from tem_data.importing.labels import LabelTable
from tem_data.importing.matching import ImageFolder
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings
from tem_data.importing.sources import class_names, read_labels
from tem_data.importing.tables import Calibration, calibration_of, read_calibrations
from tem_data.importing.units import in_px

MANY_OUTSIDE = 0.1
ENOUGH_LABELS = 15


class Imported(NamedTuple):
    """Micrographs, all that was found wrong, the classes that they have, and the file name of each by its id."""

    micrographs: list[Micrograph]
    quarantine: Quarantine
    classes: Classes
    file_names: dict[str, str]


def import_micrographs(settings: ImportSettings, progress: bool = True) -> Imported:
    """The micrographs of a folder with their labels, and all that was found wrong.

    Ids are file names without extension (with it where two would be the same).
    Images and calibrations are found by file name with or without its folder, images of labels also as
    `ImageFolder.find` does. Shapes that leave the image are cut at its edges, duplicates dropped, areas
    recomputed. Raises TemDataError where a file, column or setting is missing.
    """
    quarantine = Quarantine()
    folder = ImageFolder(cast(str, settings.images), settings.mask_suffix)
    calibrations = read_calibrations(settings.calibration)
    tables = read_labels(settings, quarantine)
    settings = settings.of_classes(class_names(tables))
    found = _images_of(tables, folder, quarantine)
    _say_unlabelled(folder, found.values(), quarantine)
    _say_unused(calibrations, folder, quarantine)
    stems = Counter(path.stem for path in found.values())
    micrographs: list[Micrograph] = []
    file_names: dict[str, str] = {}
    for table in tqdm(tables, "import", disable=not progress):
        path = found.get(table.file_name)
        if path is None:
            continue
        name = path.relative_to(folder.folder).as_posix()
        known = calibration_of(calibrations, table.file_name, name)
        micrograph = _micrograph(path, table._replace(file_name=name), settings, known, quarantine)
        if micrograph is not None:
            key = path.stem if stems[path.stem] == 1 else name.replace("/", "_")
            file_names[key] = name
            micrograph = replace(micrograph, micrograph_id=key)
            micrographs.append(_fitted(micrograph, name, settings.max_side, quarantine))
    return Imported(micrographs, quarantine, settings.schema, file_names)


def read_labelled(
    path: str | os.PathLike,
    classes: Mapping[str, Any] | None = None,
    ignored: Sequence[str] = ("ambiguous",),
    truth: str | os.PathLike | None = None,
    threshold: float = 0.0,
) -> tuple[list[Micrograph], Quarantine]:
    """The labels of a dataset folder, or of a COCO file without its images, and what was found wrong.

    For a COCO file `classes` maps each class to the names it has there (None:
    its categories as they are), `ignored` names labels that do not count; its
    images go by file name without extension, and its labels are taken as
    `score_coco` takes them, also where a shape is there twice. COCO results (a
    list) are those of at least `threshold` on the images of the COCO file `truth`. Raises
    TemDataError where a file cannot be read or an image has no size.
    """
    quarantine = Quarantine()
    if Path(path).is_dir():
        return [replace(m, image=None) for m in read_dataset(path)], quarantine
    faults = Faults(path, quarantine)
    if truth is not None and Path(truth).is_file() and isinstance(read_content(path, object, TRUTH), list):
        # what is wrong with the truth is said where it is read itself
        file = read_found(read_truth(Faults(truth, Quarantine()), file_names=True), faults)
    else:
        file = read_truth(faults, file_names=True)
    for image in file.images.values():
        if image.shape is None:
            raise TemDataError(f"{path}: image {image.file_name!r} has no `height` and `width`; add them, in px")
    if classes is None:
        classes = {c.name: c.name for c in file.categories.values() if c.name not in ignored}
    names = ImportSettings(classes=classes, ignored={name: [name] for name in ignored}).names
    micrographs = micrographs_of(file, names.meaning, faults, threshold)
    return [replace(m, micrograph_id=Path(m.micrograph_id).stem) for m in micrographs], quarantine


def _images_of(tables: Sequence[LabelTable], folder: ImageFolder, quarantine: Quarantine) -> dict[str, Path]:
    """The image of each table by the table's file name; what has none, or one that is taken, is set aside."""
    found: dict[str, Path] = {}
    for table in tables:
        path, why = folder.find(table.file_name)
        count = f"{len(table.labels) + table.lost} labels"
        if path is None:
            quarantine.add(table.file_name, "", "missing image", "set aside", f"{why}; {count}")
        elif path in found.values():
            detail = f"other labels name the same image, {path.name}; {count}"
            quarantine.add(table.file_name, "", "duplicate id", "set aside", detail)
        else:
            found[table.file_name] = path
    return found


def _say_unlabelled(folder: ImageFolder, labelled: Iterable[Path], quarantine: Quarantine) -> None:
    known = set(labelled)
    for path in folder.paths:
        if path not in known:
            quarantine.add(path.name, "", "no labels", "set aside", "the annotations do not name it")
    for suffix, count in other_files(folder.folder).items():
        quarantine.add(f"{count} files {suffix or 'without suffix'}", "", "no image", "left alone")


def _say_unused(calibrations: Mapping[str, Calibration], folder: ImageFolder, quarantine: Quarantine) -> None:
    names = {path.name for path in folder.paths}
    for name in calibrations:
        if Path(name).name not in names:
            quarantine.add(name, "", "unused row", "left alone", "the calibration table names it, the folder lacks it")


def _micrograph(
    path: Path, table: LabelTable, settings: ImportSettings, known: Calibration, quarantine: Quarantine
) -> Micrograph | None:
    name = table.file_name

    def set_aside(reason: str, detail: str) -> Micrograph | None:
        quarantine.add(name, "", reason, "set aside", f"{detail}; {len(table.labels) + table.lost} labels")
        return None

    try:
        picture = read_image(path, settings.frame)
    except SeveralPlanes as error:
        return set_aside("several planes", str(error))
    except (OSError, ValueError) as error:
        return set_aside("unreadable image", str(error))
    image = picture.pixels
    if table.shape not in (None, image.shape):
        return set_aside("size mismatch", f"image {image.shape}, labels {table.shape} (height, width)")
    if known.nm_per_px is None:
        known = known._replace(nm_per_px=picture.nm_per_px)
    try:
        unit = settings.table_unit, settings.min_alignment or 0
        table = _in_px(table, image, known.nm_per_px, *unit, quarantine)
    except ValueError as error:
        return set_aside("unclear unit", str(error))
    outside = centres_outside(table, image.shape)
    if outside >= max(3, MANY_OUTSIDE * len(table.labels)):
        return set_aside("labels of another image", f"{outside} of {len(table.labels)} centres lie outside the image")
    defects = checked_defects(table, image.shape, settings.names, quarantine)
    if (table.labels or table.lost) and not defects:
        return set_aside("no labels", "none could be used")
    least = settings.min_alignment
    if least is not None and len(defects) >= ENOUGH_LABELS and (fit := alignment(image, defects)) < least:
        return set_aside("labels of another image", f"alignment {fit:.1f} is under `min_alignment` {least}")
    if known.nm_per_px is None:
        remedy = "give nm_per_px in the table `import.calibration`"
        detail = f"{picture.doubt}; {remedy}" if picture.doubt else remedy
        quarantine.add(name, "", "no calibration", "kept", detail)
    micrograph = Micrograph(name, image, tuple(defects), image.shape, **known._asdict())
    return _without_bar(micrograph, settings.data_bar, quarantine)


def _in_px(
    table: LabelTable,
    image: np.ndarray,
    nm_per_px: float | None,
    unit: str,
    least: float,
    quarantine: Quarantine,
) -> LabelTable:
    table, found = in_px(table, image, nm_per_px, unit, least)
    if found != "px":
        how = "as they fit the image best" if unit == "auto" else "as given"
        detail = f"{len(table.labels)} ellipses in {found}, {how}, at {nm_per_px:g} nm per px"
        quarantine.add(table.file_name, "", "calibrated table", "converted", detail)
    return table


def _without_bar(micrograph: Micrograph, rows: int | Literal["auto"], quarantine: Quarantine) -> Micrograph:
    height, width = micrograph.shape
    cut = data_bar(micrograph.pixels) if rows == "auto" else min(rows, height - 1)
    if not cut:
        return micrograph
    cropped = crop(micrograph, 0, 0, (height - cut, width))
    lost = len(micrograph.defects) - len(cropped.defects)
    detail = f"the {cut} rows at the bottom" + (f", and {lost} labels on them" if lost else "")
    quarantine.add(micrograph.micrograph_id, "", "data bar", "cut", detail)
    return cropped


def _fitted(micrograph: Micrograph, file_name: str, max_side: int | None, quarantine: Quarantine) -> Micrograph:
    small = micrograph
    while max_side and max(small.shape) > max_side:
        small = halved(small)
    lost = len(micrograph.defects) - len(small.defects)
    if lost:
        quarantine.add(file_name, f"{lost} labels", "bad shape", "set aside", f"no px left at {small.shape} px")
    return small
