"""Measurements of plain COCO files of whole micrographs: labels, and the results of whatever detector."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tem_data.coco.faults import Faults
from tem_data.coco.labels import IGNORE, Meaning, counted_categories, micrographs_of
from tem_data.coco.reading import read_found, read_truth
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.importing.tables import calibration_of, read_calibrations
from tem_data.materials.hardening import Materials
from tem_data.materials.measuring import Measurement, measure
from tem_data.scoring.matching import Rule


class CocoMeasurement(NamedTuple):
    """The measurement, what was odd in the files, counted, and whether there are any truths to compare with."""

    measurement: Measurement
    warnings: tuple[str, ...]
    labelled: bool


def measure_coco(
    truth_path: str | os.PathLike,
    predictions_path: str | os.PathLike | None,
    calibration_path: str | os.PathLike,
    materials: Materials = Materials(),
    rule: Rule = Rule(),
    threshold: float = 0.5,
    ignore: Sequence[str] = IGNORE,
    frame: bool = False,
    classes: Mapping[str, Sequence[str]] | None = None,
) -> CocoMeasurement:
    """Measure a COCO ground truth and, if given, COCO results of at least `threshold` against it.

    A ground truth without annotations just lists the images of the results.
    `calibration_path` is a table as `import` reads it (file_name, nm_per_px,
    thickness_nm). `classes` gives each class its names in the files; without,
    these are the classes. Otherwise as `score_coco` and `measure`, but every defect
    needs a mask, and one without area is left out. Raises TemDataError as these
    do, for an image without a file name of its own, and for a category that
    neither `classes` nor `ignore` names.
    """
    warnings: Counter[str] = Counter()
    faults = Faults(truth_path, warnings=warnings)
    truth = read_truth(faults, file_names=True, sizes=True)
    names = counted_categories(truth, ignore, truth_path)
    meaning = _meaning(names, classes, truth_path)
    images = _calibrated(micrographs_of(truth, meaning, faults), calibration_path, warnings)
    labelled = any(truth.instances.values())
    found = None
    if predictions_path is not None:
        faults = Faults(predictions_path)
        results = read_found(truth, faults)
        predicted = micrographs_of(results, meaning, faults, threshold)
        found = [tuple(d for d in m.defects if not d.ignore) for m in predicted]
        # of those without area the line below tells
        warnings.update({text: n for text, n in faults.warnings.items() if not text.startswith("truths")})
        sure = sum(instance.score >= threshold for of_image in results.instances.values() for instance in of_image)
        if left_out := sure - sum(map(len, found)):
            warnings["predictions of an ignored category or without area, left out"] = left_out
    measured = measure(images, found, tuple(classes or names), materials, rule, frame)
    texts = tuple(f"{text}: {number}" for text, number in warnings.items())
    return CocoMeasurement(measured, texts, labelled or found is None)


def _meaning(names: Sequence[str], classes: Mapping[str, Sequence[str]] | None, path: str | os.PathLike) -> Meaning:
    """What a category stands for: the one of `classes` that gives its name, else itself; ignored if not in `names`."""
    index = {alias: name for name in classes for alias in classes[name]} if classes else {name: name for name in names}
    if unknown := [name for name in names if name not in index]:
        raise TemDataError(
            f"{path}: categories {unknown} are of no class; name them among the classes or the ignored ones"
        )
    return lambda category: (index[category], False) if category in names else ("", True)


def _calibrated(micrographs: Sequence[Micrograph], path: str | os.PathLike, warnings: Counter[str]) -> list[Micrograph]:
    calibrations = read_calibrations(path)
    found = [calibration_of(calibrations, m.micrograph_id) for m in micrographs]
    if unused := [name for name, row in calibrations.items() if not any(row is used for used in found)]:
        warnings[f"rows of {path} that name none of the images, as {unused[0]!r}"] = len(unused)
    return [replace(m, **row._asdict()) for m, row in zip(micrographs, found, strict=True)]
