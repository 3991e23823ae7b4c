"""VIA 3 projects, and the class among the attributes of a region of any VIA.

`metadata` holds shapes as [shape id, numbers in px, ...] on a view of one file,
and the values of attributes by the attribute's id
(gitlab.com/vgg/via: via-3.x.y/CodeDoc.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tem_data.coco.faults import Fault, shown
from tem_data.formats import drawing
from tem_data.formats.reading import (
    a_list,
    an_object,
    class_name,
    image_name,
    image_tables,
    label_table,
)
from tem_data.importing.labels import Ellipse, Label, LabelTable, Rings
from tem_data.importing.quarantine import Quarantine

CLASS_NAMES = ("class", "label", "type", "name", "category")
NOTHING: tuple[object, ...] = (None, "", {})


def is_via3(content: Any) -> bool:
    """Whether parsed JSON is a project of VIA 3."""
    return isinstance(content, dict) and all(isinstance(content.get(part), dict) for part in ("file", "metadata"))


def tables(path: Path, content: Mapping[str, Any], quarantine: Quarantine) -> list[LabelTable]:
    """The labels of each file of a project; raises Fault where it has no attributes or views that are objects."""
    views, attributes = (an_object(content.get(part), f"`{part}`") for part in ("view", "attribute"))
    regions: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for key, entry in content["metadata"].items():
        try:
            region = an_object(entry, "an entry of `metadata`")
            if a_list(region.get("xy"), "`xy`"):  # else it tells of the file or of a time
                regions.setdefault(_file_of(region, views), []).append((f"region {shown(key)[1:-1]}", region))
        except Fault as fault:
            quarantine.add(path.name, f"metadata {shown(key)}", fault.reason, "set aside", fault.detail)

    def label(item: str, region: Mapping[str, Any]) -> Label:
        values = an_object(region.get("av", {}), "`av`")
        named = dict(_attribute(key, value, attributes) for key, value in values.items())
        return Label(item, class_of(named), _outline(a_list(region["xy"], "`xy`")))

    def table(entry: tuple[str, Any]) -> LabelTable:
        key, file = entry
        name = image_name(an_object(file, "an entry of `file`").get("fname"), "fname")
        return label_table(name, regions.pop(key, []), label, quarantine)

    entries = ((f"file {shown(key)}", (key, file)) for key, file in content["file"].items())
    found = image_tables(path, entries, table, quarantine)
    for key, lost in regions.items():
        detail = f"{len(lost)} shapes on the file {shown(key)}, which `file` does not have"
        quarantine.add(path.name, f"file {shown(key)}", "missing image", "set aside", detail)
    return found


def class_of(attributes: Mapping[str, Any]) -> str:
    """The class among the attributes of a region: the only one, or that named class, label, type, name or category.

    "" where there is none, or several of other names. Raises Fault for a value that is no class, or two.
    """
    given = {name: value for name, value in attributes.items() if value not in NOTHING}
    lower = {name.lower(): value for name, value in given.items()}
    named = [lower[name] for name in CLASS_NAMES if name in lower]
    if not named and len(given) != 1:
        return ""
    value = named[0] if named else next(iter(given.values()))
    if not isinstance(value, dict):
        return class_name(value)
    ticked = [name for name, state in value.items() if state is True or state == "true"]
    if len(ticked) > 1:
        raise Fault("conflicting class", " and ".join(map(shown, ticked)))
    return class_name(ticked[0] if ticked else None)


def _file_of(region: Mapping[str, Any], views: Mapping[str, Any]) -> str:
    view = an_object(views.get(_key(region.get("vid"), "vid")), "the view of `vid`")
    files = a_list(view.get("fid_list"), "`fid_list`")
    if len(files) != 1:
        raise Fault("bad entry", f"expected a view of one file, found {shown(files)}")
    return _key(files[0], "fid_list")


def _key(value: Any, field: str) -> str:
    if isinstance(value, (str, int)):
        return str(value)
    raise Fault("bad entry", f"expected an id in `{field}`, found {shown(value)}")


def _attribute(key: str, value: Any, attributes: Mapping[str, Any]) -> tuple[str, Any]:
    """The name of an attribute and its value, which is the text of its option where it has options."""
    attribute = an_object(attributes.get(key), f"the attribute {shown(key)}")
    options = attribute.get("options")
    name = attribute.get("aname")
    if isinstance(options, dict) and isinstance(value, str):
        # ticked boxes are a list of options, as "0,2"
        chosen = [options.get(part, part) for part in value.split(",")] if value not in options else [options[value]]
        value = dict.fromkeys(map(class_name, chosen), True) if len(chosen) > 1 else chosen[0]
    return (name if isinstance(name, str) else key), value


def _outline(xy: list[Any]) -> Ellipse | Rings:
    kind, *rest = xy
    values = drawing.coordinates(rest, "the numbers of a shape")
    pairs = [list(pair) for pair in zip(values[::2], values[1::2], strict=False)]
    if kind == 7:
        if len(values) % 2:
            raise Fault("bad shape", f"expected x, y of points, found {len(values)} numbers")
        return drawing.polygon(pairs)
    if kind == 2:
        left, top, width, height = drawing.coordinates(values, "x, y, width, height", 4)
        return drawing.rectangle(left, top, left + width, top + height)
    if kind == 3:
        x, y, radius = drawing.coordinates(values, "x, y, radius", 3)
        return drawing.ellipse(x, y, radius, radius)
    if kind == 4:
        x, y, radius_x, radius_y = drawing.coordinates(values, "x, y and two radii", 4)
        return drawing.ellipse(x, y, radius_x, radius_y)
    if kind == 8:
        x, y = np.array(drawing.points(pairs, 4)).T.tolist()
        return drawing.rectangle(min(x), min(y), max(x), max(y))
    if kind == 9:
        return _circle_through(np.array(drawing.points(pairs, 3)))
    raise Fault("bad shape", f"a shape of id {shown(kind)} {drawing.NO_AREA}")


def _circle_through(corners: np.ndarray) -> Ellipse:
    sides = 2 * (corners[1:] - corners[0])
    if abs(np.linalg.det(sides)) < 1e-6:
        raise Fault("bad shape", "three points on a line, through which there is no circle")
    centre = np.linalg.solve(sides, (corners[1:] ** 2 - corners[0] ** 2).sum(1))
    radius = float(np.hypot(*(corners[0] - centre)))
    return drawing.ellipse(*drawing.coordinates([*centre.tolist(), radius, radius], "the circle through three points"))
