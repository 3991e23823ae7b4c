"""The labels of a dataset folder as those of a COCO ground truth, with the calibration that it holds."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tem_data.coco.faults import Faults
from tem_data.coco.labels import IGNORE
from tem_data.coco.reading import Category, CocoFile, Image, Instance, read_truth
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import read_classes, read_dataset
from tem_data.importing.labels import RunLengths
from tem_data.importing.tables import Calibration


class Truth(NamedTuple):
    """The labels, and the calibration of each image, by file name, that stands with them."""

    file: CocoFile
    calibrations: dict[str, Calibration]


def truth_at(path: str | os.PathLike, faults: Faults, file_names: bool = False, masks: bool = True) -> Truth:
    """A COCO ground truth with sizes, or a dataset folder of whole micrographs.

    Raises TemDataError as `read_truth` and `read_dataset` do, and for a folder of patches.
    """
    if not Path(path).is_dir():
        return Truth(read_truth(faults, file_names, sizes=True, masks=masks), {})
    classes = read_classes(path)
    categories = {name: Category(name, name) for name in (*classes.names, *IGNORE)}
    file = CocoFile({}, categories, {}, Counter())
    calibrations = {}
    for m in read_dataset(path):
        key = m.micrograph_id
        if key in file.images:
            raise TemDataError(f"{path}: {key} is there more than once; give whole micrographs, not patches")
        file.images[key] = Image(key, key, m.shape)
        file.instances[key] = _instances(m, classes.ignored)  # type: ignore[index]  # a dict here
        calibrations[key] = Calibration(m.nm_per_px, m.thickness_nm, m.specimen)
    return Truth(file, calibrations)


def _instances(micrograph: Micrograph, ignored: tuple[str, ...]) -> list[Instance]:
    return [
        Instance(
            f"{micrograph.micrograph_id}: object {number}",
            IGNORE[0] if defect.category in ignored else defect.category,
            RunLengths(defect.rle(*micrograph.shape)["counts"], micrograph.shape),
            list(map(float, defect.bbox)),
            crowd=defect.ignore,
        )
        for number, defect in enumerate(micrograph.defects, 1)
    ]
