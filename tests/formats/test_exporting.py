import json
from dataclasses import asdict, replace

import pytest
import tifffile
from PIL import Image

from tem_data.coco.labels import read_coco
from tem_data.core.errors import TemDataError
from tem_data.core.schema import read_dataset, write_dataset, write_micrographs
from tem_data.formats.exporting import export_dataset
from tem_data.formats.imagej import read_rois
from tem_data.formats.labelme import read_labelme
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings
from tem_data.importing.tables import read_calibrations
from tests.formats.common import CLASSES, micrograph, same_defects

LABELS = {"coco": "labels.json", "labelme": "labels", "rois": "rois"}


def read(folder, kind):
    if kind == "rois":
        return read_rois(folder / "rois", Quarantine(), CLASSES.labels)
    return {"coco": read_coco, "labelme": read_labelme}[kind](folder / LABELS[kind], Quarantine())


def dataset(path):
    first = micrograph()
    second = replace(
        first, micrograph_id="b", defects=first.defects[:1], nm_per_px=None, thickness_nm=None, specimen=""
    )
    third = replace(second, micrograph_id="c", defects=())
    write_micrographs(path, [first, second, third], CLASSES, "")
    return [first, second, third]


@pytest.mark.parametrize("kind", LABELS)
def test_what_is_exported_is_read_back_to_the_pixel(tmp_path, kind):
    micrographs = dataset(tmp_path / "data")
    export_dataset(tmp_path / "data", tmp_path / "out", kind)
    tables = read(tmp_path / "out", kind)
    assert len(tables) == 3
    for table, m in zip(tables, micrographs, strict=True):
        name = table.file_name if kind == "rois" else table.file_name.removesuffix(".tif").removeprefix("../images/")
        assert name == m.micrograph_id and same_defects(table, m.defects)
        assert (tifffile.imread(tmp_path / "out" / "images" / f"{name}.tif") == m.image).all()
    known = read_calibrations(tmp_path / "out" / "calibration.csv")
    assert known["a.b c.tif"] == (0.1234567890123, 87.5, "ion irradiated, 3 dpa")
    assert known["b.tif"] == (None, None, "")


def test_the_pixel_size_is_in_the_images(tmp_path):
    dataset(tmp_path / "data")
    export_dataset(tmp_path / "data", tmp_path / "out", "coco")
    with Image.open(tmp_path / "out" / "images" / "a.b c.tif") as picture:
        assert "unit=nm" in picture.tag_v2[270]
        assert 1 / float(picture.tag_v2[282]) == pytest.approx(0.1234567890123, rel=1e-6)
    with Image.open(tmp_path / "out" / "images" / "b.tif") as picture:
        assert "unit" not in picture.tag_v2[270]


@pytest.mark.parametrize("kind", LABELS)
def test_an_export_can_be_imported(tmp_path, kind):
    micrographs = dataset(tmp_path / "data")
    export_dataset(tmp_path / "data", tmp_path / "out", kind)
    out = tmp_path / "out"
    settings = ImportSettings(
        source=kind,
        images=str(out / "images"),
        annotations=str(out / LABELS[kind]),
        calibration=str(out / "calibration.csv"),
        classes=list(CLASSES.names),
        ignored=list(CLASSES.ignored),
        data_bar=0,
    )
    found, _ = import_micrographs(settings, progress=False)[:2]
    assert [m.micrograph_id for m in found] == [m.micrograph_id for m in micrographs]
    for m, expected in zip(found, micrographs, strict=True):
        assert (m.image == expected.image).all()
        for field in ("nm_per_px", "thickness_nm", "specimen"):
            assert getattr(m, field) == getattr(expected, field)
        assert len(m.defects) == len(expected.defects)
        for defect, given in zip(m.defects, expected.defects, strict=True):
            assert asdict(defect) | {"mask": 0} == asdict(given) | {"mask": 0} and (defect.mask == given.mask).all()
    write_micrographs(tmp_path / "again", found, CLASSES, "")
    export_dataset(tmp_path / "again", tmp_path / "second", kind)
    for file in (p for p in out.rglob("*") if p.is_file()):
        assert file.read_bytes() == (tmp_path / "second" / file.relative_to(out)).read_bytes(), file


def test_patches_are_named_by_their_places(tmp_path):
    patches = [replace(micrograph(), x=x, symmetry=s) for x, s in ((0, 0), (0, 1), (80, 0))]
    write_dataset(tmp_path / "data", {"train": patches, "test": patches[:1]}, CLASSES)
    export_dataset(tmp_path / "data", tmp_path / "out", "coco", "train")
    names = [image["file_name"] for image in json.loads((tmp_path / "out" / "labels.json").read_text())["images"]]
    assert names == ["a.b c_0_0_0.tif", "a.b c_0_0_1.tif", "a.b c_80_0_0.tif"]
    with pytest.raises(TemDataError, match="one split"):
        export_dataset(tmp_path / "data", tmp_path / "both", "coco")
    with pytest.raises(TemDataError, match="no rows of split"):
        export_dataset(tmp_path / "data", tmp_path / "none", "coco", "validation")
    assert not (tmp_path / "both").exists() and len(list(read_dataset(tmp_path / "data"))) == 4


def test_masks_without_images_are_refused(tmp_path):
    write_micrographs(tmp_path / "data", [replace(micrograph(), image=None)], CLASSES, "")
    with pytest.raises(TemDataError, match="without an image"):
        export_dataset(tmp_path / "data", tmp_path / "out", "labelme")


def test_names_are_made_for_any_file_system(tmp_path):
    write_micrographs(tmp_path / "data", [replace(micrograph(), micrograph_id="x/../y\\z")], CLASSES, "")
    export_dataset(tmp_path / "data", tmp_path / "out", "labelme")
    assert [p.name for p in (tmp_path / "out" / "images").iterdir()] == ["x_.._y_z.tif"]
