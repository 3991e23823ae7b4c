"""Measurements of plain COCO files of whole micrographs: labels, and the results of whatever detector."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, defect_from_rle
from tem_data.importing.micrographs import Calibration, read_calibrations
from tem_data.materials.hardening import Materials
from tem_data.materials.measuring import Measurement, measure
from tem_data.scoring.coco import (
    IGNORE,
    RESULTS,
    TRUTH,
    Vocabulary,
    prediction_labels,
    read_content,
    truth_labels,
    vocabulary_of,
)
from tem_data.scoring.labels import Labels
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
    truth = read_content(truth_path, dict, TRUTH)
    vocabulary = _renamed(vocabulary_of(truth, truth_path, ignore), classes, truth_path)
    file_names = _file_names(truth["images"], truth_path)
    truths = truth_labels(truth["annotations"], vocabulary, truth_path, "mask", warnings)
    images = _micrographs(truths, file_names, read_calibrations(str(calibration_path)), vocabulary)
    found = None
    if predictions_path is not None:
        results = read_content(predictions_path, list, RESULTS)
        predictions = prediction_labels(results, vocabulary, predictions_path, "mask", Counter())
        found = [_defects(predictions[name], vocabulary.classes, threshold) for name in truths]
        left_out = sum(int((labels.scores >= threshold).sum()) for labels in predictions.values())
        if left_out := left_out - sum(map(len, found)):
            warnings["predictions of an ignored category or without area, left out"] = left_out
    measured = measure(images, found, vocabulary.classes, materials, rule, frame)
    labelled = bool(truth["annotations"]) or found is None
    return CocoMeasurement(measured, tuple(f"{text}: {number}" for text, number in warnings.items()), labelled)


def _renamed(
    vocabulary: Vocabulary, classes: Mapping[str, Sequence[str]] | None, path: str | os.PathLike
) -> Vocabulary:
    if not classes:
        return vocabulary
    names = tuple(classes)
    index = {alias: k for k, name in enumerate(names) for alias in classes[name]}
    if unknown := [name for name in vocabulary.classes if name not in index]:
        raise TemDataError(f"{path}: categories {unknown} are of no class; name them in --classes or in --ignore")
    categories = {key: k if k < 0 else index[vocabulary.classes[k]] for key, k in vocabulary.categories.items()}
    return replace(vocabulary, categories=categories, classes=names)


def _file_names(images: Sequence[Mapping[str, Any]], path: str | os.PathLike) -> dict[str, str]:
    names = {str(image["id"]): image.get("file_name") for image in images}
    for image_id, name in names.items():
        if not isinstance(name, str) or not name:
            raise TemDataError(f"{path}: image id {image_id}: expected its `file_name`, found {name!r}; add it")
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise TemDataError(f"{path}: file name {twice[0]!r} is there twice; name each image once")
    return names


def _micrographs(
    truths: Mapping[str, Labels],
    file_names: Mapping[str, str],
    calibrations: Mapping[str, Calibration],
    vocabulary: Vocabulary,
) -> list[Micrograph]:
    images = []
    for image_id, labels in truths.items():
        name = file_names[image_id]
        known = calibrations.get(name) or calibrations.get(os.path.basename(name)) or Calibration()
        defects = _defects(labels, vocabulary.classes, keep_ignored=True)
        images.append(Micrograph(name, None, defects, vocabulary.sizes[image_id], **known._asdict()))
    return images


def _defects(
    labels: Labels, classes: Sequence[str], threshold: float = 0.0, keep_ignored: bool = False
) -> tuple[Defect, ...]:
    each = zip(labels.category.tolist(), labels.rles, labels.ignore.tolist(), labels.scores.tolist(), strict=True)
    defects = (
        defect_from_rle("" if ignored else classes[category], code, ignored, score)
        for category, code, ignored, score in each
        if score >= threshold and (keep_ignored or not ignored)
    )
    return tuple(d for d in defects if d is not None)
