"""GeoJSON that QuPath and napari open, and `read_geojson` reads back to the pixel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import label

from tem_data.core.files import write_json
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.figures.pictures import colour_of
from tem_data.formats.drawing import traced


def write_geojson(micrograph: Micrograph, path: str | os.PathLike, classes: Sequence[str]) -> None:
    """The defects of a micrograph as annotations, with outlines along pixel edges, classes and measured confidence.

    A defect in several parts is a MultiPolygon. Defects to be ignored are written as the others.
    """
    features = [_feature(defect, number, classes) for number, defect in enumerate(micrograph.defects, 1)]
    write_json(path, {"type": "FeatureCollection", "features": features})


def _feature(defect: Defect, number: int, classes: Sequence[str]) -> dict[str, Any]:
    parts, count = label(defect.mask)
    polygons = [_polygon(parts == part, defect) for part in range(1, count + 1)]
    kind, coordinates = ("Polygon", polygons[0]) if count == 1 else ("MultiPolygon", polygons)
    colour = colour_of(defect.category, classes).replace("white", "#ffffff")
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {
            "objectType": "annotation",
            "name": f"{number:04d}",
            "classification": {"name": defect.category, "color": list(bytes.fromhex(colour[1:]))},
            "measurements": {"confidence": defect.score},
        },
    }


def _polygon(mask: np.ndarray, defect: Defect) -> list[list[list[int]]]:
    """The outer ring and the holes of one part, each closed by its first point."""
    return [[*ring.tolist(), ring[0].tolist()] for ring in traced(mask, defect.x, defect.y)]
