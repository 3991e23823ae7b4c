import json

import numpy as np
import pytest

from tem_data.coco.ids import truth_ids
from tem_data.coco.writing import coco_results, coco_truth, read_results
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.schema import Classes

CLASSES = Classes(("loop", "dot"))


@pytest.fixture
def found(tmp_path):
    """A micrograph with one dot of score 0.5, and a function that writes its results, changed, and reads them."""
    micrograph = Micrograph("a", None, (Defect("dot", 3, 2, np.ones((4, 5), bool), score=0.5),), (20, 30))

    def read(**changes):
        (result,) = coco_results([micrograph.defects], [micrograph], CLASSES)
        (tmp_path / "r.json").write_text(json.dumps([result | changes]))
        return read_results(tmp_path / "r.json", CLASSES.names, 1)

    return micrograph, read


def test_results_come_back(found):
    micrograph, read = found
    ((defect,),) = read()
    assert (defect.category, defect.bbox, defect.score) == ("dot", micrograph.defects[0].bbox, 0.5)


@pytest.mark.parametrize("field, wrong", [("category_id", 0), ("category_id", 3), ("image_id", 0), ("image_id", 2)])
def test_ids_that_python_would_count_from_the_end_are_refused(found, field, wrong):
    with pytest.raises(TemDataError, match=f"r.json: item 0: expected `{field}` to be 1 to [12], found {wrong}"):
        found[1](**{field: wrong})


def test_ids_are_those_that_the_ground_truth_writes(found, tmp_path):
    truth = coco_truth([found[0]], CLASSES, [r"x\\a.png"])
    truth["images"][0]["id"], truth["categories"][1]["id"] = "seven", 9.0
    del truth["annotations"]
    (tmp_path / "t.json").write_text(json.dumps(truth), encoding="utf-8-sig")
    assert truth_ids(tmp_path / "t.json", ["a.png"], ["dot"]) == (["seven"], {"loop": 1, "dot": 9.0}, 0)
