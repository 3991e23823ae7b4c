import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from tem_data.core.files import write_json
from tem_data.core.micrograph import Micrograph, defect_from_mask
from tem_data.core.schema import Classes, write_dataset
from tem_data.detection.detector import Detector
from tem_data.detection.scores import read_scores
from tem_data.materials import Materials
from tem_data.scoring.evaluation import EvaluationSettings
from tem_data.scoring.scores import Counts, scores_of
from tem_data.trust import steps
from tem_data.trust.calibration import read_calibration
from tem_data.trust.record import Judged, scores_record
from tem_data.trust.steps import score_on_validation
from tests.helpers.toy_detector import PERFECT

CLASSES = ("100", "bdot", "void")
COUNTS = Counts(np.array([[6, 1, 0], [0, 2, 0], [0, 0, 0]]), np.array([10, 4, 0]), np.array([8, 3, 0]))


def test_the_record_is_what_a_detector_reads(tmp_path):
    scores = scores_of(COUNTS, CLASSES, 0.4)
    materials = Materials(size={"bdot": "dot"}, burgers_nm=0.25)
    record = scores_record(Judged(scores, 2), Judged(scores, 22), materials, split=1, size=10, trust={"a": [1.0]})
    write_json(tmp_path / "scores.json", record)
    read = read_scores(tmp_path)
    assert (read.threshold, read.split, read.size, read.trust) == (0.4, 1, 10, {"a": [1.0]})
    assert (read.validation.micrographs, read.test.micrographs) == (2, 22)
    assert (read.test.f1_detect, read.test.f1_class, read.test.f1_hm) == (
        scores.f1_detect, scores.f1_class, scores.f1_hm
    )  # fmt: skip
    assert asdict(read.test.by_class["100"]) == {"precision": 0.75, "recall": 0.6, "truths": 10, "predictions": 8}
    assert read.test.by_class["void"].precision is read.test.by_class["void"].recall is None
    assert Materials(**read.materials) == materials
    alone = scores_record(Judged(scores, 2), None, Materials())
    assert alone["test"] is alone["split"] is alone["size"] is None and json.dumps(alone, allow_nan=False)


@pytest.fixture
def patches(tmp_path):
    """Three bright squares, of which one is no defect, and none on the training patch."""
    image = np.zeros((64, 64), np.uint8)
    corners = ((4, 4), (30, 4), (4, 40))
    for x, y in corners:
        image[y : y + 10, x : x + 10] = 200
    defects = tuple(defect_from_mask("square", np.ones((10, 10), bool), x, y) for x, y in corners[:2])
    whole = Micrograph("m", image, defects, (64, 64))
    rows = {"train": [replace(whole, defects=())], "validation": [whole, replace(whole, micrograph_id="n")]}
    write_dataset(tmp_path / "patches", rows, Classes(("square",)))
    (tmp_path / "detector").mkdir()
    return tmp_path / "patches"


def test_validation_chooses_the_threshold(patches, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Detector, "from_pretrained", lambda folder: PERFECT)
    score_on_validation(tmp_path / "detector", patches, EvaluationSettings(), Materials())
    scores = read_scores(tmp_path / "detector")
    assert scores.threshold == 0.7 and scores.validation.f1_hm == 1 and scores.validation.micrographs == 2
    calibration = read_calibration(scores, 1)
    assert (calibration.threshold, calibration.micrographs, len(calibration.looks)) == (0.7, 2, 1)
    assert calibration.mean_f1_hm == 1 and calibration.reliability.missed_per_faint == 0
    assert scores.test is None and "threshold 0.7, F1_HM 1.000" in capsys.readouterr().out


@pytest.mark.parametrize("defects", [(), None])
def test_without_a_defect_on_validation_no_threshold_is_chosen(patches, tmp_path, capsys, monkeypatch, defects):
    monkeypatch.setattr(steps, "predict_patches", lambda *_: pytest.fail("nothing is to be found"))
    empty = Micrograph("m", np.zeros((64, 64), np.uint8), (), (64, 64))
    rows = {"train": [empty]} | ({"validation": [empty]} if defects is not None else {})
    write_dataset(patches, rows, Classes(("square",)))
    score_on_validation(tmp_path / "detector", patches, EvaluationSettings(), Materials())
    assert read_scores(tmp_path / "detector") is None and "the threshold of" in capsys.readouterr().out
