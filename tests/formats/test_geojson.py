import json

import pytest

from tem_data.core.errors import TemDataError
from tem_data.formats.geojson import is_geojson, read_geojson
from tem_data.importing.quarantine import Quarantine
from tests.formats.common import block, check_damaged, inside


def square(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(kind, coordinates, **properties):
    return {
        "type": "Feature",
        "id": "6a2c",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation"} | properties,
    }


HOLED = [square(10, 10, 30, 30), square(15, 15, 20, 20)]
FEATURES = [
    feature("Polygon", HOLED, classification={"name": "loop", "color": [200, 0, 0]}),
    feature("MultiPolygon", [HOLED, [square(40, 40, 45, 50)]], classification="line"),
    feature("Polygon", [square(60, 2, 65, 9)]),
    feature("Polygon", [square(70, 2, 75, 9)], classification={"names": ["loop", "faint"]}),
]


@pytest.mark.parametrize("content", [{"type": "FeatureCollection", "features": FEATURES}, FEATURES])
def test_features_give_their_pixels_and_classes(tmp_path, content):
    (tmp_path / "a 1.geojson").write_text(json.dumps(content))
    quarantine = Quarantine()
    (table,) = read_geojson(tmp_path, quarantine)
    assert is_geojson(content) and (table.file_name, table.shape, quarantine.rows) == ("a 1", None, [])
    assert [label.name for label in table.labels] == ["loop", "line", "", "loop: faint"]
    holed = block(10, 10, 30, 30) & ~block(15, 15, 20, 20)
    assert (inside(table, 0) == holed).all()
    assert (inside(table, 1) == (holed | block(40, 40, 45, 50))).all()
    assert (inside(table, 2) == block(60, 2, 65, 9)).all()
    assert table.labels[2].item == "feature 3"


def test_one_feature_and_none(tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps(FEATURES[0]))
    (tmp_path / "b.json").write_text("[]")
    (tmp_path / "c.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "d.geojson").write_text('{"type": "FeatureCollection"}')
    (tmp_path / "e.geojson").write_text('{"type": ["Feature"]}')
    quarantine = Quarantine()
    assert [(t.file_name, len(t.labels)) for t in read_geojson(tmp_path, quarantine)] == [("a", 1), ("b", 0), ("c", 0)]
    assert [row["item"] for row in quarantine.rows] == ["d.geojson", "e.geojson"]
    assert [is_geojson(c) for c in ([], {}, None, [1], {"type": []})] == [False] * 5


def test_what_is_no_outline_is_counted(tmp_path):
    features = [
        feature("Point", [1, 2]),
        feature("LineString", [[1, 2], [3, 4]]),
        feature("MultiPolygon", []),
        feature("Polygon", []),
        {"type": "Feature", "geometry": None, "properties": None},
        FEATURES[0] | {"properties": None},
    ]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    quarantine = Quarantine()
    (table,) = read_geojson(tmp_path / "a.geojson", quarantine)
    assert (len(table.labels), table.lost, quarantine.counts()) == (1, 5, {"bad entry": 1, "bad shape": 4})


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(TemDataError, match="GeoJSON"):
        read_geojson(tmp_path, Quarantine())


def test_damaged_files_never_stop_it(tmp_path):
    check_damaged({"type": "FeatureCollection", "features": FEATURES[:2]}, tmp_path / "a.geojson", read_geojson)


def test_heights_of_points_are_left_out(tmp_path):
    heights = [[[*point, 7.5] for point in ring] for ring in HOLED]
    (tmp_path / "a.geojson").write_text(json.dumps(feature("Polygon", heights)))
    (table,) = read_geojson(tmp_path, Quarantine())
    assert (inside(table) == (block(10, 10, 30, 30) & ~block(15, 15, 20, 20))).all()
