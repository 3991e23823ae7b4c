"""Judges without networks: what they find is written down, so that every number is known."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table, write_table
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.detection.prediction import predict_patches
from tem_data.detection.settings import DetectorSettings
from tem_data.fidelity import adherence
from tem_data.fidelity.adherence import (
    COLUMNS,
    Panel,
    adherence_rows,
    change,
    details,
    judge,
    paired_difference,
    panel_of,
)
from tem_data.judges import confirming
from tem_data.judges.judges import Judge, folds_of, load_judges, save_judges, train_judges
from tem_data.judges.settings import JudgeSettings
from tem_data.scoring import Rule
from tests.helpers.toy_detector import stand_in

CLASSES = ("square", "disc")
SIDE = 64


def at(place, category="square", score=1.0, ignore=False):
    """A defect of 10 px; those of different places do not touch."""
    return Defect(category, 4 + 12 * place, 4, np.ones((10, 10), bool), ignore, score)


def pair(number, defects=(), scene=""):
    """A pair whose picture says its number."""
    image = np.full((SIDE, SIDE), number, np.uint8)
    return Micrograph(f"m{number}", image, tuple(defects), (SIDE, SIDE), scene=scene)


def who_finds(found, seen=(), classes=CLASSES):
    """A judge that finds `found[n]` in the picture of number n."""
    return Judge(stand_in(found, classes), frozenset(seen))


@pytest.fixture(autouse=True)
def written_down(monkeypatch):
    """Detectors that are a dict need no network."""
    requested = []

    def predict(detector, images):
        if not isinstance(detector.model, dict):
            return predict_patches(detector, images, progress=False)
        requested.append([int(image[0, 0]) for image in images])
        return [tuple(detector.model.get(number, ())) for number in requested[-1]]

    monkeypatch.setattr(adherence, "predict_patches", predict)
    return requested


# Folds


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(2, 4), st.integers(0, 3))
def test_scenes_stay_whole_and_folds_are_nearly_equal(sizes, folds, seed):
    patches = [pair(0, scene=f"s{i}") for i, size in enumerate(sizes) for _ in range(size)]
    if folds > len(sizes):
        with pytest.raises(TemDataError, match="judges.folds"):
            folds_of(patches, folds, seed)
        return
    fold = folds_of(patches, folds, seed)
    assert len({(p.scene, f) for p, f in zip(patches, fold, strict=True)}) == len(sizes)
    held = np.bincount(fold, minlength=folds)
    assert held.min() > 0 and np.ptp(held) <= max(sizes)
    assert np.array_equal(fold, folds_of(patches, folds, seed))


def test_folds_are_balanced_and_go_by_micrograph_where_no_scene_is_known():
    patches = [pair(i) for i, size in enumerate((4, 3, 2, 1)) for _ in range(size)]
    fold = folds_of(patches, 2, seed=0)
    assert np.bincount(fold).tolist() == [5, 5]
    assert {p.micrograph_id for p, f in zip(patches, fold, strict=True) if f == fold[0]} == {"m0", "m3"}
    deals = {tuple(folds_of([pair(i) for i in range(6)], 2, seed)) for seed in range(20)}
    assert len(deals) > 1  # the seed decides between equal scenes


@pytest.mark.parametrize("folds", [0, 1, 5])
def test_folds_out_of_range_are_refused(folds):
    with pytest.raises(TemDataError, match=f"judges.folds: .*found {folds}; .* 4 scenes"):
        folds_of([pair(i) for i in range(4)], folds, 0)


# Judges

TINY = {
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 1,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 20,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "INPUT.MIN_SIZE_TRAIN": [0],
    "INPUT.MIN_SIZE_TEST": 0,
}
SHORT = DetectorSettings(iterations=2, batch_size=1, checkpointing_steps=1, config=TINY)
PATCHES = [pair(10 + i, [at(0, CLASSES[i % 2])], scene=f"s{i // 2}") for i in range(8)]


def test_no_judge_is_trained_on_a_scene_of_its_fold(monkeypatch, tmp_path):
    given_to = []

    def train(patches, classes, settings, seed, folder):
        given_to.append((patches, seed))
        return stand_in({}, classes), []

    monkeypatch.setattr("tem_data.judges.judges.train_detector", train)
    judges = train_judges(PATCHES, CLASSES, JudgeSettings(3, SHORT.iterations), SHORT, seed=1, work=tmp_path)
    assert [j.seen for j in judges] == [{p.scene_name for p in patches} for patches, _ in given_to]
    shown = Counter(p.micrograph_id for patches, _ in given_to for p in patches)
    assert shown == {p.micrograph_id: 2 for p in PATCHES}  # by all judges but one
    assert all(sum(p.scene not in j.seen for j in judges) == 1 for p in PATCHES)
    assert len({seed for _, seed in given_to}) == 3


def test_a_fold_without_a_defect_is_refused(tmp_path):
    bare = [pair(0, [at(0)], "a"), pair(1, [at(0, ignore=True)], "b"), pair(2, (), "b")]
    with pytest.raises(TemDataError, match=r"fold \d of judges.folds, the scenes b, holds no defect"):
        train_judges(bare, CLASSES, JudgeSettings(2, SHORT.iterations), SHORT, seed=0, work=tmp_path)


def test_judges_go_on_after_a_kill_and_are_the_same_when_loaded(tmp_path, capsys):
    lone = [*PATCHES[:2], pair(20, [at(0)], "s1"), pair(21, [at(1)], "s1")]  # discs in s0 alone

    def train():
        return train_judges(lone, CLASSES, JudgeSettings(2, SHORT.iterations), SHORT, seed=0, work=tmp_path / "work")

    judges = train()
    assert "is shown no disc" in capsys.readouterr().out
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("*.pt")}
    assert {p.relative_to(tmp_path / "work").parts[0] for p in written} == {"0", "1"}
    again = train()  # from the checkpoints, nothing is left to do
    assert written == {p: p.stat().st_mtime_ns for p in written}

    save_judges(again, tmp_path / "judges")
    loaded = load_judges(tmp_path / "judges")
    assert [j.seen for j in loaded] == [j.seen for j in judges] and {*judges[0].seen, *judges[1].seen} == {"s0", "s1"}
    for one, other in zip(judges, loaded, strict=True):
        a, b = (predict_patches(j.detector, [lone[0].image], progress=False)[0] for j in (one, other))
        assert [(d.bbox, d.score) for d in a] == [(d.bbox, d.score) for d in b] and a
    with pytest.raises(TemDataError, match="train_judges"):
        load_judges(tmp_path)


# The panel


def test_each_threshold_is_the_judges_own_best_on_validation():
    truth = [pair(1, [at(0), at(1, "disc")])]
    sure = who_finds({1: [at(0, score=0.6), at(1, "disc", 0.6), at(3, score=0.4)]})
    surer = who_finds({1: [at(0, score=0.9), at(1, "disc", 0.9), at(3, score=0.6)]})
    panel = panel_of([sure, surer], truth, CLASSES, (0.3, 0.5, 0.7, 0.9))
    assert panel.thresholds == (0.5, 0.7)
    strict = panel_of([sure], truth, CLASSES, (0.3,), Rule(iou=0.9))
    assert strict.thresholds == (0.3,) and strict.rule.iou == 0.9


@pytest.mark.parametrize(
    "member, validation, message",
    [
        (who_finds({}, classes=("disc", "square")), [pair(1, [at(0)])], "judge 0 knows the classes"),
        (who_finds({}, seen=("v",)), [pair(1, [at(0)], scene="v")], "was trained on 'v', a validation scene"),
        (who_finds({}), [pair(1), pair(2, [at(0, ignore=True)])], "hold no defect"),
    ],
)
def test_a_panel_that_cannot_judge_is_refused(member, validation, message):
    with pytest.raises(TemDataError, match=message):
        panel_of([member], validation, CLASSES, (0.5,))


# Adherence


def test_known_adherence():
    pairs = [
        pair(0, [at(0), at(1, "disc")]),
        pair(1),
        pair(2, [at(0), at(1, "disc", ignore=True)]),
        pair(3, [at(0), at(1), at(2)]),
    ]
    first = {0: [at(0), at(1, "disc")], 2: [at(0), at(1)], 3: [at(0, score=0.6), at(1, score=0.4)]}
    second = {0: [at(0), at(1)], 1: [at(2)], 2: [at(3)], 3: [at(0, score=0.6), at(1, score=0.4), at(2, score=0.3)]}
    panel = Panel((who_finds(first), who_finds(second)), (0.5, 0.3), CLASSES, Rule())
    judged = judge(panel, pairs)
    assert judged.requested.tolist() == [2, 0, 1, 3]
    assert judged.found.tolist() == [2, 0.5, 1, 2]  # what lies on an ambiguous defect does not count
    assert judged.right.tolist() == [1.5, 0, 0.5, 2]
    assert judged.of_pair.tolist() == [(1 + 0.5) / 2, (1 + 0) / 2, (1 + 0) / 2, (0.5 + 1) / 2]
    assert [s.threshold for s in judged.by_judge.values()] == [0.5, 0.3]
    assert judged.by_judge[0].precision == 1 and judged.by_judge[0].recall == 4 / 6
    assert judged.scores.counts.truths.tolist() == [10, 2]  # of both judges together
    assert judged.scores.counts.confusion.tolist() == [[7, 0], [1, 1]]


def test_a_picture_is_judged_only_by_those_that_have_not_seen_its_scene(written_down):
    one, other = who_finds({0: [at(0)]}, seen=("b",)), who_finds({1: [at(0)]}, seen=("a",))
    panel = Panel((one, other), (0.5, 0.5), CLASSES, Rule())
    pairs = [pair(0, [at(0)], "a"), pair(1, [at(0)], "b"), pair(2, [at(0)], "drawn")]
    judged = judge(panel, pairs)
    assert written_down == [[0, 2], [1, 2]]
    assert judged.of_pair.tolist() == [1, 1, 0]
    assert judged.counts["0"].truths.sum() == 1 and judged.counts["2"].truths.sum() == 2
    assert set(judge(panel, pairs[:1]).by_judge) == {0}
    with pytest.raises(TemDataError, match="pair 1 is of 'b', which every judge has seen"):
        judge(replace(panel, judges=(one,), thresholds=(0.5,)), pairs)
    with pytest.raises(TemDataError, match="pair 0 .* no picture"):
        judge(panel, [replace(pairs[0], image=None)])
    with pytest.raises(TemDataError, match="no pair to judge"):
        judge(panel, [])


def test_what_reconstruction_loses_by_class():
    pairs = [pair(i, [at(0), at(1, "disc")], scene=f"s{i}") for i in range(4)]
    lost = [replace(p, image=p.image + 100) for p in pairs]
    found = {i: [at(0), at(1, "disc")] for i in range(4)} | {100 + i: [at(0)] for i in range(4)}
    panel = Panel((who_finds(found),), (0.5,), CLASSES, Rule())
    changed = change(judge(panel, pairs), judge(panel, lost))
    assert changed["f1_right_by_class"] == {"square": 0, "disc": -1}
    assert changed["f1_detect"] == pytest.approx({"change": 2 / 3 - 1, "low": 2 / 3 - 1, "high": 2 / 3 - 1})
    alone = change(judge(panel, pairs[:1]), judge(panel, lost[:1]))
    assert alone["f1_detect"]["low"] is None
    with pytest.raises(TemDataError, match="4 and 3 pairs are not of the same masks"):
        change(judge(panel, pairs), judge(panel, lost[:3]))


def test_details_are_ready_for_json():
    panel = Panel((who_finds({0: [at(0)]}), who_finds({})), (0.5, 0.7), CLASSES, Rule())
    written = json.loads(json.dumps(details(judge(panel, [pair(0, [at(0)]), pair(1)])), allow_nan=False))
    assert (written["pairs"], written["adherence"]) == (2, 0.75)
    assert written["f1_right_by_class"] == {
        "square": pytest.approx(2 / 3)
    }  # right once, of two requested and one found
    assert [j["threshold"] for j in written["by_judge"].values()] == [0.5, 0.7]
    low, high = written["intervals"]["recall"]
    assert 0 <= low <= written["recall"] <= high


def test_the_paired_difference_of_two_samplers():
    panel = Panel((who_finds({i: [at(0)] for i in range(0, 40, 2)}),), (0.5,), CLASSES, Rule())
    judged = judge(panel, [pair(i, [at(0)]) for i in range(40)])
    assert paired_difference(judged, judged) == (40, 0, 0, 0)
    lower = replace(judged, of_pair=judged.of_pair - 0.03)
    assert paired_difference(lower, judged) == pytest.approx((40, -0.03, -0.03, -0.03))
    none = replace(judged, of_pair=np.zeros(40))
    _, mean, low, high = paired_difference(judged, none)
    # the mean of 40 draws of 0 or 1: 0.5 ± 1.96·0.5/√40
    assert mean == 0.5 and (low, high) == pytest.approx((0.345, 0.655), abs=0.03)
    with pytest.raises(TemDataError, match="not of the same masks"):
        paired_difference(judged, replace(judged, requested=judged.requested + 1))


def test_the_table_of_pairs_holds_what_was_judged(tmp_path):
    pairs = [pair(0, [at(0)]), pair(1, [at(0), at(1, "disc")]), pair(2, [at(0, ignore=True)]), pair(3)]
    members = [who_finds({0: [at(0)], 1: [at(0)], 3: [at(3)]}), who_finds({}), who_finds({})]
    judged = judge(Panel(tuple(members), (0.5,) * 3, CLASSES, Rule()), pairs)
    write_table(tmp_path / "adherence.csv", adherence_rows("generated", pairs, judged), COLUMNS)
    rows = read_table(tmp_path / "adherence.csv")
    assert tuple(rows[0]) == COLUMNS and {row["kind"] for row in rows} == {"generated"}
    assert [(row["pair"], row["micrograph_id"]) for row in rows] == [(str(i), f"m{i}") for i in range(4)]
    for column in ("requested", "found", "right", "adherence"):
        expected = judged.of_pair if column == "adherence" else getattr(judged, column)
        assert [float(row[column]) for row in rows] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        list(adherence_rows("generated", pairs[:3], judged))


# Confirming


def test_a_defect_is_confirmed_by_any_judge_that_has_not_seen_the_scene(monkeypatch):
    """Place, class, confidence and scene all count."""

    def predict(detector, images, progress):
        return [tuple(detector.model.get(int(image[0, 0]), ())) for image in images]

    monkeypatch.setattr(confirming, "predict_patches", predict)
    right, wrong_class, beside = at(0, score=0.3), at(1, "disc", 0.9), at(3, score=0.9)
    unsure, last = at(2, score=0.1), at(4, score=0.9)
    first = who_finds({0: [right, wrong_class, beside, unsure], 1: [at(0)]}, seen=["seen"])
    second = who_finds({0: [last], 1: []})
    pairs = [pair(0, [at(0), at(1), at(2), at(4)]), pair(1, [at(0)], scene="seen"), pair(2)]
    found = confirming.confirmed([first, second], pairs, 0.2)
    assert [of_pair.tolist() for of_pair in found] == [[True, False, False, True], [False], []]
    assert confirming.confirmed([first], pairs[:1], 0.05)[0].tolist() == [True, False, True, False]
    with pytest.raises(TemDataError, match="every judge has seen"):
        confirming.confirmed([first], pairs, 0.2)
