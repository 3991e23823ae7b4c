"""Find the defects on every image of a folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from tqdm import tqdm

from tem_data.coco.ids import truth_ids
from tem_data.coco.writing import coco_results, coco_truth
from tem_data.core.errors import TemDataError
from tem_data.core.files import write_json
from tem_data.core.micrograph import Micrograph, count_by_class
from tem_data.core.schema import Classes
from tem_data.detection.model import Detector
from tem_data.detection.prediction import predict_halved
from tem_data.figures.pictures import overlay
from tem_data.images.reading import files_by_stem, read_image


def predict_folder(
    detector: Detector,
    images: str | os.PathLike,
    out: str | os.PathLike,
    tile: int,
    threshold: float,
    pictures: str | os.PathLike | None = None,
    max_side: int | None = None,
    truth: str | os.PathLike | None = None,
) -> dict[str, dict[str, int]]:
    """Finds the defects on every image of a folder; returns how many of each class on each.

    Images larger than `max_side` px are searched halved, as `import` halves
    them; masks are of the image's own px. Writes COCO results to `out`, and,
    where `pictures` names a folder, each image with its defects drawn in. The
    results have the image and category ids of `truth`, a COCO ground truth of
    these file names and classes, or else those of `{out}.images.json`, which
    is written then. Raises TemDataError for an image that cannot be read or
    that `truth` does not name.
    """
    classes, micrographs = Classes(detector.classes), []
    paths = [path for same_stem in files_by_stem(images).values() for path in same_stem]
    names = [path.name for path in paths]
    ids = truth_ids(truth, names, classes.names) if truth else None
    if ids and ids.others:
        print(f"warning: {ids.others} images of {truth} are not in {images}; `score` counts their defects as missed")
    for path in tqdm(paths, "micrographs"):
        micrograph = _read(path)
        found = predict_halved(detector, micrograph, tile, max_side)
        micrographs.append(replace(micrograph, image=None, defects=tuple(d for d in found if d.score >= threshold)))
        if pictures:
            image = cast(np.ndarray, micrograph.image)
            overlay(Path(pictures, f"{path.name}.png"), image, micrographs[-1].defects, detector.classes)
    write_json(out, coco_results([m.defects for m in micrographs], micrographs, classes, ids))
    if not ids:
        empty = [replace(m, defects=()) for m in micrographs]
        write_json(f"{out}.images.json", coco_truth(empty, classes, names))
    return {m.micrograph_id: count_by_class([m]) for m in micrographs}


def _read(path: Path) -> Micrograph:
    try:
        image = read_image(path).pixels
    except (OSError, ValueError) as error:
        raise TemDataError(f"{path}: cannot be read as an image ({error}); take it out of the folder") from error
    return Micrograph(path.name, image, (), image.shape)
