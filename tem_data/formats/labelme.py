"""LabelMe: one JSON file an image (github.com/wkentaro/labelme, labelme/_label_file.py and _shape.py there).

Points are x, y in px from the upper left corner of the image. A circle is its
centre and a point on it, a mask a PNG between its first and last pixel.
Shapes of one label and one `group_id` are parts of one defect.
"""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tem_data.coco.faults import Fault, shown
from tem_data.core.files import read_json, write_json
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.rle import whole
from tem_data.formats import drawing, marks
from tem_data.formats.reading import (
    a_list,
    an_object,
    class_name,
    image_name,
    image_shape,
    label_files,
    label_table,
    numbered,
    read_each,
)
from tem_data.importing.labels import Ellipse, Label, LabelTable, Pixels, Rings, Several
from tem_data.importing.quarantine import Quarantine

VERSION = "5.5.0"
NOT_A_PICTURE = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
EXPECTED = "LabelMe files NAME.json"
SUSPICIOUS = 3  # shapes of one class that are the only ones and parts of one defect


def is_labelme(content: Any) -> bool:
    """Whether parsed JSON is a LabelMe file."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "images" not in content


def read_labelme(path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of a LabelMe file, or of those in a folder.

    What cannot be read goes to the quarantine. Raises TemDataError where there is no file.
    """
    return read_each(label_files(path, (".json",), EXPECTED), lambda file: [_table(file, quarantine)], quarantine)


def _table(path: Path, quarantine: Quarantine) -> LabelTable:
    content = read_json(path)
    if not is_labelme(content):
        raise Fault("bad entry", f"expected LabelMe's list `shapes`, found {shown(content)}")
    try:
        name = image_name(content.get("imagePath"), "imagePath")
    except Fault:
        name = path.stem
    groups: dict[str, Any] = {}

    def label(item: str, entry: Any) -> Label:
        shape = an_object(entry, "a shape")
        groups[item] = _group(shape.get("group_id"))
        outline = _outline(shape)
        proposal = shape.get(marks.KEY)
        return Label(
            item,
            class_name(shape.get("label")),
            outline,
            ignore=_ignored(shape),
            proposal=proposal if isinstance(proposal, str) else "",
        )

    size = _labelled_size(content)
    table = label_table(name, numbered("shape", content["shapes"]), label, quarantine, size)
    _say_one_group(name, table.labels, groups, quarantine)
    return table._replace(labels=_joined(table.labels, groups), **_proposed(content))


def _proposed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Which model proposed how many labels, as `write_labelme` writes it."""
    about = content.get(marks.KEY)
    about = about if isinstance(about, dict) else {}
    by, count = about.get("proposed_by"), whole(about.get("labels"))
    return {"proposed_by": by if isinstance(by, str) else "", "proposed": count or 0}


def _labelled_size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size of the picture within the file, on which the labels lie as LabelMe shows them, else the stated one."""
    stated = image_shape(content.get("imageHeight"), content.get("imageWidth"))
    data = content.get("imageData")
    if not isinstance(data, str) or not data:
        return stated
    try:
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            width, height = picture.size
    except NOT_A_PICTURE:
        return stated
    # a picture of a camera is shown turned
    return stated if stated == (width, height) else (height, width)


def _group(value: Any) -> Any:
    number = whole(value)
    if value is None or isinstance(value, str) or number is not None:
        return value or None if isinstance(value, str) else number
    raise Fault("bad entry", f"expected `group_id` to be a whole number or null, found {shown(value)}")


def _say_one_group(name: str, labels: Sequence[Label], groups: Mapping[str, Any], quarantine: Quarantine) -> None:
    """Note classes whose shapes are all of one group, as some converters write: they become one defect."""
    for category in dict.fromkeys(label.name for label in labels):
        items = [label.item for label in labels if label.name == category]
        group = groups[items[0]]
        if len(items) >= SUSPICIOUS and group is not None and all(groups[item] == group for item in items):
            detail = (
                f"all {len(items)} shapes {shown(category)} have the group_id {shown(group)}, as parts of one defect"
            )
            quarantine.add(name, category, "duplicate id", "joined", detail)


def _ignored(shape: Mapping[str, Any]) -> bool:
    flags = shape.get("flags")
    return isinstance(flags, dict) and flags.get("ignore") is True


def _joined(labels: Sequence[Label], groups: Mapping[str, Any]) -> tuple[Label, ...]:
    """The labels, with those of one class and group as one, in the place of the first."""
    parts: dict[Any, list[Label]] = {}
    for label in labels:
        group = groups[label.item]
        key = label.item if group is None else (label.name, type(group), group)
        parts.setdefault(key, []).append(label)
    return tuple(found[0] if len(found) == 1 else _one(found) for found in parts.values())


def _one(labels: Sequence[Label]) -> Label:
    outline = Several(tuple(label.outline for label in labels))  # type: ignore[misc]  # of `_outline`
    item = " + ".join(label.item for label in labels)
    return Label(item, labels[0].name, outline, ignore=any(label.ignore for label in labels))


def _outline(shape: Mapping[str, Any]) -> Ellipse | Pixels | Rings:
    kind, points = shape.get("shape_type", "polygon"), shape.get("points")
    if kind == "polygon" or kind is None:  # files of LabelMe 3 have none
        return drawing.polygon(points)
    if kind == "circle":
        (x, y), (on_x, on_y) = drawing.points(points, 2)
        radius = float(np.hypot(on_x - x, on_y - y))
        return drawing.ellipse(x, y, radius, radius)
    if kind == "rectangle" and len(a_list(points, "`points`")) == 2:
        (left, top), (right, bottom) = drawing.points(points, 2)
        return drawing.rectangle(left, top, right, bottom)
    if kind in ("rectangle", "oriented_rectangle", "rotation"):  # the last one of X-AnyLabeling
        drawing.points(points, 4)
        return drawing.polygon(points)
    if kind == "mask":
        return _pixels(shape.get("mask"), drawing.points(points, 2))
    raise Fault("bad shape", f"a shape of type {shown(kind)} {drawing.NO_AREA}")


def _pixels(code: Any, corners: Sequence[Sequence[float]]) -> Pixels:
    (left, top), (right, bottom) = np.rint(corners).astype(int).tolist()
    try:
        with Image.open(io.BytesIO(base64.b64decode(code))) as picture:
            width, height = picture.size
            # LabelMe counts the last pixel in, some converters do not
            if (width - (right - left), height - (bottom - top)) not in ((1, 1), (0, 0)):
                size = f"{right - left + 1} × {bottom - top + 1}"
                raise Fault("bad shape", f"a mask of {width} × {height} px for {size} px between its points")
            mask = np.asarray(picture)
    except NOT_A_PICTURE as error:
        raise Fault("bad shape", f"`mask` is no PNG in base64 ({error})") from error
    if mask.ndim == 3:
        raise Fault("bad shape", "`mask` is a colour picture; expected one of 0 and 1")
    return Pixels(mask != 0, left, top)


def write_labelme(
    micrograph: Micrograph,
    path: str | os.PathLike,
    image_name: str,
    ignored: Collection[str] = (),
    proposed_by: str = "",
) -> None:
    """The defects of a micrograph for LabelMe, to the pixel; `image_name` is the image as seen from the file's folder.

    A defect in one part without holes is a polygon along pixel edges, any other
    a mask. One to be ignored has the flag `ignore`, unless its class is one of `ignored`. Labels that a model
    proposed, `proposed_by`, say what they were, so that `import` counts what was corrected.
    """
    content: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": [_shape(defect, ignored, bool(proposed_by)) for defect in micrograph.defects],
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": micrograph.shape[0],
        "imageWidth": micrograph.shape[1],
    }
    if proposed_by:
        content[marks.KEY] = {"proposed_by": proposed_by, "labels": len(micrograph.defects)}
    write_json(path, content)


def _shape(defect: Defect, ignored: Collection[str], proposed: bool) -> dict[str, Any]:
    rings = drawing.traced(defect.mask, defect.x, defect.y)
    x, y, width, height = defect.bbox
    simple = len(rings) == 1
    ignore = defect.ignore and defect.category not in ignored
    mark = {marks.KEY: marks.fingerprint(defect, defect.category, ignore)} if proposed else {}
    return mark | {
        "label": defect.category,
        "points": rings[0].tolist() if simple else [[x, y], [x + width - 1, y + height - 1]],
        "group_id": None,
        "description": "",
        "shape_type": "polygon" if simple else "mask",
        "flags": {"ignore": True} if ignore else {},
        "mask": None if simple else _png(defect.mask),
    }


def _png(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
