import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.formats.labelme import is_labelme, read_labelme, write_labelme
from tem_data.importing.labels import Ellipse
from tem_data.importing.quarantine import Quarantine
from tests.formats.common import CLASSES, SHAPE, block, check_damaged, disc, inside, micrograph, same_defects


def png(mask, mode=np.uint8):
    file = io.BytesIO()
    Image.fromarray(mask.astype(mode)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def shape(kind, points, label="loop", **fields):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | fields


MASK = np.array([[1, 1, 0], [0, 1, 1]], bool)
SHAPES = [
    shape("polygon", [[2, 3], [6, 3], [6, 8], [2, 8]]),
    shape("circle", [[30, 28], [39, 28]]),
    shape("rectangle", [[20, 12], [10, 2]], "line"),
    shape("oriented_rectangle", [[50, 10], [60, 10], [60, 14], [50, 14]], flags={"ignore": True}),
    shape("mask", [[70, 50], [72, 51]], mask=png(MASK)),
    shape("polygon", [[40, 40], [44, 40], [44, 44], [40, 44]], group_id=3),
    shape("circle", [[48, 42], [50, 42]], group_id=3),
    shape("circle", [[48, 52], [50, 52]], "line", group_id=3),
]


def content(shapes=SHAPES, **fields):
    top = {"version": "5.4.1", "flags": {}, "imagePath": "..\\images\\a.png", "imageData": None, "imageHeight": 60}
    return top | {"imageWidth": 80.0, "shapes": shapes} | fields


def write(path, *args, **fields):
    path.write_text(json.dumps(content(*args, **fields)))
    return path


def test_each_kind_of_shape_gives_its_pixels(tmp_path):
    quarantine = Quarantine()
    (table,) = read_labelme(write(tmp_path / "a.json"), quarantine)
    assert is_labelme(content())
    assert (table.file_name, table.shape, table.lost, quarantine.rows) == ("../images/a.png", SHAPE, 0, [])
    assert [label.name for label in table.labels] == ["loop", "loop", "line", "loop", "loop", "loop", "line"]
    assert [label.ignore for label in table.labels] == [False, False, False, True, False, False, False]
    mask = np.zeros(SHAPE, bool)
    mask[50:52, 70:73] = MASK
    joined = block(40, 40, 44, 44) | disc(48, 42, 2)
    expected = [block(2, 3, 6, 8), disc(30, 28, 9), block(10, 2, 20, 12), block(50, 10, 60, 14), mask, joined]
    for place, pixels in enumerate(expected):
        assert (inside(table, place) == pixels).all(), place
    assert table.labels[1].outline == Ellipse(30, 28, 18, 18, 0)
    assert table.labels[5].item == "shape 6 + shape 7"


def test_what_is_no_outline_is_counted(tmp_path):
    shapes = [
        shape("point", [[1, 1]]),
        shape("line", [[1, 1], [2, 2]]),
        shape("linestrip", [[1, 1], [2, 2], [5, 1]]),
        shape("points", [[1, 1], [2, 2]]),
        shape("polygon", [[1, 1], [2, 2]]),
        shape("circle", [[1, 1], [1, 1]]),
        shape("mask", [[1, 1], [3, 3]], mask=png(MASK)),
        shape("mask", [[1, 1], [3, 3]], mask="no PNG"),
        shape("polygon", [[1, 1], [2, 2], [3, float("nan")]]),
        shape("circle", [[30, 28], [39, 28]]),
    ]
    quarantine = Quarantine()
    (table,) = read_labelme(write(tmp_path / "a.json", shapes), quarantine)
    assert (len(table.labels), table.lost, quarantine.counts()) == (1, 9, {"bad shape": 9})
    assert quarantine.rows[2]["item"] == "shape 3"


def test_masks_of_converters_that_leave_the_last_pixel_out_lie_in_the_same_place(tmp_path):
    path = write(tmp_path / "a.json", [shape("mask", [[70, 50], [73, 52]], mask=png(MASK * 255))])
    (table,) = read_labelme(path, Quarantine())
    assert (inside(table)[50:52, 70:73] == MASK).all()


def test_a_folder_is_read_file_by_file(tmp_path):
    write(tmp_path / "b.json", [], imagePath=None, imageHeight=None)
    write(tmp_path / "a.json")
    (tmp_path / "c.json").write_text("{")
    (tmp_path / "d.json").write_text('{"images": []}')
    (tmp_path / "e.json").write_text("[" * 100000)
    (tmp_path / "f.json").mkdir()
    quarantine = Quarantine()
    tables = read_labelme(tmp_path, quarantine)
    assert [(t.file_name, len(t.labels), t.shape) for t in tables] == [("../images/a.png", 7, SHAPE), ("b", 0, None)]
    assert [row["file"] for row in quarantine.rows] == ["c.json", "d.json", "e.json"]
    assert quarantine.counts() == {"unreadable table": 3}


def test_no_file_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(TemDataError, match="expected LabelMe"):
            read_labelme(path, Quarantine())


def test_damaged_files_never_stop_it(tmp_path):
    check_damaged(content(SHAPES[:2] + SHAPES[4:7]), tmp_path / "a.json", read_labelme)


def test_ten_times_there_and_back_changes_nothing(tmp_path):
    path, first = tmp_path / "labels" / "a.json", micrograph()
    defects, contents = first.defects, set()
    for _ in range(10):
        write_labelme(Micrograph("a", None, defects, SHAPE), path, "../images/a.tif", CLASSES.ignored)
        contents.add(path.read_bytes())
        (table,) = read_labelme(path.parent, Quarantine())
        assert same_defects(table, first.defects) and table.shape == SHAPE
        defects = tuple(
            label.outline.drawn(label.name, SHAPE, label.ignore or label.name == "ambiguous") for label in table.labels
        )
    assert len(contents) == 1
    kinds = [entry["shape_type"] for entry in json.loads(path.read_text())["shapes"]]
    assert kinds == ["polygon", "polygon", "mask", "mask", "mask", "polygon", "polygon", "polygon"]


def test_no_defects_are_a_file_without_shapes(tmp_path):
    write_labelme(Micrograph("a", None, (), SHAPE), tmp_path / "a.json", "a.tif")
    (table,) = read_labelme(tmp_path, Quarantine())
    assert (table.file_name, table.labels, table.lost) == ("a.tif", (), 0)


def test_labels_lie_on_the_picture_within_the_file(tmp_path):
    picture = png(np.zeros((30, 40)))
    for given, size in (
        ({"imageData": picture}, (30, 40)),
        ({"imageData": picture, "imageHeight": None, "imageWidth": None}, (30, 40)),
        ({"imageData": picture, "imageHeight": 40, "imageWidth": 30}, (40, 30)),  # a camera's, turned
        ({"imageData": "no picture"}, (60, 80)),
        ({"imageData": None}, (60, 80)),
    ):
        (table,) = read_labelme(write(tmp_path / "a.json", **given), Quarantine())
        assert table.shape == size


def test_a_class_of_one_group_is_said(tmp_path):
    discs = [shape("circle", [[x, 10], [x + 4, 10]], group_id=0) for x in (10, 30, 50)]
    quarantine = Quarantine()
    (table,) = read_labelme(write(tmp_path / "a.json", discs), quarantine)
    assert len(table.labels) == 1
    (row,) = quarantine.rows
    assert (row["reason"], row["action"]) == ("duplicate id", "joined") and "all 3 shapes 'loop'" in row["detail"]
    numbered = [disc | {"group_id": place} for place, disc in enumerate(discs)]
    quarantine = Quarantine()
    (table,) = read_labelme(write(tmp_path / "a.json", numbered), quarantine)
    assert len(table.labels) == 3 and not quarantine.rows


def test_what_other_programs_write(tmp_path):
    corners = [[50, 10], [60, 10], [60, 14], [50, 14]]
    path = write(
        tmp_path / "a.json", [shape("rotation", corners, "loop ", direction=0)], imagePath="http://h/x/a.png?s=1"
    )
    (table,) = read_labelme(path, Quarantine())
    assert (inside(table) == block(50, 10, 60, 14)).all()
    assert (table.file_name, table.labels[0].name) == ("x/a.png", "loop")
