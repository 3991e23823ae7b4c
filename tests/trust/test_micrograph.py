import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tem_data.core.micrograph import defect_from_mask
from tem_data.detection.scores import DetectorScores, RoleScores
from tem_data.trust.appearance import appearance_of, looks_of, novelty, strangest
from tem_data.trust.calibration import calibrate, record_of
from tem_data.trust.columns import TRUST_COLUMNS, trust_columns, trust_row
from tem_data.trust.micrograph import Trust
from tests.helpers.toy_detector import about
from tests.trust.worlds import THRESHOLD, drawn

CLASSES = ("a", "b")


def picture(mean=120, sigma=2.0, side=128, seed=0):
    import cv2

    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(side, side)), (0, 0), sigma)
    return np.clip(mean + 25 * noise / noise.std(), 0, 255).astype(np.uint8)


LOOKS = np.array([appearance_of(picture(mean=m, seed=m), 64) for m in (110, 120, 130)])


def detector(trust=None):
    scores = None if trust is None else DetectorScores(THRESHOLD, RoleScores(1, 0, 0, 0, {}), trust=trust)
    return SimpleNamespace(
        classes=CLASSES, about=about(CLASSES), scores=scores, threshold=scores.threshold if scores else 0.5
    )


@pytest.fixture(scope="module")
def calibrated():
    return Trust.of_detector(detector(json.loads(json.dumps(record_of(calibrate(drawn(20), THRESHOLD, LOOKS))))))


def defects(*scores):
    return [defect_from_mask("a", np.ones((3, 3), bool), 4 * n, 0, score=score) for n, score in enumerate(scores)]


def test_sure_finds_are_trusted_more(calibrated):
    sure = calibrated.of(defects(*[0.98] * 30), 1.0, picture())
    unsure = calibrated.of(defects(*[0.5] * 30), 30.0, picture())
    assert sure.f1_hm.value > unsure.f1_hm.value + 0.1
    assert sure.missed < unsure.missed and sure.uncertain == 0 and unsure.uncertain == 30
    assert sure.reasons == ()
    assert unsure.reasons == ("30 of 30 finds are uncertain", unsure.reasons[1]) and "missed" in unsure.reasons[1]
    assert set(sure.counts) == {"a", "b", "all"}
    assert sure.counts["all"].value == pytest.approx(sure.counts["a"].value + sure.counts["b"].value)


def test_a_micrograph_unlike_those_trained_on_is_told(calibrated):
    usual, blurred = (calibrated.of(defects(0.9), 0.0, image) for image in (picture(), picture(sigma=9)))
    assert usual.novelty < 2 < blurred.novelty
    assert usual.reasons == () and blurred.reasons[0].startswith("looks unlike what was trained on: ")


def test_it_looks_as_it_was_searched(calibrated):
    import cv2

    enlarged = cv2.resize(picture(), (256, 256), interpolation=cv2.INTER_CUBIC)
    assert calibrated.of([], 0.0, enlarged, factor=0.5).novelty < calibrated.of([], 0.0, enlarged).novelty


def test_the_note_is_a_reason(calibrated):
    assert calibrated.of(defects(0.99), 0.0, picture(), note="scale unknown").reasons[0] == "scale unknown"


def test_nothing_found(calibrated):
    trust = calibrated.of([], 0.0, picture())
    assert trust.f1_hm is None and trust.counts["all"].low == 0 and "nothing was found" in trust.reasons


@pytest.mark.parametrize("record", [None, {}])
def test_without_calibration_nothing_is_claimed(record):
    trust = Trust.of_detector(detector(record)).of(defects(0.9), 1.0, picture())
    assert trust.f1_hm is trust.uncertain is trust.missed is trust.novelty is None and trust.counts == {}


def test_another_threshold_is_not_calibrated():
    record = record_of(calibrate(drawn(5), THRESHOLD, LOOKS))
    trust = Trust.of_detector(detector(record), threshold=0.7).of(defects(0.9), 1.0, picture())
    assert trust.f1_hm is None and trust.counts == {} and trust.novelty is not None


def test_a_row_of_the_table(calibrated):
    trust = calibrated.of(defects(*[0.9] * 20), 2.0, picture())
    numbers = {"count": 20, "density": 40.0, "unknown": None}
    row = trust_row(trust, "a", numbers, ("density", "unknown"))
    assert tuple(row) == trust_columns(("density", "unknown")) and tuple(row)[: len(TRUST_COLUMNS)] == TRUST_COLUMNS
    assert row["corrected_density"] == pytest.approx(2 * row["corrected_count"])
    assert row["corrected_count_low"] <= row["corrected_count"] <= row["corrected_count_high"]
    assert row["corrected_unknown"] is None
    none = trust_row(replace(trust, counts={}, f1_hm=None), "a", numbers, ("density",))
    assert none["corrected_density"] is none["corrected_count"] is none["expected_f1_hm"] is None
    assert trust_row(trust, "b", {"count": 0, "density": 0.0}, ("density",))["corrected_density"] is None


def test_appearance():
    small, large = appearance_of(picture(side=64), 64), appearance_of(picture(side=640), 64)
    assert np.abs(small - large)[1:].max() < 0.3
    assert (
        appearance_of(picture()[:5, :7], 64).shape == (6,)
        and np.isfinite(appearance_of(np.zeros((1, 1), np.uint8), 64)).all()
    )
    assert strangest(appearance_of(picture(mean=200), 64), LOOKS) == "more brightness"
    assert novelty(LOOKS[0], LOOKS) == 0 and novelty(appearance_of(picture(mean=200), 64), LOOKS[:1]) > 2


def test_looks_are_by_micrograph():
    patches = [SimpleNamespace(micrograph_id=name, pixels=picture(seed=n)) for n, name in enumerate("xxy")]
    assert looks_of(patches).shape == (2, 6) and looks_of([]).shape == (0, 6)
