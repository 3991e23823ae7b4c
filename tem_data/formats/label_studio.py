"""Label Studio's JSON export: a list of tasks, each with its annotations (labelstud.io/guide/export, "JSON").

Positions and radii are in percent of the image's width and height; an ellipse
is turned clockwise about its centre, in degrees. What is painted with the brush
is in `brush`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tem_data.coco.faults import Fault, path_of, shown
from tem_data.core.files import read_json
from tem_data.formats import drawing
from tem_data.formats.brush import painted
from tem_data.formats.reading import (
    a_list,
    an_object,
    class_name,
    image_name,
    image_shape,
    image_tables,
    label_files,
    label_table,
    numbered,
    read_each,
)
from tem_data.images.reading import IMAGE_SUFFIXES
from tem_data.importing.labels import Ellipse, Label, LabelTable, Pixels, Rings
from tem_data.importing.quarantine import Quarantine

EXPECTED = "a JSON export of Label Studio"
ANNOTATIONS = ("annotations", "completions")
KINDS = ("polygon", "ellipse", "rectangle", "brush", "keypoint")
NO_SHAPE = ("labels", "choices", "textarea", "rating", "number", "taxonomy", "datetime", "relation")
UPLOADED = re.compile(r"[0-9a-f]{8}-")


def is_label_studio(content: Any) -> bool:
    """Whether parsed JSON is a task of Label Studio, or a list of them."""
    return any(
        isinstance(task, dict) and isinstance(task.get("data"), dict) and any(name in task for name in ANNOTATIONS)
        for task in (content if isinstance(content, list) else [content])
    )


def read_label_studio(path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of each annotated task of a JSON export, or of those in a folder.

    Of several annotations of a task the one updated last counts; cancelled ones
    do not, and a task without any is set aside: nobody has looked at it. What
    cannot be read goes to the quarantine. Raises TemDataError where there is no
    file.
    """
    return read_each(label_files(path, (".json",), EXPECTED), lambda file: _tables(file, quarantine), quarantine)


def _tables(path: Path, quarantine: Quarantine) -> list[LabelTable]:
    content = read_json(path)
    if not is_label_studio(content):
        raise Fault("bad entry", f"expected a list of tasks of Label Studio, found {shown(content)}")
    tasks = content if isinstance(content, list) else [content]
    return image_tables(path, numbered("task", tasks), partial(_table, quarantine), quarantine)


def _table(quarantine: Quarantine, entry: Any) -> LabelTable:
    task = an_object(entry, "a task")
    name = _file_name(an_object(task.get("data"), "`data`"))
    results = a_list(_annotation(task, name, quarantine).get("result"), "`result`")
    drawn = [pair for pair in numbered("result", results) if not _only_class(pair[1])]
    shape = _shape(name, [result for _, result in drawn if isinstance(result, dict)])
    return label_table(name, drawn, partial(_label, dict(_classes(results))), quarantine, shape)


def _shape(name: str, regions: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """The size that regions state of their image; raises Fault where they are of several images or sizes."""
    pictures = {picture for region in regions if isinstance(picture := region.get("to_name"), str)}
    if len(pictures) > 1:
        several = ", ".join(map(shown, sorted(pictures)))
        raise Fault("bad entry", f"{name}: its regions lie on several images, {several}; label one image a task")
    sizes = {size for region in regions if (size := _size(region))}
    if len(sizes) > 1:
        stated = ", ".join(map(str, sorted(sizes)))
        raise Fault("size mismatch", f"{name}: its regions were drawn on images of the sizes {stated} (height, width)")
    return sizes.pop() if sizes else None


def _file_name(data: Mapping[str, Any]) -> str:
    """The name in the first value of a task's data that names an image, as an address or a path."""
    for value in data.values():
        if not isinstance(value, str):
            continue
        try:
            address = urlsplit(value.strip())
            local = address.path.endswith("local-files/")
            path = (path_of(value) if local else unquote(address.path)).replace("\\", "/")
        except ValueError:
            continue
        name = path.rsplit("/", 1)[-1]
        if name.lower().endswith(IMAGE_SUFFIXES):
            # an uploaded file is kept with eight digits before its name
            return image_name(UPLOADED.sub("", name, count=1) if "/upload/" in path else name, "data")
    raise Fault("bad entry", f"expected the address of an image in `data`, found {shown(dict(data))}")


def _annotation(task: Mapping[str, Any], name: str, quarantine: Quarantine) -> Mapping[str, Any]:
    given = next((task[field] for field in ANNOTATIONS if field in task), None)
    found = [an_object(a, "an annotation") for a in a_list(given, "`annotations`")]
    found = [a for a in found if a.get("was_cancelled") is not True]
    if not found:
        raise Fault("no labels", f"{name}: nobody has annotated it")
    dates = [a.get("updated_at") for a in found]
    last = len(found) - 1
    if all(isinstance(date, str) for date in dates):
        last = max(range(len(found)), key=lambda place: (dates[place], place))
    if len(found) > 1:
        detail = f"{len(found)} annotations; number {last + 1}, the one updated last, is taken"
        quarantine.add(name, "annotations", "duplicate id", "kept", detail)
    return found[last]


def _size(result: Mapping[str, Any]) -> tuple[int, int] | None:
    return image_shape(result.get("original_height"), result.get("original_width"))


def _classes(results: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """The class of each region by its id, which shapes without labels of their own share with a result of labels."""
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict) or not isinstance(result.get("id"), str):
            continue
        for field in ("labels", *(f"{kind}labels" for kind in KINDS)):
            names = value.get(field)
            if isinstance(names, list) and len(names) == 1 and isinstance(names[0], str):
                yield result["id"], class_name(names[0])


def _only_class(result: Any) -> bool:
    """Whether a result gives no shape: the class of another one, a choice or text about the image."""
    return isinstance(result, dict) and result.get("type") in NO_SHAPE


def _label(classes: Mapping[str, str], item: str, entry: Any) -> Label:
    result = an_object(entry, "a result")
    value, kind = an_object(result.get("value"), "`value`"), result.get("type")
    names = a_list(value.get(f"{kind}", []), "the labels of a region")
    if len(names) > 1:
        raise Fault("conflicting class", " and ".join(map(shown, names)))
    given = result.get("id")
    name = class_name(names[0]) if names else classes.get(given, "") if isinstance(given, str) else ""
    return Label(item, name, _outline(result, value))


def _outline(result: Mapping[str, Any], value: Mapping[str, Any]) -> Ellipse | Pixels | Rings:
    kind = str(result.get("type")).removesuffix("labels")
    if kind == "rectangle":
        raise Fault("only a box", "has a box and no outline; draw its outline")
    if kind not in ("polygon", "ellipse", "brush"):
        raise Fault("bad shape", f"a shape of type {shown(result.get('type'))} {drawing.NO_AREA}")
    size = _size(result)
    if size is None:
        raise Fault("bad entry", "expected `original_width` and `original_height` as sizes of the image in px")
    if (turned := result.get("image_rotation", 0)) not in (0, None):
        raise Fault("bad entry", f"it was drawn on an image turned by {shown(turned)} degrees; draw it unturned")
    if kind == "brush":
        return painted(value.get("rle"), size)
    width, height = size[1] / 100, size[0] / 100
    if kind == "polygon":
        return drawing.polygon([[x * width, y * height] for x, y in drawing.points(value.get("points"))])
    fields = ("x", "y", "radiusX", "radiusY", "rotation")
    rotation = value.get("rotation")
    values = [value.get(field) for field in fields[:4]] + [0 if rotation is None else rotation]
    x, y, radius_x, radius_y, turn = drawing.coordinates(values, ", ".join(fields), 5)
    return drawing.ellipse(x * width, y * height, radius_x * width, radius_y * height, turn)
