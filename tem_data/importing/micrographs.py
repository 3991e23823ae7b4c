"""Labelled micrographs of any source into the one schema; what is wrong goes to the quarantine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from tem_data.coco.faults import Faults
from tem_data.coco.labels import micrographs_of, read_coco
from tem_data.coco.reading import TRUTH, read_content, read_found, read_truth
from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.micrograph import Micrograph, halved
from tem_data.core.schema import read_dataset
from tem_data.importing.checking import alignment, centres_outside, checked_defects
from tem_data.importing.fiji import read_ellipses, read_fiji
from tem_data.importing.images import files_by_stem, nm_per_px_in_metadata, read_image
from tem_data.importing.labels import LabelTable
from tem_data.importing.mask_images import read_masks
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings
from tem_data.importing.tables import Calibration, calibration_of, read_calibrations

MANY_OUTSIDE = 0.1
ENOUGH_LABELS = 15


def import_micrographs(settings: ImportSettings, progress: bool = True) -> tuple[list[Micrograph], Quarantine]:
    """The micrographs of a folder with their labels, and all that was found wrong.

    Ids are file names without extension (with it where two would be the same).
    Images and calibrations are found by file name with or without its folder.
    Shapes that leave the image are cut at its edges, duplicates dropped, areas
    recomputed. Raises TemDataError where a file, column or setting is missing.
    """
    quarantine = Quarantine()
    tables = _read(settings, quarantine)
    images = cast(str, settings.images)
    paths = {table.file_name: _image_path(images, table.file_name) for table in tables}
    _add_unlabelled(images, paths.values(), quarantine)
    stems = Counter(Path(name).stem for name in paths)
    calibrations = read_calibrations(settings.calibration)
    micrographs, done = [], set()
    for table in tqdm(tables, "import", disable=not progress):
        name = table.file_name
        if paths[name] in done:
            quarantine.add(name, "", "duplicate id", "set aside", "other labels name the same image")
            continue
        done.add(paths[name])
        micrograph_id = Path(name).stem if stems[Path(name).stem] == 1 else name.replace("/", "_")
        micrograph = _micrograph(micrograph_id, table, paths[name], settings, quarantine)
        if micrograph is not None:
            micrograph = _calibrated(micrograph, table, paths[name], calibrations, quarantine)
            micrographs.append(_fitted(micrograph, table, settings.max_side, quarantine))
    return micrographs, quarantine


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


def _read(settings: ImportSettings, quarantine: Quarantine) -> list[LabelTable]:
    images, annotations = cast(str, settings.images), cast(str, settings.annotations)
    if settings.source == "coco":
        return read_coco(annotations, quarantine)
    if settings.source == "ellipses":
        return read_ellipses(annotations, settings.columns)
    if settings.source == "fiji":
        if not settings.class_numbers:
            raise SettingError("import", "class_numbers", "missing; name the class of each number in the logs")
        return read_fiji(annotations, images, settings.class_numbers, quarantine)
    values = settings.mask_values
    if values is None:
        if len(settings.classes) != 1:
            raise SettingError("import", "mask_values", "missing; name the class of each grey level")
        values = dict.fromkeys(range(1, 2**16), next(iter(settings.classes)))
    return read_masks(annotations, images, values, quarantine, settings.instances)


def _image_path(folder: str, file_name: str) -> Path:
    exact = Path(folder, file_name)
    return exact if exact.is_file() else Path(folder, Path(file_name).name)


def _add_unlabelled(folder: str, labelled: Iterable[Path], quarantine: Quarantine) -> None:
    known = set(labelled)
    for paths in files_by_stem(folder).values():
        for path in paths:
            if path not in known:
                quarantine.add(path.name, "", "no labels", "set aside", "the annotations do not name it")


def _micrograph(
    micrograph_id: str, table: LabelTable, path: Path, settings: ImportSettings, quarantine: Quarantine
) -> Micrograph | None:
    def set_aside(reason: str, detail: str) -> Micrograph | None:
        quarantine.add(table.file_name, "", reason, "set aside", f"{detail}; {len(table.labels) + table.lost} labels")
        return None

    if not path.is_file():
        return set_aside("missing image", "expected in the folder `import.images`")
    try:
        image = read_image(path)
    except (OSError, ValueError) as error:
        return set_aside("unreadable image", str(error))
    if table.shape not in (None, image.shape):
        return set_aside("size mismatch", f"image {image.shape}, labels {table.shape} (height, width)")
    outside = centres_outside(table, image.shape)
    if outside >= max(3, MANY_OUTSIDE * len(table.labels)):
        return set_aside("labels of another image", f"{outside} of {len(table.labels)} centres lie outside the image")
    defects = checked_defects(table, image.shape, settings.names, quarantine)
    if (table.labels or table.lost) and not defects:
        return set_aside("no labels", "none could be used")
    least = settings.min_alignment
    if least is not None and len(defects) >= ENOUGH_LABELS and (fit := alignment(image, defects)) < least:
        return set_aside("labels of another image", f"alignment {fit:.1f} is under `min_alignment` {least}")
    return Micrograph(micrograph_id, image, tuple(defects), image.shape)


def _calibrated(
    micrograph: Micrograph,
    table: LabelTable,
    path: Path,
    calibrations: Mapping[str, Calibration],
    quarantine: Quarantine,
) -> Micrograph:
    known = calibration_of(table.file_name, calibrations)
    if known.nm_per_px is None:
        known = known._replace(nm_per_px=nm_per_px_in_metadata(path))
    if known.nm_per_px is None:
        detail = "give nm_per_px in the table `import.calibration`"
        quarantine.add(table.file_name, "", "no calibration", "kept", detail)
    return replace(micrograph, **known._asdict())


def _fitted(micrograph: Micrograph, table: LabelTable, max_side: int | None, quarantine: Quarantine) -> Micrograph:
    small = micrograph
    while max_side and max(small.shape) > max_side:
        small = halved(small)
    lost = len(micrograph.defects) - len(small.defects)
    if lost:
        quarantine.add(table.file_name, f"{lost} labels", "bad shape", "set aside", f"no px left at {small.shape} px")
    return small
