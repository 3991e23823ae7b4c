"""Labels that a model proposed, corrected in another program and imported."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import roifile
import tifffile
from scipy.ndimage import gaussian_filter, label

from tem_data.coco.found import coco_found
from tem_data.core.files import read_json
from tem_data.core.micrograph import Micrograph, crop, defect_from_mask
from tem_data.core.schema import Classes, read_dataset
from tem_data.formats.imagej_writing import write_rois
from tem_data.formats.labelme import write_labelme
from tem_data.importing.settings import ImportSettings
from tem_data.importing.steps import import_dataset
from tem_data.patches.cutting import tiles

CLASSES = Classes(("100", "111", "bdot"))  # as of FeCrAl, two of them numbers
SHAPE = (160, 200)
MODEL = "org/name@v1"
NAMES = ("a", "b")


def found(seed):
    """What a detector finds: ragged, overlapping, some with holes, in several parts or cut by an edge."""
    rng = np.random.default_rng(seed)
    defects = []
    while len(defects) < 12:
        side = int(rng.integers(2, 40))
        blob, _ = label(gaussian_filter(rng.normal(size=(side, side)), rng.choice([0.7, 2])) > 0.02)
        kept = blob == 1 if rng.random() < 0.7 else (blob > 0) & (blob < 3)
        x, y = (int(rng.integers(0, edge - side + 1)) for edge in SHAPE[::-1])
        defect = defect_from_mask(CLASSES.names[len(defects) % 3], kept, x, y, score=float(rng.uniform(0.5, 1)))
        defects += [defect] if defect else []
    pixels = rng.integers(0, 255, SHAPE).astype(np.uint8)
    return Micrograph(NAMES[seed], pixels, tuple(defects), SHAPE)


@pytest.fixture
def proposed(tmp_path):
    """Two micrographs with what a model found; their images are in `images`."""
    (tmp_path / "images").mkdir()
    micrographs = [found(0), found(1)]
    for m in micrographs:
        tifffile.imwrite(tmp_path / "images" / f"{m.micrograph_id}.tif", m.pixels)
    return micrographs


def write(kind, micrographs, folder):
    folder.mkdir(exist_ok=True)
    for m in micrographs:
        if kind == "rois":
            write_rois(m, folder / f"{m.micrograph_id}.zip", CLASSES, MODEL)
        elif kind == "labelme":
            write_labelme(m, folder / f"{m.micrograph_id}.json", f"../images/{m.micrograph_id}.tif", (), MODEL)
    if kind == "coco":
        content = coco_found(micrographs, CLASSES, [f"{name}.tif" for name in NAMES], 0.5, MODEL)
        (folder / "found.json").write_text(json.dumps(content))
    return folder


def imported(tmp_path, labels, **given):
    """The micrographs of the data set that the import writes, and its report."""
    out = tmp_path / "data"
    names = {"images": str(tmp_path / "images"), "annotations": str(labels), "source": "auto"}
    settings = ImportSettings(**names, min_alignment=None, data_bar=0, **given)
    report = import_dataset(settings, out, *(tmp_path / name for name in ("q.csv", "o.csv", "s.html")))
    return list(read_dataset(out)), report


def same(one, other):
    return (one.category, one.bbox, one.ignore) == (other.category, other.bbox, other.ignore) and np.array_equal(
        one.mask, other.mask
    )


@pytest.mark.parametrize("kind", ["rois", "labelme", "coco"])
@pytest.mark.parametrize("given", [{}, {"classes": list(CLASSES.names)}])
def test_proposals_come_back_to_the_pixel_in_two_rounds(tmp_path, proposed, kind, given, capsys):
    micrographs = proposed
    for place in ("first", "second"):
        micrographs, report = imported(tmp_path, write(kind, micrographs, tmp_path / place), **given)
        for m, expected in zip(micrographs, proposed, strict=True):
            assert m.labelled_by == MODEL and len(m.defects) == len(expected.defects)
            assert all(map(same, m.defects, expected.defects))
            assert {d.score for d in m.defects} == {1.0}
        assert report["quarantine"] == {"no calibration": 2}
        assert report["proposals"] == {"unchanged": 24, "changed": 0, "added": 0, "removed": 0}
    assert "2 micrographs are as proposed" in capsys.readouterr().out
    assert "labelled by org/name@v1" in (tmp_path / "s.html").read_text()


def corrected_rois(path):
    """Moves the first region, deletes the second, calls the third another class, and adds one of a group."""
    regions = roifile.roiread(path)
    first = regions[0]
    for edge in ("left", "right"):
        setattr(first, edge, getattr(first, edge) + 3)
    if first.multi_coordinates is not None:
        path_ = first.multi_coordinates.reshape(-1)
        first.multi_coordinates = np.array(moved_path(path_.tolist(), 3), np.float32)
    regions[2].name = "0003-100"
    new = roifile.ImagejRoi.frompoints(np.array([[5, 5], [15, 5], [15, 15], [5, 15]]), name="0010-0010")
    new.group = 2
    path.unlink()
    roifile.roiwrite(path, [first, *regions[2:], new])


def moved_path(values, x):
    place = 0
    while place < len(values):
        if values[place] in (0, 1):
            values[place + 1] += x
        place += 3 if values[place] in (0, 1) else 1
    return values


def corrected_labelme(path):
    content = read_json(path)
    first, _, third, *rest = content["shapes"]
    first["points"] = [[x + 3, y] for x, y in first["points"]]
    third["label"] = "100"
    square = [[5, 5], [15, 5], [15, 15], [5, 15]]
    new = {"label": "111", "points": square, "group_id": None, "shape_type": "polygon", "flags": {}}
    path.write_text(json.dumps(content | {"shapes": [first, third, *rest, new]}))


def corrected_coco(path):
    content = read_json(path)
    first, _, third, *rest = content["annotations"]
    first["segmentation"] = [[v + 3 * (k % 2 == 0) for k, v in enumerate(part)] for part in first["segmentation"]]
    first["bbox"][0] += 3
    third["category_id"] = 1
    new = {"id": 99, "image_id": 1, "category_id": 2, "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]]}
    at = next(k for k, a in enumerate(rest) if a["image_id"] == 2)
    path.write_text(json.dumps(content | {"annotations": [first, third, *rest[:at], new, *rest[at:]]}))


CORRECTED = {"rois": corrected_rois, "labelme": corrected_labelme, "coco": corrected_coco}
FILES = {"rois": "a.zip", "labelme": "a.json", "coco": "found.json"}


@pytest.mark.parametrize("kind", CORRECTED)
def test_a_correction_changes_no_other_label_and_is_counted(tmp_path, proposed, kind):
    folder = write(kind, proposed, tmp_path / "labels")
    CORRECTED[kind](folder / FILES[kind])
    (a, b), report = imported(tmp_path, folder)
    assert (a.labelled_by, b.labelled_by) == (f"{MODEL}, reviewed", MODEL)
    assert report["proposals"] == {"unchanged": 21, "changed": 2, "added": 1, "removed": 1}
    first, _, third, *rest = proposed[0].defects
    expected = [replace(first, x=first.x + 3), replace(third, category="100"), *rest]
    square = defect_from_mask("111", np.ones((10, 10), bool), 5, 5)
    assert all(map(same, a.defects, [*expected, square])) and len(a.defects) == 12
    assert all(map(same, b.defects, proposed[1].defects))


def test_patches_keep_who_labelled_them(tmp_path, proposed):
    (a, _), _ = imported(tmp_path, write("labelme", proposed, tmp_path / "labels"), labelled_by="A. Person")
    assert a.labelled_by == "A. Person"
    assert crop(a, 0, 0, (64, 64)).labelled_by == "A. Person"
    assert {tile.labelled_by for tile in tiles([a], 64)} == {"A. Person"}


def region(path, number, **changes):
    """Changes a region of a RoiSet."""
    regions = roifile.roiread(path)
    for name, value in changes.items():
        setattr(regions[number], name, value)
    path.unlink()
    roifile.roiwrite(path, regions)


@pytest.mark.parametrize(
    "changes, category",
    [
        ({"group": 3}, "bdot"),
        ({"name": "0001-111"}, "111"),
        ({"name": "bdot"}, "bdot"),
        ({"name": "bdot-4", "group": 2}, "bdot"),
        ({"name": "111"}, "111"),
        ({"name": "0001-111", "props": ""}, "111"),  # drawn again over the old one, which loses its mark
        ({"name": "0012-0033", "props": "", "group": 3}, "bdot"),
        ({"name": "0001-void"}, "void"),
        ({"name": "0001-7"}, "7"),
        ({"group": 9}, "100"),
    ],
)
@pytest.mark.parametrize("given", [{}, {"classes": [*CLASSES.names, "void", "7"]}])
def test_a_region_takes_another_class_by_name_or_group(tmp_path, proposed, changes, category, given):
    folder = write("rois", proposed, tmp_path / "rois")
    region(folder / "a.zip", 0, **changes)
    (a, b), _ = imported(tmp_path, folder, **given)
    assert a.defects[0].category == category
    assert all(map(same, a.defects[1:], proposed[0].defects[1:]))
    assert all(map(same, b.defects, proposed[1].defects))


def test_what_is_no_mark_is_none(tmp_path, proposed):
    folder = write("rois", proposed, tmp_path / "rois")
    region(folder / "a.zip", 0, props="tem_data: none\nother: 1\n")
    content = read_json(write("labelme", proposed, tmp_path / "labelme") / "a.json")
    content["tem_data"] = ["x"]
    content["shapes"][0]["tem_data"] = 7
    (tmp_path / "labelme" / "a.json").write_text(json.dumps(content))
    for labels in ("rois", "labelme"):
        (a, b), _ = imported(tmp_path, tmp_path / labels)
        assert len(a.defects) == 12 and b.labelled_by == MODEL


def test_a_zip_of_rois_says_nothing_else(tmp_path, proposed):
    path = write("rois", proposed, tmp_path / "rois") / "a.zip"
    with zipfile.ZipFile(path) as archive:
        first = roifile.ImagejRoi.frombytes(archive.read(archive.namelist()[0]))
    assert first.props.startswith("tem_data: ") and first.props.endswith(" 12 1 100 org/name%40v1\n")
