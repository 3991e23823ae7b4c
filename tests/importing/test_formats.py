import json

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_ops

from tem_data.coco.labels import read_coco
from tem_data.core.errors import TemDataError
from tem_data.importing.fiji import parse_log, read_ellipses, read_fiji
from tem_data.importing.images import nm_per_px_in_metadata, read_image
from tem_data.importing.labels import Ellipse, Pixels, Polygons
from tem_data.importing.mask_images import read_masks
from tem_data.importing.quarantine import Quarantine


def coco(path, annotations, **changes):
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 12, "height": 10}],
        "categories": [{"id": 1, "name": "loop"}],
        "annotations": [{"id": i, "image_id": 7, "category_id": 1} | a for i, a in enumerate(annotations)],
    }
    path.write_text(json.dumps(content | changes))
    return path


def test_coco_polygons_and_both_kinds_of_rle_are_the_same_shape(tmp_path):
    square = [2, 3, 6, 3, 6, 8, 2, 8]
    packed = rle_ops.merge(rle_ops.frPyObjects([square], 10, 12))
    full = rle_ops.decode(packed)
    runs = np.flatnonzero(np.diff(np.r_[0, full.ravel(order="F"), 0])).tolist()
    counts = np.diff([0, *runs, full.size]).tolist()
    path = coco(
        tmp_path / "a.json",
        [
            {"segmentation": [square], "area": 20},
            {"segmentation": {"size": [10, 12], "counts": packed["counts"].decode()}},
            {"segmentation": {"size": [10, 12], "counts": counts}},
            {"segmentation": []},
        ],
    )
    quarantine = Quarantine()
    (table,) = read_coco(path, quarantine)
    assert (table.file_name, table.shape, quarantine.rows) == ("a.png", (10, 12), [])
    assert table.labels[0].outline == Polygons(((2, 3, 6, 3, 6, 8, 2, 8),)) and table.labels[3].outline is None
    for label in table.labels[:3]:
        defect = label.outline.drawn("loop", (10, 12), False)
        assert (defect.bbox, defect.area) == ((2, 3, 4, 5), 20)


def test_coco_double_ids_and_lost_images_go_to_the_quarantine(tmp_path):
    images = [{"id": 7, "file_name": "a.png"}, {"id": 7, "file_name": "b.png"}, {"id": 8, "file_name": "a.png"}]
    annotations = [{"id": 0}, {"id": 0}, {"image_id": 9}]
    quarantine = Quarantine()
    (table,) = read_coco(coco(tmp_path / "a.json", annotations, images=images), quarantine)
    assert len(table.labels) == 2 and table.shape is None
    assert quarantine.counts() == {"duplicate id": 3, "missing image": 1}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "COCO"),
        ("[]", "images"),
        ('{"images": [], "categories": []}', "annotations"),
        ('{"images": [{"id": 1}], "categories": [], "annotations": []}', r"images\[0\]: has no file_name"),
    ],
)
def test_no_coco_file(tmp_path, text, named):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(TemDataError, match=f"a.json.*{named}"):
        read_coco(tmp_path / "a.json", Quarantine())


def test_ellipse_table_with_other_columns(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("image,class,x_px,y_px,major_px,minor_px,angle_deg\nb.png,1,2,3,4,,6\na.png,2,1,1,2,2,0\n")
    first, second = read_ellipses(path, {"file_name": "image"})
    assert (first.file_name, first.labels[0].item, first.labels[0].name) == ("b.png", "row 2", "1")
    assert np.isnan(first.labels[0].outline.minor) and second.labels[0].outline == Ellipse(1, 1, 2, 2, 0)
    with pytest.raises(TemDataError, match="e.csv.*missing: file_name"):
        read_ellipses(path)
    with pytest.raises(TemDataError, match="width"):
        read_ellipses(path, {"width": "w"})


def test_decimal_commas_in_an_ellipse_table_are_refused(tmp_path):
    header = "file_name,class,x_px,y_px,major_px,minor_px,angle_deg"
    (tmp_path / "e.csv").write_text(f"{header}\na.png,1,1,2,2,2,0\na.png,1,1,5,2,2,2,0\n")
    with pytest.raises(TemDataError, match="e.csv row 3: expected a cell for each of the 7 columns, found 8"):
        read_ellipses(tmp_path / "e.csv")


def test_a_fiji_table_with_decimal_commas_is_set_aside(tmp_path):
    (tmp_path / "a_results.csv").write_text(" ,X,Y,Major,Minor,Angle\n1,10,5,20,4,3,45\n")
    (tmp_path / "a_log.txt").write_text("0\n1\n")
    quarantine = Quarantine()
    assert read_fiji(tmp_path, tmp_path, {0: "loop"}, quarantine) == []
    (row,) = quarantine.rows
    assert row["reason"] == "unreadable table" and "row 2: expected a cell" in row["detail"]


def test_fiji_log():
    assert parse_log("0\n1 3\n\n1\n7 9 12\n\n\n2\n\n5\n4\n") == {0: [1, 2, 3], 1: [7, 9, 12], 2: [], 5: [4]}
    for wrong in ("0\n1 3\n4 5\n", "bdot\n1 3\n", ""):
        with pytest.raises(ValueError, match="class number"):
            parse_log(wrong)


def test_fiji_pairs(tmp_path):
    rows = "".join(f"{i},{i},10,20,4,3,45\n" for i in range(1, 6))
    for stem in ("a", "nolog"):
        (tmp_path / f"{stem}_results.csv").write_text(" ,Area,X,Y,Major,Minor,Angle\n" + rows)
    (tmp_path / "a_log.txt").write_text("0\n1 2\n\n1\n2 4 9\n\n2\n5\n")
    Image.new("L", (30, 30)).save(tmp_path / "a.tif")
    quarantine = Quarantine()
    (table,) = read_fiji(tmp_path, tmp_path, {0: "loop", 1: "dot"}, quarantine)
    assert table.file_name == "a.tif"
    assert [(r.item, r.name) for r in table.labels] == [
        ("row 1", "loop"), ("row 3", ""), ("row 4", "dot"), ("row 5", "class number 2")
    ]  # fmt: skip
    assert [(r["item"], r["reason"]) for r in quarantine.rows] == [
        ("row 9", "missing row"), ("row 2", "conflicting class"), ("nolog_results.csv", "unreadable table")
    ]  # fmt: skip
    with pytest.raises(TemDataError, match="_results.csv"):
        read_fiji(tmp_path / "none", tmp_path, {0: "loop"}, quarantine)


@pytest.mark.parametrize("log, kept", [(None, True), ("\n", True), ("0\n\n1\n", True), ("0\n1 3\n", False)])
def test_a_fiji_table_without_rows_is_an_image_without_defects(tmp_path, log, kept):
    (tmp_path / "a_results.csv").write_text(" ,Area,X,Y,Major,Minor,Angle\n")
    if log is not None:
        (tmp_path / "a_log.txt").write_text(log)
    quarantine = Quarantine()
    tables = read_fiji(tmp_path, tmp_path, {0: "loop"}, quarantine)
    assert [table.labels for table in tables] == ([()] if kept else [])
    assert quarantine.counts() == ({} if kept else {"unreadable table": 1})


def test_a_fiji_table_without_a_header_cannot_be_read(tmp_path):
    for name in ("a_results.csv", "a_log.txt"):
        (tmp_path / name).write_text("")
    quarantine = Quarantine()
    assert read_fiji(tmp_path, tmp_path, {0: "loop"}, quarantine) == []
    assert quarantine.counts() == {"unreadable table": 1}


def test_masks_by_value_and_by_instance(tmp_path):
    for folder in ("images", "masks", "maps"):
        (tmp_path / folder).mkdir()
    mask, numbers = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint16)
    mask[2:5, 2:5], mask[5:8, 5:8], mask[12:15, 1:4], mask[19, 19] = 85, 85, 170, 3
    numbers[2:5, 2:5], numbers[5:8, 5:8] = 300, 2
    cv2.imwrite(str(tmp_path / "masks/a.png"), mask)
    cv2.imwrite(str(tmp_path / "maps/a.png"), numbers)
    Image.new("L", (20, 20)).save(tmp_path / "images/a.jpg")
    folders = tmp_path / "masks", tmp_path / "images", {85: "x", 170: "y"}
    (table,) = read_masks(*folders, Quarantine())
    # the two squares touch at a corner and are one region
    assert [(r.name, r.outline.mask.sum()) for r in table.labels] == [("value 3", 1), ("x", 18), ("y", 9)]
    assert (table.file_name, table.shape) == ("a.jpg", (20, 20))
    (table,) = read_masks(*folders, Quarantine(), tmp_path / "maps")
    assert [(r.name, r.outline.box()) for r in table.labels] == [("x", (5, 5, 8, 8)), ("x", (2, 2, 5, 5))]


@pytest.mark.parametrize(
    "outline",
    [
        Ellipse(20, 15, 12, 6, 30),
        Polygons(((5, 5, 15, 5, 15, 9, 5, 9),)),
        Pixels(np.ones((4, 10), bool), 5, 5, (40, 40)),
    ],
)
def test_an_outline_is_drawn_with_its_box_and_area(outline):
    defect = outline.drawn("x", (40, 40), True)
    x, y, w, h = defect.bbox
    assert (x, y, x + w, y + h) == pytest.approx(outline.box(), abs=1)
    assert defect.area == pytest.approx(outline.area(), rel=0.05) and defect.ignore


def test_images_of_more_than_8_bits_and_of_colour_become_8_bit_grey(tmp_path):
    deep = np.linspace(1000, 3000, 64 * 64).reshape(64, 64)
    cv2.imwrite(str(tmp_path / "deep.png"), deep.astype(np.uint16))
    cv2.imwrite(str(tmp_path / "deep.tif"), deep.astype(np.float32))
    cv2.imwrite(str(tmp_path / "colour.png"), np.full((8, 8, 3), 77, np.uint8))
    expected = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    for name in ("deep.png", "deep.tif"):
        image = read_image(tmp_path / name)
        assert image.dtype == np.uint8 and np.abs(image - expected).max() < 2
    assert (read_image(tmp_path / "colour.png") == 77).all()


def test_calibration_that_fiji_wrote_into_a_tiff(tmp_path):
    picture = Image.new("L", (8, 8))
    for unit, resolution, expected in (("nm", 2.0, 0.5), ("\\u00B5m", 4000.0, 0.25), ("inch", 72.0, None)):
        description = f"ImageJ=1.54f\nunit={unit}\n"
        picture.save(tmp_path / "a.tif", tiffinfo={270: description, 282: resolution, 283: resolution})
        assert nm_per_px_in_metadata(tmp_path / "a.tif") == (expected and pytest.approx(expected))
    picture.save(tmp_path / "a.png", dpi=(300, 300))
    assert nm_per_px_in_metadata(tmp_path / "a.png") is None


def test_quarantine_writes_and_sums_up(tmp_path):
    quarantine = Quarantine()
    assert quarantine.summary() == "nothing found wrong"
    for item in ("row 2", "row 3"):
        quarantine.add("a, b.png", item, "no class", "set aside")
    quarantine.write(tmp_path / "q.csv")
    assert (tmp_path / "q.csv").read_text().splitlines() == [
        "file,item,reason,action,detail", '"a, b.png",row 2,no class,set aside,', '"a, b.png",row 3,no class,set aside,'
    ]  # fmt: skip
    assert quarantine.summary().split(":")[0].split() == ["2", "no", "class,", "set", "aside"]
