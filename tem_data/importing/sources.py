"""What kind of labels a file or folder holds, and the reader of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from tem_data.coco.labels import read_coco
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, read_table
from tem_data.formats.cvat import read_cvat
from tem_data.formats.fiji import COLUMNS, is_results, read_ellipses, read_fiji
from tem_data.formats.geojson import is_geojson, read_geojson
from tem_data.formats.imagej import read_rois
from tem_data.formats.label_studio import is_label_studio, read_label_studio
from tem_data.formats.labelme import is_labelme, read_labelme
from tem_data.formats.masks import read_masks
from tem_data.formats.via import is_via, read_via
from tem_data.images.reading import IMAGE_SUFFIXES
from tem_data.importing.labels import LabelTable
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings, LabelSource

SEVERAL = {"labelme": read_labelme, "via": read_via, "cvat": read_cvat, "label_studio": read_label_studio}
TABLES = (".csv", ".tsv", ".txt", ".xls")


def read_labels(settings: ImportSettings, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of each image that the annotations name, whatever kind they are of.

    Raises TemDataError where the kind is none that is known, or not clear, and as the readers do.
    """
    path = Path(cast(str, settings.annotations))
    source = settings.source
    if source == "auto":
        source = kind_of(path)
        print(f"{path}: labels of the kind {source}")
    if source == "fiji" and path.exists() and kind_of(path) == "rois":  # which Fiji writes, too
        source = "rois"
    if source == "coco":
        return [table for file in _coco_files(path) for table in read_coco(file, quarantine)]
    if source == "ellipses":
        return read_ellipses(path, settings.columns)
    if source == "fiji":
        return read_fiji(path, settings.class_numbers, settings.aliases, quarantine)
    if source == "masks":
        named = settings.mask_values, settings.mask_colours, settings.aliases or ["defect"]
        return read_masks(path, *named, quarantine, settings.instances, settings.mask_suffix)
    if source == "rois":
        return read_rois(path, quarantine, settings.aliases, settings.ignored_aliases)
    if source == "geojson":
        return read_geojson(path, quarantine)
    return SEVERAL[source](path, quarantine)


def class_names(tables: Iterable[LabelTable]) -> list[str]:
    """The names that labels give their classes, as they come."""
    return list(dict.fromkeys(label.name for table in tables for label in table.labels if label.name))


def _coco_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.glob("*.json") if kind_of_file(file) == "coco")


def kind_of(path: Path) -> LabelSource:
    """The `source` of a file or folder of labels. Raises TemDataError where it is none, or of several kinds."""
    if not path.exists():
        raise TemDataError(f"{path}: no such file or folder; give the labels' path")
    if not path.is_dir():
        kind = kind_of_file(path)
        if kind in (None, "masks"):
            raise TemDataError(f"{path}: none of the labels that are known; {_known()}")
        return kind
    kinds = Counter(kind for file in sorted(path.iterdir()) if (kind := kind_of_file(file)))
    if kinds["masks"] and len(kinds) > 1:
        del kinds["masks"]  # images that lie beside their labels
    if any(file.is_dir() and any(file.glob("*.roi")) for file in path.iterdir()):
        kinds["rois"] += 1
    if len(kinds) == 1:
        return next(iter(kinds))
    saw = ", ".join(f"{count} of the kind {kind}" for kind, count in kinds.items()) or "no such file"
    raise TemDataError(f"{path}: {saw}; {_known()}" if not kinds else f"{path}: {saw}; choose one by `source`")


def _known() -> str:
    return (
        "expected COCO, LabelMe, VIA, CVAT, Label Studio, QuPath GeoJSON, ROIs or Results tables of ImageJ, a table "
        f"of ellipses ({', '.join(COLUMNS.values())}), or a folder of masks"
    )


def kind_of_file(path: Path) -> LabelSource | None:
    """The source that a file is of, None if of none."""
    suffix = path.suffix.lower()
    if path.is_dir() or path.name.startswith("."):
        return None
    if suffix in (".zip", ".roi"):
        return "rois"
    if suffix == ".xml":
        return "cvat"
    if suffix in IMAGE_SUFFIXES:
        return "masks"
    if suffix in (".json", ".geojson"):
        return _kind_of_json(path)
    return _kind_of_table(path) if suffix in TABLES and not path.stem.endswith("_log") else None


def _kind_of_json(path: Path) -> LabelSource | None:
    try:
        content: Any = read_json(path)
    except TemDataError:
        return "coco"  # whose reader says what is wrong
    kinds: dict[LabelSource, Callable[[Any], bool]] = {
        "labelme": is_labelme,
        "via": is_via,
        "label_studio": is_label_studio,
        "geojson": is_geojson,
    }
    for kind, is_kind in kinds.items():
        if is_kind(content):
            return kind
    return "coco" if isinstance(content, dict) and "annotations" in content else None


def _kind_of_table(path: Path) -> LabelSource | None:
    if is_results(path):
        return "fiji"
    try:
        rows = read_table(path)
    except TemDataError:
        return None
    header = set(rows[0]) if rows else set()
    if "region_shape_attributes" in header:
        return "via"
    return "ellipses" if {"file_name", "x_px", "y_px", "major_px", "minor_px"} <= header else None
