"""CVAT for images 1.1 (docs.cvat.ai, "CVAT for image"): XML with the shapes of each image.

Positions are px from the upper left corner; ellipses are turned clockwise, in
degrees. A mask is the lengths of runs, background first, row by row in its box.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from tem_data.coco.faults import Fault, shown
from tem_data.core.rle import finite, whole
from tem_data.formats import drawing
from tem_data.formats.reading import (
    LONGEST_SIDE,
    class_name,
    image_name,
    image_shape,
    image_tables,
    label_files,
    label_table,
    read_each,
)
from tem_data.importing.labels import Ellipse, Label, LabelTable, Pixels, Rings
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.tables import number

EXPECTED = "an XML file of CVAT for images 1.1"
MOST_PX = 2**28
NO_SHAPE = ("tag", "attribute")


def read_cvat(path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of each image of a CVAT file, or of those in a folder.

    What cannot be read goes to the quarantine. Raises TemDataError where there is no file.
    """
    return read_each(label_files(path, (".xml",), EXPECTED), lambda file: _tables(file, quarantine), quarantine)


def _tables(path: Path, quarantine: Quarantine) -> list[LabelTable]:
    root = _root(path.read_bytes())
    images = root.findall("image")
    tracks = len(root.findall("track"))
    if root.tag != "annotations" or (tracks and not images):
        found = f"{tracks} tracks of a video" if tracks else f"<{root.tag}>"
        raise Fault("bad entry", f"expected {EXPECTED}, found {found}; export in the format CVAT for images 1.1")
    if tracks:
        detail = f"{tracks} tracks of a video; export in the format CVAT for images 1.1"
        quarantine.add(path.name, f"{tracks} tracks", "bad entry", "set aside", detail)
    entries = ((f"image {place}", image) for place, image in enumerate(images, 1))
    return image_tables(path, entries, partial(_table, quarantine), quarantine)


def _root(content: bytes) -> ElementTree.Element:
    """The tree of an XML file without entities of its own, which could be of any size."""
    checker = expat.ParserCreate()
    checker.StartDoctypeDeclHandler = _refuse
    try:
        checker.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise Fault("bad entry", f"not an XML file that can be read ({error})") from error


def _refuse(*_: Any) -> NoReturn:
    raise Fault("bad entry", "it declares a document type, as CVAT never does; remove that")


def _table(quarantine: Quarantine, image: ElementTree.Element) -> LabelTable:
    name = image_name(image.get("name"), "name")
    counts: dict[str, int] = {}
    entries = []
    for shape in image:
        if shape.tag not in NO_SHAPE:
            counts[shape.tag] = counts.get(shape.tag, 0) + 1
            entries.append((f"{shape.tag} {counts[shape.tag]}", shape))
    size = image_shape(number(image.get("height")), number(image.get("width")))
    return label_table(name, entries, partial(_label, size), quarantine, size)


def _label(size: tuple[int, int] | None, item: str, shape: ElementTree.Element) -> Label:
    return Label(item, class_name(shape.get("label")), _outline(shape, size))


def _outline(shape: ElementTree.Element, size: tuple[int, int] | None) -> Ellipse | Pixels | Rings:
    kind, values = shape.tag, shape.attrib
    if kind == "polygon":
        return drawing.polygon([_numbers(point, ",") for point in values.get("points", "").split(";") if point.strip()])
    if kind == "ellipse":
        x, y, radius_x, radius_y, turn = _values({"rotation": "0"} | values, "cx", "cy", "rx", "ry", "rotation")
        return drawing.ellipse(x, y, radius_x, radius_y, turn)
    if kind == "mask":
        return _pixels(values, size)
    if kind == "box":
        raise Fault("only a box", "has a box and no outline; draw its outline")
    raise Fault("bad shape", f"a shape <{shown(kind)[1:-1]}> {drawing.NO_AREA}")


def _numbers(text: str, separator: str) -> list[float]:
    return [number(part) for part in text.split(separator)]


def _values(values: Mapping[str, str], *fields: str) -> list[float]:
    return drawing.coordinates([number(values.get(field)) for field in fields], ", ".join(fields), len(fields))


def _pixels(values: Mapping[str, str], size: tuple[int, int] | None) -> Pixels:
    left, top, width, height = (whole(number(values.get(name))) for name in ("left", "top", "width", "height"))
    if left is None or top is None or not (width and height and 0 < width < LONGEST_SIDE and 0 < height < LONGEST_SIDE):
        raise Fault("bad shape", "expected left, top, width and height of a mask as whole numbers of px")
    runs = _numbers(values.get("rle", ""), ",")
    if width * height > MOST_PX or max(abs(left), abs(top)) > drawing.FARTHEST_PX:
        raise Fault("bad shape", f"a mask of {width} × {height} px at ({left}, {top})")
    if not all(finite(run) and run >= 0 and run == int(run) for run in runs) or sum(runs) != width * height:
        raise Fault("bad shape", f"expected run lengths that sum to {width} × {height} px; the mask is damaged")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, np.array(runs, np.int64)).reshape(height, width)
    return Pixels(mask, left, top, size)
