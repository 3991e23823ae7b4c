import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data.core.errors import TemDataError
from tem_data.scoring.scores import Counts, scores_of, total
from tem_data.scoring.significance import (
    PairedRuns,
    gain_row,
    paired_bootstrap,
    paired_t,
    possible_share,
    runs_needed,
    score_intervals,
)

CLASSES = ("100", "111", "bdot")


def counts_of(rng, size=3, most=6):
    """One micrograph's counts: some matched pairs, some truths and predictions besides."""
    confusion = rng.integers(0, most, (size, size))
    return Counts(confusion, confusion.sum(1) + rng.integers(0, 4, size), confusion.sum(0) + rng.integers(0, 4, size))


def run_of(rng, micrographs=12):
    return {f"m{i}": counts_of(rng) for i in range(micrographs)}


SCENE = {f"m{i}": f"s{i // 2}" for i in range(12)}


def found(matched, truths, predictions):
    """Counts of one class."""
    return Counts(np.array([[matched]]), np.array([truths]), np.array([predictions]))


def test_paired_t_of_students_sleep_data():
    # Student (1908), extra hours of sleep with two drugs: t = 4.0621, df = 9, p = 0.002833
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    test = paired_t(one, two)
    assert test.n == 10 and test.mean == pytest.approx(1.58) and test.sd == pytest.approx(1.229995, abs=1e-6)
    assert test.t == pytest.approx(4.062128, abs=1e-6) and test.p == pytest.approx(0.002833, abs=1e-6)


def test_two_pairs_have_the_p_of_the_cauchy_distribution():
    # one degree of freedom: p = 1 − 2·arctan(t)/π; differences 1 and 3 give t = 2
    assert paired_t([0, 0], [1, 3]).p == pytest.approx(1 - 2 * math.atan(2) / math.pi)


def test_a_t_that_is_not_defined_is_none():
    assert paired_t([], []) == (0, None, None, None, None)
    assert paired_t([0.5], [0.75]) == (1, 0.25, None, None, None)
    same = paired_t([0.70, 0.50, 0.1], [0.72, 0.52, 0.12])
    assert same == (3, pytest.approx(0.02), 0.0, None, None)
    assert paired_t([0, 0], [0, 0]) == (2, 0.0, 0.0, None, None)
    with pytest.raises(TemDataError, match="2 scores of the baseline and 1"):
        paired_t([1, 2], [1])


GAINS = st.lists(st.tuples(*[st.floats(0, 1).map(lambda x: round(x, 3))] * 2), min_size=3, max_size=8)


@settings(max_examples=30, deadline=None)
@given(GAINS, st.randoms(use_true_random=False), st.floats(0.01, 100))
def test_paired_t_depends_on_no_order_or_unit_and_turns_its_sign(scores, random, factor):
    test = paired_t(*zip(*scores, strict=True))
    shuffled = random.sample(scores, len(scores))
    turned = paired_t(*[[factor * value for value in values] for values in zip(*shuffled, strict=True)][::-1])
    if test.t is None:
        assert turned.t is None and turned.p is None
    else:
        assert turned.t == pytest.approx(-test.t, rel=1e-6, abs=1e-9) and turned.p == pytest.approx(test.p, rel=1e-6)
        assert turned.mean == pytest.approx(-factor * test.mean, abs=1e-9)


def test_the_share_of_the_possible_improvement():
    assert possible_share(0.02, 0.75) == pytest.approx(0.08)  # the upper end of what the 2026 paper reports
    assert possible_share(-0.1, 0.5) == pytest.approx(-0.2)
    assert possible_share(0.0, 1.0) is None


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution():
    # 400 scenes of one truth, 30 % found: 0.3 ± 1.96·√(0.3·0.7/400)
    counts = {f"m{i}": found(int(i < 120), 1, int(i < 120)) for i in range(400)}
    interval = score_intervals(counts, {name: name for name in counts}, ("void",))["recall"]
    assert interval == pytest.approx((0.3 - 0.0449, 0.3 + 0.0449), abs=0.006)


def test_each_score_has_an_interval_around_it():
    run = run_of(np.random.default_rng(0))
    scores = scores_of(total(run.values(), 3), CLASSES, 0.5).to_dict()
    intervals = score_intervals(run, SCENE, CLASSES)
    by_class = {f"f1_by_class.{name}" for name in CLASSES}
    assert set(intervals) == {"f1_hm", "f1_detect", "f1_class", "precision", "recall"} | by_class
    for name, (low, high) in intervals.items():
        part, _, of_class = name.partition(".")
        assert low < (scores[part][of_class] if of_class else scores[part]) < high
    narrow = score_intervals(run, SCENE, CLASSES, level=0.5)["f1_hm"]
    assert intervals["f1_hm"].low < narrow.low < narrow.high < intervals["f1_hm"].high


def test_classes_that_do_not_occur_have_no_interval():
    def only_first(n):
        return Counts(np.diag([n, 0, 0]), np.array([n, 0, 0]), np.array([n, 0, 0]))

    intervals = score_intervals({"m0": only_first(1), "m2": only_first(2)}, SCENE, CLASSES)
    assert [name for name in intervals if "." in name] == ["f1_by_class.100"]
    assert intervals["f1_hm"] == (1, 1)
    # a class on one scene alone: over the draws that hold it
    rare = {"m0": only_first(1), "m2": Counts(np.diag([1, 1, 0]), np.array([1, 3, 0]), np.array([1, 1, 0]))}
    assert score_intervals(rare, SCENE, CLASSES)["f1_by_class.111"] == (1, 1)


def test_one_scene_says_nothing_of_others():
    run = {"m0": found(1, 2, 2), "m1": found(2, 2, 2)}
    assert score_intervals(run, SCENE, ("void",)) == {} and paired_bootstrap([PairedRuns(SCENE, [run], [run])]) == {}
    row = gain_row("exp", "exp_gen", 10, [PairedRuns(SCENE, [run], [run])])
    assert row["gain_low"] is None and row["gain_mean"] == 0 and row["baseline_mean"] == pytest.approx(6 / 7)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.integers(2, 9), st.randoms(use_true_random=False))
def test_intervals_depend_on_no_order_and_no_common_factor(seed, factor, random):
    rng = np.random.default_rng(seed)
    one, two = run_of(rng), run_of(rng)

    def other(run):
        names = random.sample(list(run), len(run))
        return {
            n: Counts(*(factor * part for part in (run[n].confusion, run[n].truths, run[n].predictions))) for n in names
        }

    plain = score_intervals(one, SCENE, CLASSES, seed, 50)
    scene = dict(random.sample(list(SCENE.items()), len(SCENE)))
    assert score_intervals(other(one), scene, CLASSES, seed, 50) == {k: pytest.approx(v) for k, v in plain.items()}
    gains = paired_bootstrap([PairedRuns(SCENE, [one, two], [two, two])], seed, 50)
    again = paired_bootstrap([PairedRuns(scene, [other(two), other(one)], [other(two), other(two)])], seed, 50)
    assert again == {k: pytest.approx(v) for k, v in gains.items()}
    # the arms exchanged
    lost = paired_bootstrap([PairedRuns(SCENE, [two, two], [one, two])], seed, 50)
    assert {k: (-v.high, -v.low) for k, v in lost.items()} == {k: pytest.approx(v) for k, v in gains.items()}


def test_what_micrographs_have_in_common_cancels_in_pairs():
    # scenes differ greatly, the arm finds one more in each: the gain is far surer than either score
    rng = np.random.default_rng(1)
    easy = rng.integers(2, 18, 12).tolist()
    scene = {f"m{i}": f"m{i}" for i in range(12)}
    baseline = {f"m{i}": found(n, 20, 20) for i, n in enumerate(easy)}
    arm = {f"m{i}": found(n + 1, 20, 20) for i, n in enumerate(easy)}
    gain = paired_bootstrap([PairedRuns(scene, [baseline], [arm])])["f1_detect"]
    assert gain == pytest.approx((0.05, 0.05))
    low, high = score_intervals(baseline, scene, ("void",))["f1_detect"]
    assert high - low > 0.2


def test_splits_are_drawn_apart_and_averaged_over_runs():
    scene = {f"m{i}": f"m{i}" for i in range(200)}

    def run(shares, first):
        return {f"m{i}": found(int(i % 10 < 10 * shares), 1, 1) for i in range(first, first + 100)}

    # gains 0.2 (one run) and 0.5 (two runs): mean 0.4
    groups = [
        PairedRuns(scene, [run(0.5, 0)], [run(0.7, 0)]),
        PairedRuns(scene, [run(0.2, 100)] * 2, [run(0.7, 100)] * 2),
    ]
    low, high = paired_bootstrap(groups)["f1_detect"]
    # their gains vary by √(0.2·0.8/100) and √(0.5·0.5/100), the second twice in the mean
    spread = 1.96 * math.hypot(0.04 / 3, 2 * 0.05 / 3)
    assert (low, high) == pytest.approx((0.4 - spread, 0.4 + spread), abs=0.01)


def test_intervals_cover_by_scenes_and_not_by_micrographs():
    # 20 scenes of 4 micrographs of 10 defects; a scene's recall is 0.4 or 0.8, nothing is found falsely
    rng = np.random.default_rng(0)
    truth = 2 * 0.6 / (1 + 0.6)  # F1_detect of the population: precision 1, recall 0.6
    by_scene = {f"m{i}": f"s{i // 4:02d}" for i in range(80)}
    by_micrograph = {name: name for name in by_scene}
    covered = np.zeros(2)
    for _ in range(150):
        matched = rng.binomial(10, np.repeat(rng.choice([0.4, 0.8], 20), 4)).tolist()
        counts = {f"m{i}": found(n, 10, n) for i, n in enumerate(matched)}
        for which, scene in enumerate((by_scene, by_micrograph)):
            low, high = score_intervals(counts, scene, ("void",), 0, 200)["f1_detect"]
            covered[which] += low <= truth <= high
    assert covered[0] / 150 > 0.87 and covered[1] / 150 < 0.8


def test_a_row_of_the_table_of_gains():
    scene = {f"m{i}": f"m{i}" for i in range(4)}

    def run(matched):
        return {f"m{i}": found(matched, 20, 20) for i in range(4)}

    # one class: F1_class is 1, F1_HM = 2f/(f + 1)
    groups = [PairedRuns(scene, [run(10), run(12)], [run(12), run(18)])]
    row = gain_row("exp", "exp_gen", 10, groups, score="f1_detect", resamples=10)
    assert json.loads(json.dumps(row, allow_nan=False)) == {
        "size": 10,
        "baseline": "exp",
        "arm": "exp_gen",
        "score": "f1_detect",
        "pairs": 2,
        "baseline_mean": pytest.approx(0.55),
        "baseline_sd": pytest.approx(0.1 / math.sqrt(2)),
        "arm_mean": pytest.approx(0.75),
        "arm_sd": pytest.approx(0.3 / math.sqrt(2)),
        "gain_mean": pytest.approx(0.2),
        "gain_sd": pytest.approx(0.2 / math.sqrt(2)),
        "t": pytest.approx(2),
        "p": pytest.approx(1 - 2 * math.atan(2) / math.pi),
        "gain_low": pytest.approx(0.2),
        "gain_high": pytest.approx(0.2),
        "possible_share": pytest.approx(0.2 / 0.45),
        "runs_needed": 65,
    }
    assert gain_row("exp", "exp_gen", 10, groups)["baseline_mean"] == pytest.approx((2 / 3 + 0.75) / 2)
    nothing = gain_row("exp", "exp_gen", 10, [])
    assert nothing["pairs"] == 0 and nothing["gain_mean"] is nothing["possible_share"] is nothing["gain_low"] is None


def test_what_does_not_pair_is_refused():
    run = run_of(np.random.default_rng(0))
    with pytest.raises(TemDataError, match="2 runs of the baseline and 1"):
        paired_bootstrap([PairedRuns(SCENE, [run, run], [run])])
    with pytest.raises(TemDataError, match="different test micrographs"):
        paired_bootstrap([PairedRuns(SCENE, [run], [dict(list(run.items())[1:])])])
    with pytest.raises(TemDataError, match="12 micrographs have no scene, as 'm0'"):
        score_intervals(run, {}, CLASSES)
    with pytest.raises(TemDataError, match="score: expected one of.*'f1'"):
        gain_row("exp", "exp_gen", 10, [], score="f1")


def test_scenes_that_two_splits_share_are_drawn_once_for_both():
    """Twice the same split says no more than once, so its interval is as wide."""
    rng = np.random.default_rng(0)
    scene = {f"m{i}": f"s{i}" for i in range(12)}

    def run(share):
        found = rng.binomial(30, share, 12)
        return {
            name: Counts(np.array([[n]]), np.array([30]), np.array([n])) for name, n in zip(scene, found, strict=True)
        }

    once = PairedRuns(scene, [run(0.5)], [run(0.6)])
    both, alone = (paired_bootstrap(groups)["f1_hm"] for groups in ([once, once], [once]))
    assert both == pytest.approx(alone)
    renamed = {name: f"other {name}" for name in scene}
    wide, narrow = paired_bootstrap([once])["f1_hm"], paired_bootstrap([once, once._replace(scene=renamed)])["f1_hm"]
    assert narrow.high - narrow.low < 0.85 * (wide.high - wide.low)


@pytest.mark.parametrize("gain, sd, runs", [(0.05, 0.05, 10), (0.05, 0.1, 34), (0.05, 0.028, 5), (0.05, 0.0, 2)])
def test_runs_needed(gain, sd, runs):
    """Effect sizes 1 and 0.5 need 10 and 34 pairs (Cohen 1988; G*Power), 1.79 needs 5."""
    assert runs_needed(gain, sd) == runs
    assert runs_needed(0.001, 1.0) is None
