import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tem_data.core.micrograph import Defect, Micrograph, defect_from_mask
from tem_data.formats.geojson import read_geojson
from tem_data.formats.geojson_writing import write_geojson
from tem_data.importing.checking import Names, checked_defects
from tem_data.importing.quarantine import Quarantine

CLASSES = ("loop", "dot")


def read_back(path):
    quarantine = Quarantine()
    (table,) = read_geojson(path, quarantine)
    found = checked_defects(table, (20, 20), Names({name: name for name in CLASSES}, {}), quarantine)
    assert quarantine.rows == []
    return found


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)), st.sampled_from(CLASSES))
def test_masks_come_back_to_the_pixel(tmp_path_factory, mask, category):
    defect = defect_from_mask(category, mask, 3, 4)
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    write_geojson(Micrograph("a", None, (defect,) if defect else (), (20, 20)), path, CLASSES)
    if defect is None:
        assert json.loads(path.read_text())["features"] == []
        return
    (back,) = read_back(path)
    assert (back.category, back.bbox) == (category, defect.bbox) and np.array_equal(back.mask, defect.mask)


def test_features_say_class_colour_and_confidence(tmp_path):
    apart = np.array([[1, 0, 1]], bool)
    defects = (Defect("dot", 1, 2, np.ones((2, 3), bool), score=0.75), Defect("loop", 5, 5, apart))
    write_geojson(Micrograph("a", None, defects, (20, 20)), tmp_path / "a.geojson", CLASSES)
    dot, loop = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert dot["geometry"] == {"type": "Polygon", "coordinates": [[[1, 2], [4, 2], [4, 4], [1, 4], [1, 2]]]}
    assert dot["properties"]["classification"] == {"name": "dot", "color": [86, 180, 233]}
    assert dot["properties"]["measurements"] == {"confidence": pytest.approx(0.75)}
    assert loop["geometry"]["type"] == "MultiPolygon" and len(loop["geometry"]["coordinates"]) == 2
