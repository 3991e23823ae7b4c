"""GeoJSON of QuPath: one file an image, with features whose geometries are in px of the full resolution.

A polygon is its outer ring and its holes (RFC 7946); the class is
`properties.classification` (qupath.readthedocs.io, "Exporting annotations").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tem_data.coco.faults import Fault, shown
from tem_data.core.files import read_json
from tem_data.formats import drawing
from tem_data.formats.reading import a_list, an_object, class_name, label_files, label_table, numbered, read_each
from tem_data.importing.labels import Label, LabelTable, Rings, Several
from tem_data.importing.quarantine import Quarantine

EXPECTED = "a GeoJSON file NAME.geojson for each image"


def is_geojson(content: Any) -> bool:
    """Whether parsed JSON is a collection of features, a list of them, or one feature."""
    if isinstance(content, list):
        return any(isinstance(entry, dict) and entry.get("type") == "Feature" for entry in content)
    return isinstance(content, dict) and content.get("type") in ("FeatureCollection", "Feature")


def read_geojson(path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of a GeoJSON file, or of those in a folder; a file is of the image of its name without extension.

    What cannot be read goes to the quarantine. Raises TemDataError where there is no file.
    """
    return read_each(
        label_files(path, (".geojson", ".json"), EXPECTED), lambda file: [_table(file, quarantine)], quarantine
    )


def _table(path: Path, quarantine: Quarantine) -> LabelTable:
    content = read_json(path)
    if content != [] and not is_geojson(content):
        raise Fault("bad entry", f"expected GeoJSON features, found {shown(content)}")
    features = content
    if isinstance(content, dict):
        features = [content] if content["type"] == "Feature" else a_list(content.get("features"), "`features`")
    return label_table(path.stem, numbered("feature", features), _label, quarantine)


def _label(item: str, entry: Any) -> Label:
    feature = an_object(entry, "a feature")
    properties = feature.get("properties")
    name = _class(an_object(properties, "`properties`")) if properties is not None else ""
    return Label(item, name, _outline(an_object(feature.get("geometry"), "`geometry`")))


def _class(properties: Mapping[str, Any]) -> str:
    given = properties.get("classification")
    if not isinstance(given, dict):
        return class_name(given)
    if "name" not in given and "names" in given:
        return ": ".join(map(class_name, a_list(given["names"], "`names`")))
    return class_name(given.get("name"))


def _outline(geometry: Mapping[str, Any]) -> Rings | Several:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Polygon":
        return _polygon(coordinates)
    if kind == "MultiPolygon":
        parts = tuple(map(_polygon, a_list(coordinates, "`coordinates`")))
        if not parts:
            raise Fault("bad shape", "expected polygons, found none")
        return parts[0] if len(parts) == 1 else Several(parts)
    raise Fault("bad shape", f"a geometry {shown(kind)} {drawing.NO_AREA}")


def _polygon(rings: Any) -> Rings:
    if not a_list(rings, "the rings of a polygon"):
        raise Fault("bad shape", "expected a ring, found none")
    return drawing.polygon(*map(_flat_ring, rings))


def _flat_ring(ring: Any) -> Any:
    """A ring without heights, which RFC 7946 allows as third values."""
    if not isinstance(ring, list):
        return ring
    return [point[:2] if isinstance(point, list) and len(point) == 3 else point for point in ring]
