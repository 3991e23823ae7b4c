"""VGG Image Annotator (robots.ox.ac.uk/~vgg/software/via): project and annotation files of versions 1 and 2.

Positions are px from the upper left corner; an ellipse is turned by `theta`
radians, clockwise as one sees it, as the canvas draws it. The files state no
sizes of images. Files of version 3 are in `via3`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tem_data.coco.faults import Fault, shown
from tem_data.core.files import read_json, read_table
from tem_data.formats import drawing, via3
from tem_data.formats.reading import (
    a_list,
    an_object,
    image_name,
    image_tables,
    label_files,
    label_table,
    numbered,
    parsed,
    read_each,
)
from tem_data.formats.via3 import class_of
from tem_data.importing.labels import Ellipse, Label, LabelTable, Rings
from tem_data.importing.quarantine import Quarantine

EXPECTED = "a VIA project or annotation file (JSON or CSV)"
CSV_COLUMNS = ("region_count", "region_shape_attributes", "region_attributes")
RADII = {"circle": ("r", "r"), "ellipse": ("rx", "ry")}


def is_via(content: Any) -> bool:
    """Whether parsed JSON is a VIA project or annotation file, of version 1, 2 or 3."""
    if via3.is_via3(content):
        return True
    return isinstance(content, dict) and (
        isinstance(content.get("_via_img_metadata"), dict)
        or any(isinstance(entry, dict) and {"filename", "regions"} <= set(entry) for entry in content.values())
    )


def read_via(path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of each image of a VIA file, JSON or CSV, or of those in a folder; images without regions have none.

    What cannot be read goes to the quarantine. Raises TemDataError where there is no file.
    """
    return read_each(label_files(path, (".json", ".csv"), EXPECTED), lambda file: _tables(file, quarantine), quarantine)


def _tables(path: Path, quarantine: Quarantine) -> list[LabelTable]:
    if path.suffix.lower() == ".csv":
        return _csv_tables(path, quarantine)
    content = read_json(path)
    if not is_via(content):
        raise Fault("bad entry", f"expected a VIA project or annotations, found {shown(content)}")
    if via3.is_via3(content):
        return via3.tables(path, content, quarantine)
    images = content.get("_via_img_metadata", content)
    entries = ((f"image {shown(key)}", entry) for key, entry in images.items())
    return image_tables(path, entries, partial(_table, quarantine), quarantine)


def _table(quarantine: Quarantine, entry: Any) -> LabelTable:
    image = an_object(entry, "an image")
    name, regions = image_name(image.get("filename"), "filename"), image.get("regions")
    # version 1 numbers them: {"0": {...}}
    regions = list(regions.values()) if isinstance(regions, dict) else a_list(regions, "`regions`")
    return label_table(name, numbered("region", regions), _label, quarantine)


def _label(item: str, entry: Any) -> Label:
    region = an_object(entry, "a region")
    outline = _outline(an_object(region.get("shape_attributes"), "`shape_attributes`"))
    return Label(item, class_of(an_object(region.get("region_attributes"), "`region_attributes`")), outline)


def _outline(shape: Mapping[str, Any]) -> Ellipse | Rings:
    kind = shape.get("name")
    if kind == "polygon":
        across, down = (a_list(shape.get(field), f"`{field}`") for field in ("all_points_x", "all_points_y"))
        if len(across) != len(down):
            raise Fault("bad shape", f"{len(across)} x and {len(down)} y of points")
        return drawing.polygon([list(point) for point in zip(across, down, strict=True)])
    if kind in ("rect", "rectangle"):
        left, top, width, height = _values(shape, "x", "y", "width", "height")
        return drawing.rectangle(left, top, left + width, top + height)
    if kind in ("circle", "ellipse"):
        x, y, radius_x, radius_y = _values(shape, "cx", "cy", *RADII[kind])
        theta = _values(shape, "theta")[0] if shape.get("theta") is not None else 0.0
        return drawing.ellipse(x, y, radius_x, radius_y, float(np.rad2deg(theta)))
    raise Fault("bad shape", f"a shape {shown(kind)} {drawing.NO_AREA}")


def _values(shape: Mapping[str, Any], *fields: str) -> list[float]:
    return drawing.coordinates([shape.get(field) for field in fields], ", ".join(fields), len(fields))


def _csv_tables(path: Path, quarantine: Quarantine) -> list[LabelTable]:
    images: dict[str, list[dict[str, str]]] = {}
    for row in read_table(path, CSV_COLUMNS):
        images.setdefault(row.get("filename") or row.get("#filename", ""), []).append(row)
    entries = ((f"image {shown(name)}", (name, rows)) for name, rows in images.items())

    def table(entry: tuple[str, list[dict[str, str]]]) -> LabelTable:
        name, rows = entry
        regions = [row for row in rows if row["region_count"].strip() != "0"]
        return label_table(image_name(name, "filename"), numbered("region", regions), _csv_label, quarantine)

    return image_tables(path, entries, table, quarantine)


def _csv_label(item: str, row: Mapping[str, str]) -> Label:
    fields = {"shape_attributes": "region_shape_attributes", "region_attributes": "region_attributes"}
    return _label(item, {field: parsed(row[column]) for field, column in fields.items()})
