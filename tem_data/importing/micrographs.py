"""Labelled micrographs of any source into the one schema; what is wrong goes to the quarantine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tem_data.coco.faults import Faults
from tem_data.coco.labels import micrographs_of, read_coco
from tem_data.coco.reading import TRUTH, read_content, read_found, read_truth
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, halved
from tem_data.core.schema import Classes, read_dataset
from tem_data.importing.checking import Names, alignment, centres_outside, checked_defects
from tem_data.importing.fiji import read_ellipses, read_fiji
from tem_data.importing.images import files_by_stem, nm_per_px_in_metadata, read_image
from tem_data.importing.labels import LabelTable
from tem_data.importing.mask_images import read_masks
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.tables import Calibration, calibration_of, read_calibrations

SOURCES = ("coco", "ellipses", "fiji", "masks")
OPTIONAL = {
    "calibration": None,
    "max_side": None,
    "ignored": (),
    "columns": None,
    "class_numbers": None,
    "mask_values": None,
    "instances": None,
    "min_alignment": 3.5,
}
MANY_OUTSIDE = 0.1
ENOUGH_LABELS = 15


def import_micrographs(settings: Mapping[str, Any], progress: bool = True) -> tuple[list[Micrograph], Quarantine]:
    """The micrographs of a folder with their labels, and all that was found wrong.

    `settings` (the section `import` of params.yaml):

    | key | meaning |
    |---|---|
    | source | `coco`, `ellipses` (one CSV), `fiji` (tables and logs) or `masks` |
    | images | folder of PNG, JPEG or TIFF images; 16-bit ones are scaled to 8 bits, colour becomes grey |
    | annotations | the COCO JSON, the CSV, or the folder of tables or masks |
    | classes | list of names, or mapping of each class to the names it has in the files |
    | ignored | the same for labels that are to count neither as found nor as missed |
    | calibration | CSV with file_name, nm_per_px and, if known, thickness_nm, specimen; else the image's metadata |
    | max_side | larger images are halved until no side is longer, px |
    | columns | `ellipses`: column names that differ from `formats.fiji.COLUMNS` |
    | class_numbers | `fiji`: class name of each number in the logs |
    | mask_values | `masks`: class name of each value; by default every other value than 0 is the one class |
    | instances | `masks`: folder of 16-bit instance maps |
    | min_alignment | least `formats.checking.alignment` of 15 or more labels with their image; null does not ask |

    Ids are file names without extension (with it where two would be the same).
    Images and calibrations are found by file name with or without its folder.
    Shapes that leave the image are cut at its edges, duplicates dropped, areas
    recomputed. Raises TemDataError where a file, column or setting is missing.
    """
    settings = _checked(settings)
    quarantine = Quarantine()
    tables = _read(settings, quarantine)
    paths = {table.file_name: _image_path(settings["images"], table.file_name) for table in tables}
    _add_unlabelled(settings["images"], paths.values(), quarantine)
    stems = Counter(Path(name).stem for name in paths)
    calibrations = read_calibrations(settings["calibration"])
    micrographs, done = [], set()
    for table in tqdm(tables, "import", disable=not progress):
        name = table.file_name
        if paths[name] in done:
            quarantine.add(name, "", "duplicate id", "set aside", "other labels name the same image")
            continue
        done.add(paths[name])
        micrograph_id = Path(name).stem if stems[Path(name).stem] == 1 else name.replace("/", "_")
        micrograph = _micrograph(micrograph_id, table, paths[name], settings, quarantine)
        if micrograph is not None:
            micrograph = _calibrated(micrograph, table, paths[name], calibrations, quarantine)
            micrographs.append(_fitted(micrograph, table, settings["max_side"], quarantine))
    return micrographs, quarantine


def read_labelled(
    path: str | os.PathLike,
    classes: Mapping[str, Any] | None = None,
    ignored: Sequence[str] = ("ambiguous",),
    truth: str | os.PathLike | None = None,
    threshold: float = 0.0,
) -> tuple[list[Micrograph], Quarantine]:
    """The labels of a dataset folder, or of a COCO file without its images, and what was found wrong.

    For a COCO file `classes` maps each class to the names it has there (None:
    its categories as they are), `ignored` names labels that do not count; its
    images go by file name without extension, and its labels are taken as
    `score_coco` takes them, also where a shape is there twice. COCO results (a
    list) are those of at least `threshold` on the images of the COCO file `truth`. Raises
    TemDataError where a file cannot be read or an image has no size.
    """
    quarantine = Quarantine()
    if Path(path).is_dir():
        return [replace(m, image=None) for m in read_dataset(path)], quarantine
    faults = Faults(path, quarantine)
    if truth is not None and Path(truth).is_file() and isinstance(read_content(path, object, TRUTH), list):
        # what is wrong with the truth is said where it is read itself
        file = read_found(read_truth(Faults(truth, Quarantine()), file_names=True), faults)
    else:
        file = read_truth(faults, file_names=True)
    for image in file.images.values():
        if image.shape is None:
            raise TemDataError(f"{path}: image {image.file_name!r} has no `height` and `width`; add them, in px")
    if classes is None:
        classes = {c.name: c.name for c in file.categories.values() if c.name not in ignored}
    names = _names({"classes": classes, "ignored": list(ignored)})
    micrographs = micrographs_of(file, names.meaning, faults, threshold)
    return [replace(m, micrograph_id=Path(m.micrograph_id).stem) for m in micrographs], quarantine


def classes_of(settings: Mapping[str, Any]) -> Classes:
    """The classes that the `import` section names."""
    return Classes(tuple(_mapping(settings["classes"])), tuple(_mapping(settings.get("ignored") or ())))


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    required = ("source", "images", "annotations", "classes")
    missing = [key for key in required if not settings.get(key)]
    unknown = [key for key in settings if key not in required and key not in OPTIONAL]
    if missing or unknown:
        what = f"{', '.join(missing)} missing" if missing else f"{', '.join(unknown)} unknown"
        raise TemDataError(f"import: {what}; expected {', '.join(required)} and, if needed, {', '.join(OPTIONAL)}")
    if settings["source"] not in SOURCES:
        raise TemDataError(f"import.source: expected one of {', '.join(SOURCES)}, not {settings['source']!r}")
    return OPTIONAL | dict(settings) | {"names": _names(settings)}


def _mapping(names: Any) -> dict[str, list[str]]:
    def several(value: Any) -> list[str]:
        return [str(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else [str(value)]

    if isinstance(names, Mapping):
        return {str(key): several(aliases) for key, aliases in names.items()}
    return {name: [name] for name in several(names)}


def _names(settings: Mapping[str, Any]) -> Names:
    categories, ignored = (
        [(alias, key) for key, aliases in _mapping(settings.get(part) or ()).items() for alias in aliases]
        for part in ("classes", "ignored")
    )
    twice = [alias for alias, n in Counter(alias for alias, _ in categories + ignored).items() if n > 1]
    if twice:
        raise TemDataError(f"import.classes: {', '.join(twice)} stands in two classes; leave it in one")
    return Names(dict(categories), dict(ignored))


def _read(settings: Mapping[str, Any], quarantine: Quarantine) -> list[LabelTable]:
    source, images, annotations = settings["source"], settings["images"], settings["annotations"]
    if source == "coco":
        return read_coco(annotations, quarantine)
    if source == "ellipses":
        return read_ellipses(annotations, settings["columns"])
    if source == "fiji":
        numbers = _numbered(settings, "class_numbers") or {}
        if not numbers:
            raise TemDataError("import.class_numbers: expected the class of each number in the logs, as {0: name, ...}")
        return read_fiji(annotations, images, numbers, quarantine)
    values = _numbered(settings, "mask_values")
    if values is None:
        if len(settings["names"].classes) != 1:
            raise TemDataError("import.mask_values: expected the class of each mask value, as {255: name, ...}")
        values = dict.fromkeys(range(1, 2**16), next(iter(settings["names"].classes)))
    return read_masks(annotations, images, values, quarantine, settings["instances"])


def _numbered(settings: Mapping[str, Any], key: str) -> dict[int, str] | None:
    try:
        return settings[key] and {int(n): str(name) for n, name in settings[key].items()}
    except (ValueError, AttributeError) as error:
        raise TemDataError(f"import.{key}: expected a mapping of whole numbers to class names ({error})") from error


def _image_path(folder: str, file_name: str) -> Path:
    exact = Path(folder, file_name)
    return exact if exact.is_file() else Path(folder, Path(file_name).name)


def _add_unlabelled(folder: str, labelled: Iterable[Path], quarantine: Quarantine) -> None:
    known = set(labelled)
    for paths in files_by_stem(folder).values():
        for path in paths:
            if path not in known:
                quarantine.add(path.name, "", "no labels", "set aside", "the annotations do not name it")


def _micrograph(
    micrograph_id: str, table: LabelTable, path: Path, settings: Mapping[str, Any], quarantine: Quarantine
) -> Micrograph | None:
    def set_aside(reason: str, detail: str) -> None:
        quarantine.add(table.file_name, "", reason, "set aside", f"{detail}; {len(table.labels) + table.lost} labels")

    if not path.is_file():
        return set_aside("missing image", "expected in the folder `import.images`")
    try:
        image = read_image(path)
    except (OSError, ValueError) as error:
        return set_aside("unreadable image", str(error))
    if table.shape not in (None, image.shape):
        return set_aside("size mismatch", f"image {image.shape}, labels {table.shape} (height, width)")
    outside = centres_outside(table, image.shape)
    if outside >= max(3, MANY_OUTSIDE * len(table.labels)):
        return set_aside("labels of another image", f"{outside} of {len(table.labels)} centres lie outside the image")
    defects = checked_defects(table, image.shape, settings["names"], quarantine)
    if (table.labels or table.lost) and not defects:
        return set_aside("no labels", "none could be used")
    least = settings["min_alignment"]
    if least is not None and len(defects) >= ENOUGH_LABELS and (fit := alignment(image, defects)) < least:
        return set_aside("labels of another image", f"alignment {fit:.1f} is under `min_alignment` {least}")
    return Micrograph(micrograph_id, image, tuple(defects), image.shape)


def _calibrated(
    micrograph: Micrograph,
    table: LabelTable,
    path: Path,
    calibrations: Mapping[str, Calibration],
    quarantine: Quarantine,
) -> Micrograph:
    known = calibration_of(table.file_name, calibrations)
    if known.nm_per_px is None:
        known = known._replace(nm_per_px=nm_per_px_in_metadata(path))
    if known.nm_per_px is None:
        detail = "give nm_per_px in the table `import.calibration`"
        quarantine.add(table.file_name, "", "no calibration", "kept", detail)
    return replace(micrograph, **known._asdict())


def _fitted(micrograph: Micrograph, table: LabelTable, max_side: int | None, quarantine: Quarantine) -> Micrograph:
    small = micrograph
    while max_side and max(small.shape) > max_side:
        small = halved(small)
    lost = len(micrograph.defects) - len(small.defects)
    if lost:
        quarantine.add(table.file_name, f"{lost} labels", "bad shape", "set aside", f"no px left at {small.shape} px")
    return small
