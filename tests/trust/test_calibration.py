import json
from dataclasses import replace

import numpy as np
import pytest

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, defect_from_mask
from tem_data.detection.scores import DetectorScores, RoleScores
from tem_data.scoring.scores import Counts
from tem_data.trust.calibration import HeldOut, calibrate, held_out, read_calibration, record_of
from tem_data.trust.correction import fit_correction
from tem_data.trust.figures import trust_figure
from tem_data.trust.known import Finds, known_micrographs
from tem_data.trust.reliability import draw_scores, fit_reliability
from tem_data.trust.shown import reliability_bins, shown_of
from tests.trust.worlds import ACCURACY, THRESHOLD, drawn

CLASSES = ("a", "b")


@pytest.fixture(scope="module")
def calibration():
    return calibrate(drawn(40), THRESHOLD, np.arange(12.0).reshape(2, 6))


def test_a_reliable_score_is_its_own_chance():
    reliability = fit_reliability(drawn(60), 2)
    scores = np.array([0.45, 0.6, 0.75, 0.9])
    assert np.abs(reliability.chance(scores) - scores).max() < 0.04
    assert np.abs(np.array(reliability.accuracy) - ACCURACY).max() < 0.05


def test_scores_that_promise_too_much_are_put_right():
    reliability = fit_reliability(drawn(60, harder=0.3), 2)
    assert abs(reliability.chance(np.array([0.7]))[0] - 0.4) < 0.05


def test_few_micrographs_stay_close_to_the_scores():
    one = fit_reliability(drawn(1, size=6, harder=0.5), 2)
    assert abs(one.chance(np.array([0.7]))[0] - 0.7) < 0.2


def test_the_score_of_a_micrograph_is_told_without_its_labels(calibration):
    shown = shown_of([HeldOut(k, calibration) for k in drawn(60, seed=1)], CLASSES)
    assert shown["spearman"] > 0.6
    assert shown["rmse"] < 0.75 * shown["rmse_of_mean"]
    assert 0.9 <= shown["coverage"] <= 1
    assert shown["calibration_error"] < 0.05


def test_corrected_numbers_hold_the_truth_and_are_nearer_to_it(calibration):
    counts = shown_of([HeldOut(k, calibration) for k in drawn(60, seed=2)], CLASSES)["counts"]
    for of_class in counts.values():
        assert of_class["coverage"] >= 0.9
        assert of_class["error_corrected"] < of_class["error_found"]


def test_numbers_of_a_known_confusion():
    # 20 are called a, of which 10 are, 5 are b and 5 nothing; half of each class is found
    counts = Counts(np.array([[100, 0], [50, 100]]), np.array([200, 300]), np.array([200, 100]))
    known = [drawn(1)[0]._replace(counts=counts)]
    correction = fit_correction(known, 2)
    a, b, everything = correction.numbers(np.array([200, 100]))
    assert a == pytest.approx(200, rel=0.02) and b == pytest.approx(300, rel=0.02) and everything == a + b
    low, high = correction.estimates(np.array([0, 0]), 2.0)[0][1:]
    assert low == 0 and high >= 1  # none found is not none there


def test_detectors_of_one_micrograph_get_wide_intervals():
    one, many = calibrate(drawn(1), THRESHOLD), calibrate(drawn(40), THRESHOLD)
    finds = drawn(1, seed=3)[0].finds
    wide, narrow = (c.expected_f1_hm(finds) for c in (one, many))
    assert wide.high - wide.low > narrow.high - narrow.low
    assert 0 <= wide.low < wide.value < wide.high <= 1


def test_small_micrographs_get_wider_intervals(calibration):
    small, large = (calibration.expected_f1_hm(drawn(1, size=size)[0].finds) for size in (12, 400))
    assert small.high - small.low > large.high - large.low


def test_draws_are_the_same_every_time(calibration):
    finds = drawn(1)[0].finds
    assert np.array_equal(*(draw_scores(calibration.reliability, finds).hm for _ in range(2)))


def test_nothing_found_and_one_class():
    assert calibrate(drawn(3), THRESHOLD).expected_f1_hm(Finds(np.zeros(0), np.zeros(0, int), 0.0)).low == 0
    known = [
        k._replace(
            finds=k.finds._replace(categories=np.zeros_like(k.finds.categories)),
            counts=Counts(*(np.atleast_1d(v.sum()).reshape(s) for v, s in zip(
                (k.counts.confusion, k.counts.truths, k.counts.predictions), ((1, 1), 1, 1), strict=True
            ))),
        )
        for k in drawn(3)
    ]  # fmt: skip
    alone = calibrate(known, THRESHOLD)
    assert alone.reliability.accuracy == (1.0,) and alone.expected_f1_hm(known[0].finds).value > 0.5


def test_no_micrograph_is_calibrated_with_its_own_scene():
    known = [k._replace(scene=f"s{n // 2}") for n, k in enumerate(drawn(6))]
    held = held_out(known, THRESHOLD)
    assert [h.known.name for h in held] == [k.name for k in known]
    assert all(h.calibration.micrographs == 4 for h in held)
    assert held[0].calibration is held[1].calibration is not held[2].calibration
    assert held_out([k._replace(scene="s") for k in known], THRESHOLD) == []


def test_nothing_to_calibrate_on_is_told():
    with pytest.raises(TemDataError, match="found none"):
        calibrate([], THRESHOLD)


def test_what_is_known_of_labelled_tiles():
    square = np.ones((10, 10), bool)
    truth = [defect_from_mask("a", square, 2, 2), defect_from_mask("b", square, 30, 2)]
    unclear = defect_from_mask("ambiguous", square, 2, 40, ignore=True)
    tile = Micrograph("m", None, (*truth, unclear), (64, 64), scene="s")
    found = [
        replace(truth[0], score=0.9),
        replace(truth[1], category="a", score=0.8),
        replace(unclear, category="b", ignore=False, score=0.7),
        defect_from_mask("b", square, 50, 50, score=0.6),
        defect_from_mask("b", square, 50, 30, score=0.3),
        defect_from_mask("b", square, 20, 30, score=0.05),
    ]
    (known,) = known_micrographs([tile, tile], [found, []], CLASSES, 0.5)
    assert (known.name, known.scene) == ("m", "s")
    by_score = dict(zip(known.finds.scores, zip(known.matched, known.counted, strict=True), strict=True))
    assert by_score == {0.9: (True, True), 0.8: (True, True), 0.7: (False, False), 0.6: (False, True)}
    assert known.finds.faint == pytest.approx(0.3)  # 0.05 is too faint
    assert known.counts.truths.tolist() == [2, 2] and known.missed == 2
    assert known.counts.confusion.tolist() == [[1, 0], [1, 0]]


def _scores(trust):
    return DetectorScores(0.4, RoleScores(1, 0, 0, 0, {}), trust=trust)


def test_the_record_comes_back(calibration):
    content = json.loads(json.dumps(record_of(calibration), allow_nan=False))
    assert read_calibration(_scores(content), 2) == calibration
    assert len(json.dumps(content)) < 3000
    assert read_calibration(None, 2) is None and read_calibration(_scores({}), 2) is None


@pytest.mark.parametrize(
    "change",
    [
        {"micrographs": 0},
        {"threshold": float("nan")},
        {"spread": float("inf")},
        {"looks": [[1.0]]},
        {"reliability": None},
        {"reliability": {"intercept": "0"}},
        {"correction": {"true_given": [[1.0]], "recall": [1.0], "spread": [0.1, 0.1]}},
        {"correction": {"true_given": [[1.0, 0.0], [0.0]], "recall": [1.0, 1.0], "spread": [0.1, 0.1, 0.1]}},
        {"correction": {"true_given": [[1.0, 0.0], [0.0, 1.0]], "recall": [1.0, 0.0], "spread": [0.1, 0.1, 0.1]}},
    ],
)
def test_a_strangers_record_is_one_line(calibration, change):
    with pytest.raises(TemDataError, match=r"scores\.json: trust: expected what evaluation wrote .*fetch it anew") as e:
        read_calibration(_scores(record_of(calibration) | change), 2)
    assert "\n" not in str(e.value)


def test_the_reliability_diagram(calibration, tmp_path):
    held = [HeldOut(k, calibration) for k in drawn(20, seed=4)]
    bins = reliability_bins(held)
    assert sum(b.finds for b in bins) == sum(len(h.known.finds.scores) for h in held)
    assert all(abs(b.true - b.expected) < 0.15 for b in bins if b.finds > 100)
    shown = json.loads(json.dumps(shown_of(held, CLASSES), allow_nan=False))
    assert [one["micrograph"] for one in shown["f1_hm"]] == [h.known.name for h in held]
    trust_figure(tmp_path / "trust", shown)
    assert (tmp_path / "trust.png").stat().st_size > 5000
    empty = shown_of([], CLASSES)
    trust_figure(tmp_path / "empty", empty)
    assert empty["micrographs"] == 0 and empty["rmse"] is empty["spearman"] is None
