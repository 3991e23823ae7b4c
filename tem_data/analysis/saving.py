"""The files of one micrograph: for the programs that people correct outlines with, and to be looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tem_data.analysis.searching import Found
from tem_data.coco.found import coco_found
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import Classes
from tem_data.figures.overlays import overlay, thumbnail
from tem_data.formats.geojson_writing import write_geojson
from tem_data.formats.imagej_writing import write_rois
from tem_data.formats.labelme import write_labelme

THUMBNAIL_PX = 480


@dataclass(frozen=True)
class Folder:
    """Where the files of a run go, which `kinds` of them, the `classes`, and the `model` that found the defects."""

    path: Path
    kinds: Sequence[str]
    classes: Classes
    model: str

    def save(self, found: Found) -> None:
        """Write the files of one micrograph."""
        micrograph, name = as_micrograph(found), found.shot.name
        if "rois" in self.kinds:
            write_rois(micrograph, self._file("rois", name, "zip"), self.classes, self.model)
        if "labelme" in self.kinds:
            file = self._file("labelme", name, "json")
            image = os.path.relpath(found.shot.path.resolve(), file.parent.resolve())
            write_labelme(micrograph, file, Path(image).as_posix(), proposed_by=self.model)
        if "geojson" in self.kinds:
            write_geojson(micrograph, self._file("geojson", name, "geojson"), self.classes.names)
        if "overlays" in self.kinds:
            scale = found.shot.calibration.nm_per_px
            file = self._file("overlays", name, "png")
            overlay(file, found.pixels, found.defects, self.classes.names, scale, confidence=True)

    def thumbnail(self, found: Found, path: Path) -> None:
        """A small picture of one micrograph for the report."""
        scale = found.shot.calibration.nm_per_px
        thumbnail(path, found.pixels, found.defects, self.classes.names, scale, THUMBNAIL_PX)

    def coco(self, found: Found) -> dict[str, Any]:
        """The micrograph as a whole COCO file."""
        micrograph = as_micrograph(found)
        return coco_found([micrograph], self.classes, [found.shot.file_name], found.threshold, self.model)

    def _file(self, kind: str, name: str, suffix: str) -> Path:
        folder = self.path / kind
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.{suffix}"


def as_micrograph(found: Found) -> Micrograph:
    """The whole picture with its defects; without pixels."""
    height, width = found.pixels.shape
    known = found.shot.calibration._asdict()
    return Micrograph(found.shot.file_name, None, found.defects, (height, width), **known)
