"""Measurements of COCO files of whole micrographs: labels, and the results of whatever detector."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from tem_data.coco.datasets import truth_at
from tem_data.coco.faults import Faults
from tem_data.coco.labels import IGNORE, Meaning, counted_categories, micrographs_of
from tem_data.coco.reading import TRUTH, CocoFile, read_content
from tem_data.coco.results import Cut, holds_found, read_found, read_whole
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.images.reading import Picture, SeveralPlanes, read_image
from tem_data.importing.matching import ImageFolder
from tem_data.importing.tables import Calibration, calibration_of, read_calibrations
from tem_data.materials.hardening import Materials
from tem_data.materials.measuring import Measurement, measure
from tem_data.scoring.matching import Rule

FilePath = str | os.PathLike


class CocoMeasurement(NamedTuple):
    """The measurement, what was odd in the files, counted, and which of the sides true and predicted there are."""

    measurement: Measurement
    warnings: tuple[str, ...]
    sides: dict[str, bool]


class _Files(NamedTuple):
    """What is measured; `results` and `cut` are None without predictions. `calibrations` stand with the labels."""

    truth: CocoFile
    results: CocoFile | None
    cut: Cut | None
    labelled: bool
    calibrations: Mapping[str, Calibration]


def measure_coco(
    truth_path: FilePath,
    predictions_path: FilePath | None = None,
    calibration_path: FilePath | None = None,
    materials: Materials = Materials(),
    rule: Rule = Rule(),
    threshold: float | None = None,
    ignore: Sequence[str] = IGNORE,
    frame: bool = False,
    classes: Mapping[str, Sequence[str]] | None = None,
    images_path: FilePath | None = None,
) -> CocoMeasurement:
    """Measure the labels of a COCO file or dataset folder, and predictions against them.

    Predictions are those of at least `threshold`; None: what their file records, else 0.5.

    A COCO file without annotations just lists the images of the predictions;
    what is true is not known then. One of predictions needs no other. An image
    without labels is free of defects where others are labelled. Calibrations
    come from the table `calibration_path`, as `import` reads it (file_name,
    nm_per_px, thickness_nm), before the image files in the folder `images_path`, before
    the dataset folder. `classes` gives each class its names in the files; without,
    these are the classes. Otherwise as `score_coco` and `measure`, but every defect
    needs a mask, and one without area is left out. Raises TemDataError as these
    do, for an image without a file name of its own, and for a category that
    neither `classes` nor `ignore` names.
    """
    warnings: Counter[str] = Counter()
    faults, found_faults = Faults(truth_path, warnings=warnings), Faults(predictions_path or truth_path)
    files = _read(faults, found_faults, predictions_path is not None)
    names = counted_categories(files.truth, ignore, truth_path)
    meaning = _meaning(names, classes, truth_path)
    images = _calibrated(micrographs_of(files.truth, meaning, faults), files, calibration_path, images_path, warnings)
    bare = [image.file_name for key, image in files.truth.images.items() if not files.truth.instances[key]]
    if files.labelled and bare:
        warnings[f"images without a label, which count as free of defects, as {bare[0]!r}"] = len(bare)
    found, least = None, None
    if files.results is not None and files.cut is not None:
        least = files.cut.chosen(threshold)
        predicted = micrographs_of(files.results, meaning, found_faults, least)
        found = [tuple(d for d in m.defects if not d.ignore) for m in predicted]
        # of those without area the line below tells
        warnings.update({text: n for text, n in found_faults.warnings.items() if not text.startswith("truths")})
        sure = sum(instance.score >= least for held in files.results.instances.values() for instance in held)
        if left_out := sure - sum(map(len, found)):
            warnings["predictions of an ignored category or without area, left out"] = left_out
    measured = measure(images, found, tuple(classes or names), materials, rule, frame, files.labelled)
    texts = [f"{text}: {number}" for text, number in warnings.items()]
    below = files.cut.warning(least) if files.cut and least is not None else ""
    measured = measured._replace(summary=measured.summary | {"threshold": least})
    sides = {"true": files.labelled, "predicted": found is not None}
    return CocoMeasurement(measured, tuple(filter(None, [*texts, below])), sides)


def _read(faults: Faults, found_faults: Faults, predicted: bool) -> _Files:
    if not predicted and not Path(faults.path).is_dir() and holds_found(content := _content(faults.path)):
        results, cut = read_whole(content, faults)
        return _Files(results._replace(instances={key: [] for key in results.images}), results, cut, False, {})
    labels, calibrations = truth_at(faults.path, faults, file_names=True)
    labelled = not predicted or any(labels.instances.values())
    if not predicted:
        return _Files(labels, None, None, labelled, calibrations)
    return _Files(*read_found(labels, found_faults), labelled, calibrations)


def _content(path: FilePath) -> dict:
    return read_content(path, dict, TRUTH)


def _meaning(names: Sequence[str], classes: Mapping[str, Sequence[str]] | None, path: str | os.PathLike) -> Meaning:
    """What a category stands for: the one of `classes` that gives its name, else itself; ignored if not in `names`."""
    index = {alias: name for name in classes for alias in classes[name]} if classes else {name: name for name in names}
    if unknown := [name for name in names if name not in index]:
        raise TemDataError(
            f"{path}: categories {unknown} are of no class; name them among the classes or the ignored ones"
        )
    return lambda category: (index[category], False) if category in names else ("", True)


def _calibrated(
    micrographs: Sequence[Micrograph],
    files: _Files,
    table: FilePath | None,
    folder: FilePath | None,
    warnings: Counter[str],
) -> list[Micrograph]:
    rows = read_calibrations(table)
    found = [calibration_of(rows, m.micrograph_id) for m in micrographs]
    if unused := [name for name, row in rows.items() if not any(row is used for used in found)]:
        warnings[f"rows of {table} that name none of the images, as {unused[0]!r}"] = len(unused)
    stored = [Calibration()] * len(micrographs) if folder is None else _of_files(micrographs, folder, warnings)
    return [
        replace(m, **_first((row, in_file, files.calibrations.get(m.micrograph_id, Calibration())))._asdict())
        for m, row, in_file in zip(micrographs, found, stored, strict=True)
    ]


def _first(sources: Iterable[Calibration]) -> Calibration:
    """Of each value the first one that is known."""
    return Calibration(*(next(filter(None, held), held[-1]) for held in zip(*sources, Calibration(), strict=True)))


def _of_files(micrographs: Sequence[Micrograph], path: FilePath, warnings: Counter[str]) -> list[Calibration]:
    """The pixel sizes that the image files state; why one is not known is counted in the warnings."""
    folder = ImageFolder(path)
    found = []
    for micrograph in tqdm(micrographs, "read pixel sizes", leave=False):
        size, why = _nm_per_px(micrograph, folder)
        if why:
            warnings[f"pixel sizes not taken from {path}: {why}"] += 1
        found.append(Calibration(size))
    return found


def _nm_per_px(micrograph: Micrograph, folder: ImageFolder) -> tuple[float | None, str]:
    file, _ = folder.find(micrograph.micrograph_id)
    if file is None:
        return None, "no such image there"
    try:
        picture = _picture(file)
    except (OSError, ValueError) as error:
        return None, f"unreadable ({error})"
    (height, width), (labelled_height, labelled_width) = picture.pixels.shape, micrograph.shape
    # a data bar may be cut off; a picture of another scale has another pixel size
    if width != labelled_width or height < labelled_height:
        return None, "the file has another size in px than its entry, and so another scale"
    return picture.nm_per_px, picture.doubt or ("" if picture.nm_per_px else "the file states none")


def _picture(file: Path) -> Picture:
    try:
        return read_image(file)
    except SeveralPlanes:
        return read_image(file, 1)
