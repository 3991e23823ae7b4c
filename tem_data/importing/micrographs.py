"""Labelled micrographs of any source into the one schema; what is wrong goes to the quarantine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from tqdm import tqdm

from tem_data.coco.faults import Faults
from tem_data.coco.labels import micrographs_of
from tem_data.coco.reading import TRUTH, CocoFile, read_content, read_truth
from tem_data.coco.results import Cut, holds_found, read_found, read_whole
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import Classes, read_dataset
from tem_data.images.reading import other_files
from tem_data.importing.labelled_image import labelled_image
from tem_data.importing.labels import LabelTable
from tem_data.importing.matching import ImageFolder
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.review import Review, review_of
from tem_data.importing.settings import ImportSettings
from tem_data.importing.sources import class_names, kind_of, read_labels
from tem_data.importing.tables import Calibration, calibration_of, read_calibrations, row_of


class Imported(NamedTuple):
    """Micrographs, all that was found wrong, the classes that they have, and the file name of each by its id.

    `reviews` say of those whose labels a model proposed what was done with these.
    """

    micrographs: list[Micrograph]
    quarantine: Quarantine
    classes: Classes
    file_names: dict[str, str]
    reviews: tuple[Review, ...] = ()


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
    _refuse_masks_as_images(settings)
    tables = read_labels(settings, quarantine)
    settings = settings.of_classes(class_names(tables))
    found = _images_of(tables, folder, quarantine)
    _say_unlabelled(folder, [path for _, path in found], quarantine)
    _say_unused(calibrations, folder, quarantine)
    names = {path.name for path in folder.paths}
    stems = Counter(path.stem for _, path in found)
    micrographs: list[Micrograph] = []
    file_names: dict[str, str] = {}
    reviews: list[Review] = []
    for table, path in tqdm(found, "import", disable=not progress):
        name = path.relative_to(folder.folder).as_posix()
        known = calibration_of(calibrations, table.file_name, name, images=names)
        micrograph = labelled_image(path, table._replace(file_name=name), settings, known, quarantine)
        if micrograph is not None:
            key = path.stem if stems[path.stem] == 1 else name.replace("/", "_")
            file_names[key] = name
            review = review_of(table)
            reviews += [review] if review else []
            by = settings.labelled_by or (review.labelled_by if review else "")
            micrographs.append(replace(micrograph, micrograph_id=key, labelled_by=by))
    return Imported(micrographs, quarantine, settings.schema, file_names, tuple(reviews))


def _refuse_masks_as_images(settings: ImportSettings) -> None:
    images, labels = Path(cast(str, settings.images)), Path(cast(str, settings.annotations))
    if settings.mask_suffix or not labels.is_dir() or not images.samefile(labels):
        return
    if settings.source == "masks" or (settings.source == "auto" and kind_of(labels) == "masks"):
        raise TemDataError(
            f"{labels}: images and masks are in one folder; set `mask_suffix` to what the masks' names have behind "
            "those of their images, such as _mask"
        )


class Labelled(NamedTuple):
    """Labelled micrographs without images, what was found wrong, and of predictions their cut and their threshold."""

    micrographs: list[Micrograph]
    quarantine: Quarantine
    cut: Cut | None
    threshold: float = 0.0


def read_labelled(
    path: str | os.PathLike,
    classes: Mapping[str, Any] | None = None,
    ignored: Sequence[str] = ("ambiguous",),
    truth: str | os.PathLike | None = None,
    threshold: float | None = 0.0,
) -> Labelled:
    """The labels of a dataset folder, or of a COCO file without its images, and what was found wrong.

    For a COCO file `classes` maps each class to the names it has there (None:
    its categories as they are), `ignored` names labels that do not count; its
    images go by file name without extension, and its labels are taken as
    `score_coco` takes them, also where a shape is there twice. Predictions are
    those of at least `threshold` (None: as `Cut.chosen`): of a whole COCO file on
    its images, of a list of COCO results on those of the COCO file `truth`. Raises
    TemDataError where a file cannot be read or an image has no size.
    """
    quarantine = Quarantine()
    if Path(path).is_dir():
        return Labelled([replace(m, image=None) for m in read_dataset(path)], quarantine, None)
    faults = Faults(path, quarantine)
    file, cut = _labels_in(faults, truth)
    for image in file.images.values():
        if image.shape is None:
            raise TemDataError(f"{path}: image {image.file_name!r} has no `height` and `width`; add them, in px")
    if classes is None:
        classes = {c.name: c.name for c in file.categories.values() if c.name not in ignored}
    names = ImportSettings(classes=classes, ignored={name: [name] for name in ignored}).names
    least = cut.chosen(threshold) if cut else 0.0
    micrographs = micrographs_of(file, names.meaning, faults, least)
    named = [replace(m, micrograph_id=Path(m.micrograph_id).stem) for m in micrographs]
    return Labelled(named, quarantine, cut, least)


def _labels_in(faults: Faults, truth: str | os.PathLike | None) -> tuple[CocoFile, Cut | None]:
    content = read_content(faults.path, object, TRUTH)
    if isinstance(content, list) and truth is not None and Path(truth).is_file():
        # what is wrong with the truth is said where it is read itself
        found = read_found(read_truth(Faults(truth, Quarantine()), file_names=True), faults)
        return found.results, found.cut
    if holds_found(content):
        return read_whole(content, faults)
    return read_truth(faults, file_names=True), None


def _images_of(
    tables: Sequence[LabelTable], folder: ImageFolder, quarantine: Quarantine
) -> list[tuple[LabelTable, Path]]:
    """Each table with its image; what has none, or one that is taken, is set aside.

    Of several tables of one image the first one with labels is taken.
    """
    found: dict[Path, LabelTable] = {}
    for table in sorted(tables, key=lambda table: not table.labels):
        path, why = folder.find(table.file_name)
        count = f"{len(table.labels) + table.lost} labels"
        if path is None:
            why += folder.hint(table.file_name)
            quarantine.add(table.file_name, "", "missing image", "set aside", f"{why}; {count}")
        elif path in found:
            detail = f"other labels name the same image; {count}"
            quarantine.add(table.file_name, "", "duplicate id", "set aside", detail)
        else:
            found[path] = table
    places = {id(table): place for place, table in enumerate(tables)}
    return sorted(((table, path) for path, table in found.items()), key=lambda pair: places[id(pair[0])])


def _say_unlabelled(folder: ImageFolder, labelled: Iterable[Path], quarantine: Quarantine) -> None:
    known = set(labelled)
    for path in folder.paths:
        if path not in known:
            quarantine.add(path.name, "", "no labels", "set aside", "the annotations do not name it")
    for suffix, count in other_files(folder.folder).items():
        quarantine.add(f"{count} files {suffix or 'without suffix'}", "", "no image", "left alone")


def _say_unused(calibrations: Mapping[str, Calibration], folder: ImageFolder, quarantine: Quarantine) -> None:
    names = {path.name for path in folder.paths}
    used = {row_of(calibrations, name, images=names) for name in names}
    for name in calibrations:
        if name not in used and Path(name).name not in names:
            quarantine.add(name, "", "unused row", "left alone", "the calibration table names it, the folder lacks it")
