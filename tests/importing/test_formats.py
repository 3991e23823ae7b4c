import json

import numpy as np
import pytest
from pycocotools import mask as rle_ops

from tem_data.coco.labels import read_coco
from tem_data.core.errors import TemDataError
from tem_data.importing.labels import Ellipse, Pixels, Polygons
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
