"""COCO instances: polygons and run-length codes, compressed or not (cocodataset.org/#format-data)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.core.micrograph import Defect, Micrograph, defect_from_rle
from tem_data.core.rle import to_rle
from tem_data.core.schema import Classes
from tem_data.importing.labels import Label, LabelTable, Pixels, Polygons
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.tables import number

FIELDS = {"images": ("id", "file_name"), "categories": ("id", "name"), "annotations": ("id", "image_id")}


def read_coco(path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of each image entry, also of images without labels.

    Entries of an id or a file that was there before go to the quarantine, and
    so do annotations of an unknown image. Raises TemDataError if the file is
    no COCO JSON.
    """
    return tables_of(coco_content(path, "images", "categories", "annotations"), path, quarantine)


def tables_of(content: Mapping[str, list[dict]], path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """`read_coco` of what was read of the file."""
    names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
    images = _images(content["images"], quarantine)
    labels: dict[Any, list[Label]] = {image_id: [] for image_id in images}
    seen = set()
    for annotation in content["annotations"]:
        item = f"annotation {annotation['id']}"
        image = images.get(annotation["image_id"])
        if image is None:
            detail = f"no usable image entry of id {annotation['image_id']}"
            quarantine.add(Path(path).name, item, "missing image", "set aside", detail)
            continue
        if annotation["id"] in seen:
            quarantine.add(image["file_name"], item, "duplicate id", "kept", "another annotation has the same id")
        seen.add(annotation["id"])
        labels[annotation["image_id"]].append(_label(annotation, item, names))
    return [LabelTable(str(image["file_name"]), tuple(labels[i]), _shape(image)) for i, image in images.items()]


def coco_content(path: str | os.PathLike, *sections: str) -> dict[str, list[dict]]:
    """What a COCO file holds. Raises TemDataError where one of these sections or of their fields is missing."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TemDataError(f"{path}: expected a COCO JSON file ({error})") from error
    for section in sections:
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise TemDataError(f"{path}: expected a list `{section}` as in COCO instances; export it as COCO instances")
        for row, entry in enumerate(entries):
            missing = [name for name in FIELDS[section] if not isinstance(entry, dict) or name not in entry]
            if missing:
                raise TemDataError(f"{path}: {section}[{row}] has no {', '.join(missing)}; add it")
    return content


def results_content(path: str | os.PathLike, truth_path: str | os.PathLike, threshold: float) -> dict[str, list[dict]]:
    """COCO results of at least `threshold`, on the images and with the categories of a ground truth, as a COCO file.

    Raises TemDataError where either is no such file.
    """
    content = coco_content(truth_path, "images", "categories")
    results = read_json(path)
    fields = {"image_id", "category_id", "score"}
    if not isinstance(results, list) or not all(isinstance(r, dict) and fields <= r.keys() for r in results):
        raise TemDataError(f"{path}: expected COCO results, a list of objects with {', '.join(sorted(fields))}")
    sure = [result for result in results if number(result["score"]) >= threshold]
    return content | {"annotations": [result | {"id": place} for place, result in enumerate(sure, 1)]}


def _images(entries: list[dict], quarantine: Quarantine) -> dict[Any, dict]:
    images: dict[Any, dict] = {}
    files = set()
    for entry in entries:
        clash = "id" if entry["id"] in images else "file" if entry["file_name"] in files else ""
        if clash:
            detail = f"another image entry has the same {clash}"
            quarantine.add(entry["file_name"], f"image {entry['id']}", "duplicate id", "set aside", detail)
            continue
        images[entry["id"]] = entry
        files.add(entry["file_name"])
    return images


def _shape(image: Mapping) -> tuple[int, int] | None:
    height, width = number(image.get("height")), number(image.get("width"))
    return (int(height), int(width)) if height > 0 and width > 0 else None


def _label(annotation: Mapping, item: str, names: Mapping[Any, str]) -> Label:
    category = annotation.get("category_id")
    name = "" if category is None else names.get(category, f"category_id {category}")
    area = annotation.get("area")
    return Label(item, name, _outline(annotation.get("segmentation")), area, bool(annotation.get("iscrowd")))


def _outline(segmentation: Any) -> Polygons | Pixels | None:
    """None where there is no shape of at least three points."""
    if isinstance(segmentation, dict):
        try:
            height, width = segmentation["size"]
            defect = defect_from_rle("", to_rle(segmentation, height, width))
        except (KeyError, TypeError, ValueError, TemDataError):
            return None
        return defect and Pixels(defect.mask, defect.x, defect.y, (height, width))
    if not isinstance(segmentation, list):
        return None
    if not segmentation or any(not isinstance(p, list) or len(p) < 6 or len(p) % 2 for p in segmentation):
        return None
    return Polygons(tuple(tuple(map(number, part)) for part in segmentation))


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


class Ids(NamedTuple):
    """The ids that a ground truth gives to images, in their order, and to classes; how many other images it has."""

    images: list[Any]
    categories: dict[str, Any]
    others: int


def truth_ids(path: str | os.PathLike, file_names: Sequence[str], classes: Sequence[str]) -> Ids:
    """The ids of images, by the last part of their file name, and of classes in a COCO ground truth.

    Raises TemDataError where it does not name one of them, or names an image twice.
    """
    content = coco_content(path, "images", "categories")
    images: dict[str, list[Any]] = {}
    for entry in content["images"]:
        images.setdefault(PurePath(str(entry["file_name"])).name, []).append(entry["id"])
    for name in file_names:
        if len(images.get(name, ())) != 1:
            raise TemDataError(
                f"{path}: expected one image {name!r}, found {len(images.get(name, ()))}; "
                "take the image out of the folder, or add it to the ground truth's `images`"
            )
    categories = {str(entry["name"]): entry["id"] for entry in content["categories"]}
    if missing := [name for name in classes if name not in categories]:
        raise TemDataError(
            f"{path}: the detector's {', '.join(missing)} is none of its categories {', '.join(categories)}; "
            "name them as the detector does"
        )
    return Ids([images[name][0] for name in file_names], categories, len(images) - len(file_names))


def coco_results(
    found: Sequence[Sequence[Defect]], micrographs: Sequence[Micrograph], classes: Classes, ids: Ids | None = None
) -> list[dict]:
    """Plain COCO results of the defects found on each of `micrographs`, with `ids`, or those of `coco_truth`."""
    results = []
    for place, (defects, micrograph) in enumerate(zip(found, micrographs, strict=True)):
        for defect in defects:
            result = _instance(defect, place + 1, micrograph, classes) | {"score": defect.score}
            own = ids and {"image_id": ids.images[place], "category_id": ids.categories[defect.category]}
            results.append(result | (own or {}))
    return results


def read_results(path: str | os.PathLike, classes: Sequence[str], count: int) -> list[list[Defect]]:
    """The defects of `coco_results` that was given no ids, on each of its `count` micrographs."""
    found: list[list[Defect]] = [[] for _ in range(count)]
    for item in read_json(path):
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
