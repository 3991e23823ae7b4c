"""COCO files of our own: ground truth, and results with its ids."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.core.micrograph import Defect, Micrograph, defect_from_rle
from tem_data.core.schema import Classes


def coco_truth(micrographs: Sequence[Micrograph], classes: Classes, file_names: Sequence[str] | None = None) -> dict:
    """Plain COCO ground truth; image ids count from 1, ignored labels are categories of their own.

    Without `file_names` patches are named after their micrograph and place.
    """
    file_names = file_names or [f"{m.micrograph_id}_{m.x}_{m.y}.png" for m in micrographs]
    annotations: list[dict] = []
    for image_id, micrograph in enumerate(micrographs, 1):
        for defect in micrograph.defects:
            ignored = defect.ignore and defect.category not in classes.ignored
            annotations.append(
                _instance(defect, image_id, micrograph, classes)
                | {"id": len(annotations) + 1, "area": defect.area, "iscrowd": int(ignored)}
            )
    images = [
        {"id": image_id, "file_name": name, "width": m.shape[1], "height": m.shape[0]}
        for image_id, (m, name) in enumerate(zip(micrographs, file_names, strict=True), 1)
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(classes.labels, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_results(found: Sequence[Sequence[Defect]], micrographs: Sequence[Micrograph], classes: Classes) -> list[dict]:
    """Plain COCO results of the defects found on each of `micrographs`, with the ids of `coco_truth`."""
    return [
        _instance(defect, image_id, micrograph, classes) | {"score": defect.score}
        for image_id, (defects, micrograph) in enumerate(zip(found, micrographs, strict=True), 1)
        for defect in defects
    ]


def read_results(path: str | os.PathLike, classes: Sequence[str], count: int) -> list[list[Defect]]:
    """The defects of `coco_results` on each of its `count` micrographs.

    Raises TemDataError for an id that is none of theirs, as where the classes or patches changed since.
    """
    found: list[list[Defect]] = [[] for _ in range(count)]
    for place, item in enumerate(read_json(path)):
        for field, last in (("image_id", count), ("category_id", len(classes))):
            if not 1 <= item[field] <= last:
                raise TemDataError(
                    f"{path}: item {place}: expected `{field}` to be 1 to {last}, found {item[field]}; predict again"
                )
        category = classes[item["category_id"] - 1]
        found[item["image_id"] - 1].append(defect_from_rle(category, item["segmentation"], score=item["score"]))
    return found


def _instance(defect: Defect, image_id: int, micrograph: Micrograph, classes: Classes) -> dict:
    return {
        "image_id": image_id,
        "category_id": classes.labels.index(defect.category) + 1,
        "bbox": list(defect.bbox),
        "segmentation": defect.rle(*micrograph.shape),
    }
