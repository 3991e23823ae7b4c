"""Datasets as images and labels for the programs that people draw outlines with, and back without loss.

What those formats do not hold, nm per px, thickness and specimen, is in
`calibration.csv`, which `import --calibration` reads.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import tifffile

from tem_data.coco.writing import coco_truth
from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, write_json, write_table
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import Classes, read_classes, read_dataset, read_rows
from tem_data.formats.imagej_writing import write_rois
from tem_data.formats.labelme import write_labelme
from tem_data.importing.tables import Calibration

Format = Literal["coco", "labelme", "rois"]


def export_dataset(
    dataset: str | os.PathLike, out: str | os.PathLike, format: Format = "coco", split: str | None = None
) -> None:
    """Write a dataset folder, or one split of it, as `images/NAME.tif`, labels and `calibration.csv` to a new folder.

    The labels are `labels.json` (coco), `labels/NAME.json` (labelme) or
    `rois/NAME_RoiSet.zip` (rois), to the pixel, with the classes that are
    ignored under their names. Raises TemDataError where there are no rows, one
    has no image, or two would have one name.
    """
    classes = read_classes(dataset)
    micrographs = list(read_dataset(dataset)) if split is None else read_rows(dataset, split)
    if not micrographs:
        raise TemDataError(f"{dataset}: expected micrographs or patches, found none")
    names = _names(micrographs, dataset)
    with atomic_write(out) as draft:
        (draft / "images").mkdir(parents=True)
        for micrograph, name in zip(micrographs, names, strict=True):
            _write_image(micrograph, draft / "images" / f"{name}.tif")
        _write_labels(draft, micrographs, names, classes, format)
        write_table(
            draft / "calibration.csv",
            [_calibration(micrograph, name) for micrograph, name in zip(micrographs, names, strict=True)],
            ("file_name", *Calibration._fields),
        )
    print(f"{out}: {len(micrographs)} images with {sum(len(m.defects) for m in micrographs)} labels ({format})")


def _names(micrographs: list[Micrograph], dataset: str | os.PathLike) -> list[str]:
    """A file name for each row: its micrograph's, with its place and symmetry where it is one of several patches."""
    for micrograph in micrographs:
        if micrograph.image is None:
            raise TemDataError(f"{dataset}: {micrograph.micrograph_id} is a mask without an image; export painted ones")
    names = [m.micrograph_id for m in micrographs]
    if len(set(names)) < len(names):
        names = [f"{m.micrograph_id}_{m.x}_{m.y}_{m.symmetry}" for m in micrographs]
    names = [name.replace("/", "_").replace("\\", "_") for name in names]
    if twice := [name for name, count in Counter(map(str.lower, names)).items() if count > 1]:
        raise TemDataError(f"{dataset}: two rows would be {twice[0]}.tif; export one split of it")
    return names


def _write_image(micrograph: Micrograph, path: Path) -> None:
    scale = micrograph.nm_per_px
    calibrated: dict[str, Any] = (
        {} if scale is None else {"resolution": (1 / scale, 1 / scale), "metadata": {"unit": "nm"}}
    )
    tifffile.imwrite(path, micrograph.pixels, imagej=True, **calibrated)


def _write_labels(
    draft: Path, micrographs: list[Micrograph], names: list[str], classes: Classes, format: Format
) -> None:
    if format == "coco":
        write_json(draft / "labels.json", coco_truth(micrographs, classes, [f"{name}.tif" for name in names]))
        return
    folder = draft / ("labels" if format == "labelme" else "rois")
    folder.mkdir()
    for micrograph, name in zip(micrographs, names, strict=True):
        if format == "labelme":
            write_labelme(micrograph, folder / f"{name}.json", f"../images/{name}.tif", classes.ignored)
        else:
            write_rois(micrograph, folder / f"{name}_RoiSet.zip", classes)


def _calibration(micrograph: Micrograph, name: str) -> dict[str, object]:
    values = {field: getattr(micrograph, field) for field in Calibration._fields}
    return {"file_name": f"{name}.tif"} | {field: "" if value is None else value for field, value in values.items()}
