import json
import re
from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import pytest

from tem_data.coco.writing import coco_results
from tem_data.core.errors import TemDataError
from tem_data.core.files import write_json, write_table
from tem_data.core.micrograph import Defect, Micrograph, window
from tem_data.core.schema import Classes
from tem_data.materials import DEFECT_COLUMNS, MICROGRAPH_COLUMNS, measure
from tem_data.reports.origin import Origin
from tem_data.reports.page import Link
from tem_data.scoring import Rule
from tem_data.scoring.evaluation import evaluate
from tem_data.scoring.scores import scores_of, total
from tem_data.study.arms import ARMS, StudySettings
from tem_data.study.page_tables import gain_rows, run_rows, score_rows
from tem_data.study.report import draw_study, gain_table, verdict, write_study, write_study_report
from tem_data.study.run_report import draw_run, read_run_report, write_run_report
from tem_data.study.scenes import scene_verdict, scenes_of
from tem_data.study.tables import HEADLINE, details, gains, headline, read_runs, sweep_rows
from tem_data.trust.record import trusted
from tem_data.trust.shown import shown_of

CLASSES = Classes(("111", "bdot"), ("ambiguous",))
SIDE = 64
ADDED = {"added": ["exp_copypaste"], "models": [], "generated": [], "painted": [], "copy_paste": ["exp_copypaste"]}
STUDY = StudySettings(cells=["1-4"], runs=[1, 2], arms=["exp", "exp_copypaste"], **ADDED)
ORIGIN = Origin({"profile": "toy", "ldm": {"steps": 350}, "cards": {"license": None}}, simulated=True)


def tiles(seed, micrographs):
    """Four tiles of each of some micrographs, two micrographs a scene, with discs or squares on them."""
    rng = np.random.default_rng(seed)
    made = []
    for m in range(micrographs):
        for x, y in ((0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE)):
            defects = tuple(
                Defect(CLASSES.names[rng.integers(2)], int(u), int(v), np.ones((8, 8), bool))
                for u, v in rng.integers(2, SIDE - 12, (4, 2))
            )
            image = rng.integers(90, 160, (SIDE, SIDE)).astype(np.uint8)
            made.append(
                Micrograph(f"{seed}-{m}", image, defects, (SIDE, SIDE), 0.5, 80.0, scene=f"s{m // 2}", x=x, y=y)
            )
    return made


def finds(patches, share, seed):
    """What a detector of this recall finds: truths shifted by one px at a random confidence, and some noise."""
    rng = np.random.default_rng(seed)
    found = []
    for patch in patches:
        seen = [window(d, -1, 0, patch.shape) for d in patch.defects if rng.random() < share]
        seen = [replace(d, score=float(rng.uniform(0.4, 1))) for d in seen]
        found.append((*seen, Defect("bdot", 0, 50, np.ones((5, 5), bool), score=float(rng.uniform(0, 0.5)))))
    return found


def judged(share=0.8, seed=0):
    validation, test = tiles(1, 2), tiles(2, 6)
    found = finds(validation, share, seed), finds(test, share, seed + 1)
    return test, found[1], evaluate((validation, found[0]), (test, found[1]), CLASSES.names, (0.1, 0.5, 0.9), Rule())


def test_the_threshold_is_chosen_without_looking_at_test():
    validation, test = tiles(1, 2), tiles(2, 4)
    sure = [[replace(d, score=0.6) for d in p.defects] for p in validation]
    unsure = [[replace(d, score=0.3) for d in p.defects] for p in test]
    found = evaluate((validation, sure), (test, unsure), CLASSES.names, (0.2, 0.5, 0.7), Rule())
    assert (found.threshold, found.scores.f1_hm) == (0.2, 1)
    false = [[*d, Defect("bdot", 0, 40, np.ones((9, 9), bool), score=0.4)] for d in sure]
    found = evaluate((validation, false), (test, unsure), CLASSES.names, (0.2, 0.5, 0.7), Rule())
    assert (found.threshold, found.scores.f1_hm) == (0.5, 0)
    assert (found.best_on_test.threshold, found.best_on_test.f1_hm) == (0.2, 1)


def test_counts_of_micrographs_sum_to_the_scores():
    test, _, found = judged()
    assert list(found.counts) == list(found.scene) == [f"2-{m}" for m in range(6)]
    assert len(set(found.scene.values())) == 3
    assert sum(c.confusion for c in found.counts.values()).tolist() == found.scores.counts.confusion.tolist()
    assert sum(c.truths.sum() for c in found.counts.values()) == sum(len(tile.defects) for tile in test)
    low, high = found.intervals["f1_hm"]
    assert low <= found.scores.f1_hm <= high
    assert found.by_iou[0.3].f1_hm == found.scores.f1_hm
    f1 = [scores.f1_detect for scores in found.by_iou.values()]
    assert f1 == sorted(f1, reverse=True)


@pytest.fixture
def results(tmp_path):
    """The evaluated runs of a small study: two runs of two arms, the second of which finds more."""
    for run in (1, 2):
        for arm, share in (("exp", 0.6), ("exp_copypaste", 0.9)):
            test, found, evaluation = judged(share, 10 * run)
            folder, kept = tmp_path / f"runs/1-4-{run}/{arm}", tmp_path / f"kept/1-4-{run}"
            sure = [[d for d in seen if d.score >= evaluation.threshold] for seen in found]
            measured = measure(test, sure, CLASSES.names, frame=True)
            write_json(folder / "metrics.json", headline(evaluation))
            trust = trusted([(test, found)], test, CLASSES.names, evaluation.threshold)
            extra = {"materials": measured.summary, "trust": shown_of(trust.held, CLASSES.names)}
            write_json(folder / "evaluation.json", details(evaluation) | extra)
            write_table(folder / "sweep.csv", sweep_rows(evaluation, arm), ("arm", "role", "threshold", *HEADLINE))
            write_table(folder / "materials.csv", measured.micrographs, MICROGRAPH_COLUMNS)
            write_table(kept / "measured" / f"{arm}.csv", measured.defects, DEFECT_COLUMNS)
            write_json(kept / "found" / arm / "test.json", coco_results(found, test, CLASSES))
    write_json(tmp_path / "cells/1-4/patches.json", {"train": {"labelled": {"111": 30, "bdot": 12, "ambiguous": 5}}})
    return tmp_path


def test_runs_are_read_as_they_were_evaluated(results):
    runs = read_runs(results, STUDY)
    assert [(r.run, r.arm) for r in runs] == [(1, "exp"), (1, "exp_copypaste"), (2, "exp"), (2, "exp_copypaste")]
    expected = json.loads((results / "runs/1-4-1/exp/metrics.json").read_text())
    assert all(runs[0].scores[name] == expected[name] for name in HEADLINE)
    assert runs[0].scores["f1_hm_low"] == expected["interval"]["f1_hm"][0]
    assert runs[0].scores["training_defects"] == 42
    assert sum(c.truths.sum() for c in runs[0].counts.values()) == expected["truths"]


def test_gains_are_of_paired_runs(results):
    runs = read_runs(results, STUDY)
    row = next(row for row in gains(runs) if row["score"] == "f1_hm")
    f1 = [r.scores["f1_hm"] for r in runs]
    assert row["gain_mean"] == pytest.approx((f1[1] - f1[0] + f1[3] - f1[2]) / 2)
    assert (row["arm"], row["pairs"], row["split"]) == ("EXP+CP", 2, "all")
    assert row["gain_low"] <= row["gain_mean"] <= row["gain_high"]
    assert gain_table([row])[0]["gain"].startswith("+")
    assert "EXP+CP against EXP at n = 4: +" in verdict([row])


def test_a_study_of_several_splits_has_a_row_for_each_and_for_all(results):
    runs = read_runs(results, STUDY)
    both = gains([*runs, *(r._replace(split=2) for r in runs)])
    assert [(r["split"], r["pairs"]) for r in both if r["score"] == "f1_hm"] == [("all", 4), (1, 2), (2, 2)]


def test_a_run_that_is_missing_or_an_arm_that_is_unknown_is_named(results):
    with pytest.raises(TemDataError, match="1-4-3/exp/evaluation.json is missing"):
        read_runs(results, replace(STUDY, runs=[1, 3]))
    for arms in (["exp_copypaste"], ["exp"], ["exp", "exp_copypaste", "exp_gen"]):
        with pytest.raises(TemDataError, match="do not fit; take a choice of conf/arms"):
            replace(STUDY, arms=arms)


@pytest.mark.parametrize("arm, models", [("exp_paint", []), ("exp_copypaste", ["ldm"])])
def test_an_arm_has_the_models_that_it_needs(arm, models):
    lists = {"generated": [], "painted": [], "copy_paste": []}
    lists["painted" if arm == "exp_paint" else "copy_paste"] = [arm]
    with pytest.raises(TemDataError, match="do not fit; take a choice of conf/arms"):
        StudySettings(arms=["exp", arm], added=[arm], models=models, **lists)
    StudySettings(arms=["exp", arm], added=[arm], models=["ldm"] if arm == "exp_paint" else [], **lists)


def test_the_baseline_alone_is_a_study_too(results, tmp_path):
    runs = read_runs(results, replace(STUDY, arms=["exp"], added=[], copy_paste=[]))
    assert gains(runs) == []
    captions = draw_study([r.scores for r in runs], [], tmp_path)
    assert list(captions) == ["scores"]
    write_study_report(runs, [], captions, tmp_path, tmp_path / "s.html", "study", ORIGIN)
    page = (tmp_path / "s.html").read_text()
    assert "Only the baseline" in page and "Gains" not in page


def test_a_class_that_is_named_as_a_score_is_does_not_take_its_column(results):
    path = results / "runs/1-4-1/exp/evaluation.json"
    content = json.loads(path.read_text())
    content["classes"], content["scores"]["f1_by_class"] = ["hm"], {"hm": 0.125}
    write_json(path, content)
    scores = read_runs(results, STUDY)[0].scores
    assert (scores["f1_hm"], scores["f1_by_class.hm"]) == (content["scores"]["f1_hm"], 0.125)


def test_scenes_are_scored_with_all_their_micrographs(results):
    runs = read_runs(results, STUDY)
    scenes = scenes_of(runs)
    assert sorted(scene.name for scene in scenes) == ["s0", "s1", "s2"]
    assert [scene.micrographs for scene in scenes] == [2, 2, 2]
    gained = [scene.gain("EXP+CP") for scene in scenes]
    assert gained == sorted(gained, reverse=True)
    own = [name for name, scene in runs[0].scene.items() if scene == scenes[0].name]
    expected = [
        scores_of(total([r.counts[name] for name in own], 2), CLASSES.names, 0.0).f1_hm for r in runs if r.arm == "exp"
    ]
    assert scenes[0].f1_hm["EXP"] == pytest.approx(np.mean(expected))
    higher = sum(gain > 0 for gain in gained)
    assert f"EXP+CP scores higher than EXP on {higher} of 3 test scenes" in scene_verdict(scenes)


def test_tables_of_a_study_have_arms_as_columns(results):
    runs = read_runs(results, STUDY)
    (f1_hm,) = (row for row in score_rows(runs) if row["score"] == "F1_HM")
    f1 = [r.scores["f1_hm"] for r in runs if r.arm == "exp"]
    assert f1_hm["EXP"] == f"{np.mean(f1):.3f} ± {np.std(f1, ddof=1):.3f}" and list(f1_hm)[2:] == ["EXP", "EXP+CP"]
    rows = gain_rows(gains(runs))
    assert [row["against EXP"] for row in rows[:2]] == ["gain in F1_detect", "95 % interval"]
    assert rows[-1]["against EXP"] == "runs needed to show 0.05" and int(rows[-1]["EXP+CP"]) > 1
    shown = {str(name) for row in (*score_rows(runs), *rows, *run_rows(runs)) for name in (*row, row.get("score"))}
    assert not [name for name in shown if re.search(r"f1_|_low|_high|exp_", name)]


HOSTILE = "<script>alert(1)</script>"


def test_a_study_is_written_with_its_means_and_hostile_names_are_text(results, tmp_path, capsys):
    for path in results.glob("runs/*/*/evaluation.json"):
        text = path.read_text().replace('"bdot"', f'"{HOSTILE}"').replace('"s1"', f'"{HOSTILE}"')
        path.write_text(text)
    write_study(results, STUDY, tmp_path / "study", tmp_path / "study.html", ORIGIN, [Link("Run", "1-4-1/report.html")])
    runs = read_runs(results, STUDY)
    means = json.loads((results / "f1_hm.json").read_text())
    assert means == {"EXP": pytest.approx(np.mean([r.scores["f1_hm"] for r in runs if r.arm == "exp"])), "EXP+CP": ANY}
    page = (tmp_path / "study.html").read_text()
    assert "<script" not in page and page.count("&lt;script&gt;") >= 2
    assert (
        'href="1-4-2/report.html"' in page
        and "ldm.steps" in page
        and "license" not in page
        and 'href="study/scores.csv"' in page
    )
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120


@pytest.mark.slow
def test_the_report_of_a_run_shows_every_arm_and_figure(results, tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    arms = STUDY.arms
    run = read_run_report(results / "runs/1-4-1", results / "kept/1-4-1", arms, tiles(2, 6), "Split 1, <n> = 4")
    captions = draw_run(run, folder)
    assert {p.stem for p in folder.iterdir()} == set(captions)
    assert all((folder / f"{stem}.{kind}").is_file() for stem in captions for kind in ("png", "svg"))
    write_run_report(run, tmp_path / "report.html", folder, captions, ORIGIN)
    page = (tmp_path / "report.html").read_text()
    assert all(ARMS[arm] in page for arm in arms) and "&lt;n&gt;" in page
    assert page.count("<figure") == len(captions)
    f1 = json.loads((results / "runs/1-4-1/exp/metrics.json").read_text())["f1_hm"]
    assert f"{f1:.3f}" in page and not re.search("f1_hm|found_mean|exp_copypaste", page)
