"""The study: which arms are compared, and one tidy table of what every run of them gave."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.core.places import ALL, Cell
from tem_data.scoring import Counts
from tem_data.scoring.evaluation import Evaluation
from tem_data.scoring.significance import SCORES, PairedRuns, gain_row
from tem_data.study.arms import ARMS, BASELINE, StudySettings

HEADLINE = (*SCORES, "precision", "recall")


class Run(NamedTuple):
    """One evaluated detector. `scores` is a line of the table; `counts` and `scene` are by test micrograph."""

    split: int
    size: int | str
    run: int
    arm: str
    scores: dict[str, Any]
    counts: dict[str, Counts]
    scene: dict[str, str]


def headline(evaluation: Evaluation) -> dict[str, Any]:
    """The scores of one detector, as cards read them; `best_on_test` is what [P26] reports."""
    at, top = evaluation.scores, evaluation.best_on_test
    return {name: getattr(at, name) for name in HEADLINE} | {
        "f1_by_class": at.f1_by_class,
        "interval": {name: list(evaluation.intervals[name]) for name in SCORES if name in evaluation.intervals},
        "threshold_from_validation": at.threshold,
        "best_on_test": {"f1_hm": top.f1_hm, "threshold": top.threshold},
        "ap": evaluation.average_precision.ap,
        "truths": int(at.counts.truths.sum()),
        "predictions": int(at.counts.predictions.sum()),
    }


def told(evaluation: Evaluation) -> str:
    """The scores in one line."""
    scores = evaluation.scores
    low, high = evaluation.intervals.get("f1_hm", (float("nan"),) * 2)
    by_class = ", ".join(f"{name} {f1:.3f}" for name, f1 in scores.f1_by_class.items())
    return (
        f"F1_detect {scores.f1_detect:.3f}, F1_class {scores.f1_class:.3f} ({by_class}), F1_HM {scores.f1_hm:.3f} "
        f"[{low:.3f}, {high:.3f}] at threshold {evaluation.threshold:.2f} from validation; "
        f"best on test {evaluation.best_on_test.f1_hm:.3f}"
    )


def details(evaluation: Evaluation) -> dict[str, Any]:
    """All of an evaluation that the report and the study need, JSON-ready; `read_runs` reads it."""
    return {
        "classes": list(evaluation.scores.classes),
        "scores": evaluation.scores.to_dict(),
        "intervals": {name: list(interval) for name, interval in evaluation.intervals.items()},
        "best_on_test": evaluation.best_on_test.to_dict(),
        "average_precision": evaluation.average_precision._asdict(),
        "by_iou": {str(iou): {name: getattr(s, name) for name in HEADLINE} for iou, s in evaluation.by_iou.items()},
        "micrographs": {
            name: {
                "scene": evaluation.scene[name],
                "confusion": counts.confusion.tolist(),
                "truths": counts.truths.tolist(),
                "predictions": counts.predictions.tolist(),
            }
            for name, counts in evaluation.counts.items()
        },
    }


def sweep_rows(evaluation: Evaluation, arm: str) -> list[dict[str, Any]]:
    """The scores at each confidence threshold, on validation and on test."""
    return [
        {"arm": ARMS[arm], "role": role, "threshold": s.threshold} | {name: getattr(s, name) for name in HEADLINE}
        for role in ("validation", "test")
        for s in getattr(evaluation, role)
    ]


def read_counts(content: Mapping[str, Any]) -> dict[str, Counts]:
    """The counts of each test micrograph, from what `details` made."""
    return {
        name: Counts(np.array(held["confusion"]), np.array(held["truths"]), np.array(held["predictions"]))
        for name, held in content["micrographs"].items()
    }


def read_runs(results: str | os.PathLike, study: StudySettings) -> list[Run]:
    """What was evaluated, in the order of the study. Raises TemDataError where a run has not been evaluated yet."""
    return [_read_run(Path(results), cell, arm) for cell in study.every_run for arm in study.arms]


def _read_run(results: Path, run: Cell, arm: str) -> Run:
    path = results / "runs" / run.folder.name / arm / "evaluation.json"
    if not path.is_file():
        raise TemDataError(f"{path} is missing; `dvc repro` evaluates it, or take it out of the study")
    content, cell = read_json(path), read_json(results / "cells" / run.data.name / "patches.json")
    labelled = sum(count for name, count in cell["train"]["labelled"].items() if name in content["classes"])
    scores = {"split": run.split, "size": run.size, "run": run.run, "arm": ARMS[arm], "training_defects": labelled}
    scores |= {name: content["scores"][name] for name in HEADLINE}
    for name in SCORES:
        low, high = content["intervals"].get(name, (None, None))
        scores |= {f"{name}_low": low, f"{name}_high": high}
    scores |= {f"f1_by_class.{name}": content["scores"]["f1_by_class"].get(name) for name in content["classes"]}
    scores |= {
        "threshold_from_validation": content["scores"]["threshold"],
        "best_on_test_f1_hm": content["best_on_test"]["f1_hm"],
        "ap": content["average_precision"]["ap"],
    }
    scene = {name: held["scene"] for name, held in content["micrographs"].items()}
    return Run(run.split, run.size, run.run, arm, scores, read_counts(content), scene)


def mean_f1_hm(runs: Sequence[Run]) -> dict[str, float]:
    """F1_HM of each arm by its display name, the mean over all its runs: what `dvc metrics` and `dvc exp` compare."""
    arms = {ARMS[arm]: [r.scores["f1_hm"] for r in runs if r.arm == arm] for arm in dict.fromkeys(r.arm for r in runs)}
    return {arm: float(np.mean(scores)) for arm, scores in arms.items()}


def gains(runs: Sequence[Run], resamples: int = 2000) -> list[dict[str, Any]]:
    """One row for each size, arm and score, over all splits together and, where there are several, for each alone.

    Columns as `significance.gain_row`, and `split` (a number, or `all`).
    """
    rows = []
    splits = sorted({r.split for r in runs})
    arms = [arm for arm in dict.fromkeys(r.arm for r in runs) if arm != BASELINE]
    for size in sorted({r.size for r in runs}, key=lambda size: (size == ALL, size)):
        for chosen in [splits] + ([[k] for k in splits] if len(splits) > 1 else []):
            for arm in arms:
                pairs = [_pairs(runs, split, size, arm) for split in chosen]
                name = "all" if chosen == splits else chosen[0]
                rows += [
                    {"split": name, **gain_row(ARMS[BASELINE], ARMS[arm], size, pairs, score, resamples=resamples)}
                    for score in SCORES
                ]
    return rows


def _pairs(runs: Sequence[Run], split: int, size: int | str, arm: str) -> PairedRuns:
    held = [r for r in runs if (r.split, r.size) == (split, size)]
    own = {r.run: r for r in held if r.arm == arm}
    baseline = {r.run: r for r in held if r.arm == BASELINE}
    return PairedRuns(held[0].scene, [baseline[k].counts for k in own], [own[k].counts for k in own])
