"""RoiSets that ImageJ's ROI Manager opens, and `read_rois` reads back to the pixel."""

from __future__ import annotations

import os
import re
import zipfile

import numpy as np
from roifile import ROI_TYPE, ImagejRoi

from tem_data.core.files import atomic_write
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.schema import Classes
from tem_data.figures.style import COLOURS
from tem_data.formats.drawing import traced
from tem_data.formats.imagej import IGNORED
from tem_data.formats.marks import Mark, fingerprint

VERSION = 227  # of ImageJ 1.52; a later one opens it too
LARGEST_GROUP = 255
SAME_DATE = (1980, 1, 1, 0, 0, 0)  # so that the same labels give the same bytes


def write_rois(micrograph: Micrograph, path: str | os.PathLike, classes: Classes, proposed_by: str = "") -> None:
    """The defects of a micrograph as a RoiSet `path` (.zip): regions along pixel edges, named `0001-CLASS`.

    The group of a region is the number of its class, from 1, and each class has
    a colour. " (ignored)" marks a defect to be ignored of a class that counts. The properties of a region say what it
    was, and which model proposed it.
    """
    with atomic_write(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, defect in enumerate(micrograph.defects, 1):
            roi = _region(defect)
            ignored = defect.ignore and defect.category not in classes.ignored
            roi.name = f"{number:04d}-{defect.category}{IGNORED if ignored else ''}"
            place = classes.labels.index(defect.category)
            roi.group = place + 1 if place < LARGEST_GROUP else 0
            written = fingerprint(defect, defect.category, ignored)
            roi.props = Mark(written, len(micrograph.defects), roi.group, defect.category, proposed_by).line()
            roi.stroke_color = bytes.fromhex("ff" + COLOURS[place % len(COLOURS)].removeprefix("#"))
            entry = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", roi.name)
            archive.writestr(zipfile.ZipInfo(f"{entry}.roi", SAME_DATE), roi.tobytes(), zipfile.ZIP_DEFLATED)


def _region(defect: Defect) -> ImagejRoi:
    rings = traced(defect.mask, defect.x, defect.y)
    x, y, width, height = defect.bbox
    roi = ImagejRoi(version=VERSION, left=x, top=y, right=x + width, bottom=y + height)
    if len(rings) == 1:
        roi.roitype = ROI_TYPE.TRACED
        roi.n_coordinates = len(rings[0])
        roi.integer_coordinates = (rings[0] - (x, y)).astype(np.int32)
        return roi
    roi.roitype = ROI_TYPE.RECT
    # each ring: move to its first point (0), lines to the others (1), close it (4)
    steps = [[0 if place == 0 else 1, *corner] for ring in rings for place, corner in enumerate(ring.tolist())]
    ends = np.cumsum([len(ring) for ring in rings])
    path: list[float] = []
    for place, step in enumerate(steps, 1):
        path += [*step, 4] if place in ends else step
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi
