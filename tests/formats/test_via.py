import csv
import json

import numpy as np
import pytest

from tem_data.core.errors import TemDataError
from tem_data.formats.via import is_via, read_via
from tem_data.importing.quarantine import Quarantine
from tests.formats.common import block, check_damaged, disc, inside

POLYGON = {"name": "polygon", "all_points_x": [2, 6, 6, 2], "all_points_y": [3, 3, 8, 8]}
SHAPES = [
    (POLYGON, {"class": "loop"}),
    ({"name": "circle", "cx": 30, "cy": 28, "r": 9.5}, {"class": "loop"}),
    ({"name": "ellipse", "cx": 50, "cy": 30, "rx": 14.5, "ry": 5.2, "theta": 0.5}, {"Type": "line", "note": "x"}),
    ({"name": "rect", "x": 60, "y": 2, "width": 5, "height": 7}, {"kind": {"loop": True, "line": False}}),
    ({"name": "point", "cx": 1, "cy": 1}, {"class": "loop"}),
    ({"name": "polyline", "all_points_x": [2, 6, 6], "all_points_y": [3, 3, 8]}, {"class": "loop"}),
    (POLYGON, {"kind": {"loop": True, "line": True}}),
]
PIXELS = [block(2, 3, 6, 8), disc(30, 28, 9.5), disc(50, 30, 14.5, 5.2, np.rad2deg(0.5)), block(60, 2, 65, 9)]
REGIONS = [{"shape_attributes": shape, "region_attributes": attributes} for shape, attributes in SHAPES]


def images(regions=REGIONS, empty=()):
    return {
        "a.png123": {"filename": "sub\\a.png", "size": 123, "regions": regions, "file_attributes": {}},
        "b.png45": {"filename": "b.png", "size": 45, "regions": empty, "file_attributes": {}},
    }


def project(**fields):
    return {"_via_settings": {}, "_via_img_metadata": images(), "_via_attributes": {"region": {}, "file": {}}} | fields


def write_csv(path, regions, first="filename"):
    header = [first, *"file_size file_attributes region_count region_id".split()]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "region_shape_attributes", "region_attributes"])
        for place, region in enumerate(regions):
            texts = [json.dumps(region[field]) for field in ("shape_attributes", "region_attributes")]
            writer.writerow(["sub\\a.png", 123, "{}", len(regions), place, *texts])
        writer.writerow(["b.png", 45, "{}", 0, 0, "{}", "{}"])


def as_csv(tmp_path):
    write_csv(tmp_path / "a.csv", REGIONS)


def as_csv_1(tmp_path):
    write_csv(tmp_path / "a.csv", REGIONS, "#filename")


def as_project(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(project()))


def as_annotations(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(images()))


def as_version_1(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(images(dict(enumerate(REGIONS)), {})))


@pytest.mark.parametrize("write", [as_csv, as_csv_1, as_project, as_annotations, as_version_1])
def test_each_kind_of_file_gives_the_same_labels(tmp_path, write):
    write(tmp_path)
    quarantine = Quarantine()
    first, second = read_via(tmp_path, quarantine)
    assert (first.file_name, first.shape, first.lost) == ("sub/a.png", None, 3)
    assert (second.file_name, second.labels, second.lost) == ("b.png", (), 0)
    assert [label.name for label in first.labels] == ["loop", "loop", "line", "loop"]
    for place, pixels in enumerate(PIXELS):
        assert (inside(first, place) == pixels).all(), place
    assert quarantine.counts() == {"bad shape": 2, "conflicting class": 1}
    assert [row["item"] for row in quarantine.rows] == ["region 5", "region 6", "region 7"]


@pytest.mark.parametrize(
    "attributes, name",
    [
        ({}, ""),
        ({"a": "loop"}, "loop"),
        ({"a": "loop", "b": "line"}, ""),
        ({"a": "loop", "b": ""}, "loop"),
        ({"LABEL": "loop", "name": "no"}, "loop"),
        ({"class": {"loop": True}}, "loop"),
        ({"class": {"loop": False}}, ""),
        ({"class": 3}, "3"),
    ],
)
def test_the_class_among_the_attributes(tmp_path, attributes, name):
    regions = [{"shape_attributes": POLYGON, "region_attributes": attributes}]
    (tmp_path / "a.json").write_text(json.dumps(images(regions)))
    table, _ = read_via(tmp_path, Quarantine())
    assert table.labels[0].name == name


def version_3():
    xy = [
        [7, 2, 3, 6, 3, 6, 8, 2, 8],
        [3, 30, 28, 9.5],
        [4, 50, 30, 14.5, 5.2],
        [2, 60, 2, 5, 7],
        [8, 60, 4, 62, 2, 65, 5, 61, 9],
        [9, 39.5, 28, 30, 37.5, 20.5, 28],
        [1, 5, 5],
        [6, 5, 5, 6, 6, 7, 5],
        [],
    ]
    values = [{"1": "0"}, {"1": "1"}, {"1": "0", "2": "old"}, {"2": "loop"}, {"3": "0"}, {"3": "0,1"}, {}, {}, {}]
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "vid_list": ["1", "2"]},
        "config": {},
        "attribute": {
            "1": {"aname": "class", "type": 4, "options": {"0": "loop", "1": "line"}},
            "2": {"aname": "note", "type": 1, "options": {}},
            "3": {"aname": "kinds", "type": 2, "options": {"0": "loop", "1": "line"}},
        },
        "file": {"1": {"fid": "1", "fname": "a.png", "type": 2}, "2": {"fid": 2, "fname": "b.png", "type": 2}},
        "metadata": {
            f"1_{i}": {"vid": "1", "flg": 0, "z": [], "xy": s, "av": v}
            for i, (s, v) in enumerate(zip(xy, values, strict=True))
        },
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}},
    }


def test_version_3(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(version_3()))
    quarantine = Quarantine()
    first, second = read_via(tmp_path / "a.json", quarantine)
    assert (first.file_name, second.file_name, second.labels, first.lost) == ("a.png", "b.png", (), 3)
    assert [label.name for label in first.labels] == ["loop", "line", "loop", "loop", "loop"]
    expected = [*PIXELS[:2], disc(50, 30, 14.5, 5.2), PIXELS[3], PIXELS[3]]
    for place, pixels in enumerate(expected):
        assert (inside(first, place) == pixels).all(), place
    assert quarantine.counts() == {"bad shape": 2, "conflicting class": 1}


def test_a_circle_through_three_points(tmp_path):
    content = version_3()
    content["metadata"]["1_5"]["av"] = {}
    (tmp_path / "a.json").write_text(json.dumps(content))
    first, _ = read_via(tmp_path / "a.json", Quarantine())
    assert first.labels[5].outline == pytest.approx((30, 28, 19, 19, 0))


def test_shapes_of_files_that_are_missing_are_said(tmp_path):
    content = version_3()
    del content["file"]["1"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    quarantine = Quarantine()
    (table,) = read_via(tmp_path / "a.json", quarantine)
    assert table.file_name == "b.png" and quarantine.counts() == {"missing image": 1}


def test_an_image_whose_regions_are_missing_is_not_free_of_defects(tmp_path):
    content = images()
    del content["b.png45"]["regions"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    quarantine = Quarantine()
    assert [table.file_name for table in read_via(tmp_path, quarantine)] == ["sub/a.png"]
    assert quarantine.counts()["bad entry"] == 1


def test_other_files(tmp_path):
    assert [is_via(c) for c in (None, [], {}, {"images": []}, {"shapes": []}, project(), images(), version_3())] == [
        *[False] * 5,
        *[True] * 3,
    ]
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    quarantine = Quarantine()
    assert read_via(tmp_path, quarantine) == [] and quarantine.counts() == {"unreadable table": 2}
    with pytest.raises(TemDataError, match="VIA"):
        read_via(tmp_path / "none", Quarantine())


def test_damaged_files_never_stop_it(tmp_path):
    path = tmp_path / "a.json"
    check_damaged(project(_via_img_metadata=images(REGIONS[:4])), path, read_via)
    check_damaged(images(dict(enumerate(REGIONS[:2]))), path, read_via)
    content = version_3()
    content["metadata"] = {key: content["metadata"][key] for key in ("1_0", "1_2", "1_4", "1_5")}
    check_damaged(content, path, read_via)


def test_damaged_tables_never_stop_it(tmp_path):
    write_csv(tmp_path / "a.csv", REGIONS)
    text = (tmp_path / "a.csv").read_text()
    rng = np.random.default_rng(0)
    for _ in range(300):
        place, length = rng.integers(len(text)), rng.integers(9)
        (tmp_path / "a.csv").write_text(
            text[:place] + rng.choice(["", "[", "1e999", '"', ","]) + text[place + length :]
        )
        read_via(tmp_path, Quarantine())
