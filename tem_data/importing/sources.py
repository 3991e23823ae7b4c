"""What kind of labels a file or folder holds, and the reader of each kind."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from tem_data.coco.faults import shown
from tem_data.coco.labels import read_coco
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, read_table
from tem_data.formats.cvat import read_cvat
from tem_data.formats.fiji import COLUMNS, is_results, read_ellipses, read_fiji
from tem_data.formats.geojson import is_geojson, read_geojson
from tem_data.formats.imagej import holds_rois, read_rois
from tem_data.formats.label_studio import is_label_studio, read_label_studio
from tem_data.formats.labelme import is_labelme, read_labelme
from tem_data.formats.masks import read_masks
from tem_data.formats.via import is_via, read_via
from tem_data.images.reading import IMAGE_SUFFIXES
from tem_data.importing.labels import LabelTable
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings, LabelSource

SEVERAL = {
    "labelme": read_labelme,
    "via": read_via,
    "cvat": read_cvat,
    "label_studio": read_label_studio,
    "geojson": read_geojson,
}
OF_IMAGEJ = re.compile(r"RoiSet|\d{4,}-\d{1,}(-\d+)*", re.IGNORECASE)
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
    if source == "fiji" and holds_rois(path) and not any(map(is_results, path.glob("*"))):  # which Fiji writes, too
        source = "rois"
    if source == "coco":
        return [table for file in _coco_files(path) for table in read_coco(file, quarantine)]
    if source == "ellipses":
        return read_ellipses(path, settings.columns)
    if source == "fiji":
        return read_fiji(path, settings.class_numbers, settings.aliases, quarantine)
    if source == "masks":
        named = settings.mask_values, settings.mask_colours, settings.aliases
        return read_masks(path, *named, quarantine, settings.instances, settings.mask_suffix)
    if source == "rois":
        plane = settings.frame if isinstance(settings.frame, int) else None
        found = read_rois(path, quarantine, settings.aliases, settings.ignored_aliases, plane)
        _refuse_nameless(found, path, Path(cast(str, settings.images)))
        return found
    return SEVERAL[source](path, quarantine)


def _refuse_nameless(tables: Iterable[LabelTable], path: Path, images: Path) -> None:
    """Raises TemDataError where all files have the names that ImageJ gives by itself, and no image has them."""
    names = [table.file_name for table in tables]
    if names and all(OF_IMAGEJ.fullmatch(name) for name in names) and not any(images.glob(f"{names[0]}.*")):
        raise TemDataError(
            f"{path}: {names[0]} does not say of which image it is; name a zip as its image, NAME_RoiSet.zip, or put "
            "the .roi files of an image into a folder NAME"
        )


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
            raise TemDataError(f"{path}: none of the labels that are known{_seen(path)}; {_known()}")
        return kind
    files = sorted(path.iterdir())
    kinds = Counter(kind for file in files if (kind := kind_of_file(file)))
    if len(kinds) > 1:  # a damaged file may be of any kind, whose reader sets it aside
        kinds.subtract("coco" for file in files if kind_of_file(file) == "coco" and _damaged(file))
        kinds = +kinds
    if kinds["masks"] and len(kinds) > 1:
        del kinds["masks"]  # images that lie beside their labels
    if any(file.is_dir() and any(file.glob("*.roi")) for file in path.iterdir()):
        kinds["rois"] += 1
    if len(kinds) == 1:
        return next(iter(kinds))
    saw = ", ".join(f"{count} of the kind {kind}" for kind, count in kinds.items()) or f"no such file{_within(path)}"
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
    if suffix == ".roi" or (suffix == ".zip" and _may_hold_rois(path)):
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
    return "coco" if is_coco(content) else None


def is_coco(content: Any) -> bool:
    """Whether parsed JSON is meant for COCO, a ground truth or a list of results."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and {"image_id", "category_id"} <= set(content[0])
    return isinstance(content, dict) and ("annotations" in content or {"images", "categories"} <= set(content))


def _damaged(path: Path) -> bool:
    try:
        read_json(path)
    except TemDataError:
        return True
    return False


def _may_hold_rois(path: Path) -> bool:
    """Whether a zip holds .roi files, or nothing, as the RoiSet of an image without defects, or is damaged."""
    names = _names_in(path)
    return not names or any(name.lower().endswith(".roi") for name in names)


def _names_in(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def _seen(path: Path) -> str:
    """What a file holds that is none of the labels, in words."""
    if path.suffix.lower() == ".zip":
        return f" (a zip that holds {', '.join(_names_in(path)[:3])}; unpack it and give the labels within)"
    if path.suffix.lower() != ".json":
        return ""
    content = read_json(path)
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict) or not first:
        return f" (JSON: {shown(content)})"
    kind = "a list of objects" if isinstance(content, list) else "an object"
    return f" (JSON: {kind} with {', '.join(map(shown, list(first)[:6]))})"


def _within(path: Path) -> str:
    """What the files and subfolders of a folder without labels are, in words."""
    found: list[str] = []
    for folder in sorted(p for p in path.iterdir() if p.is_dir()):
        kinds = {kind for file in folder.iterdir() if (kind := kind_of_file(file))} - {"masks"}
        found += [f"{folder.name} ({', '.join(sorted(kinds))})"] if kinds else []
    if found:
        return f", but in its subfolders {', '.join(found[:5])}; give one of them"
    others = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] != ".")
    return f", but {others[0].name}{_seen(others[0])}" if others else ""


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
