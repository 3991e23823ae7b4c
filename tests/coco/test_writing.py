import json

import numpy as np
import pytest

from tem_data.coco.writing import coco_results, read_results
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
