"""The tables of a study's page, with arms as columns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tem_data.core.places import ALL, Cell
from tem_data.figures.style import F1_NAMES
from tem_data.reports.page import Link
from tem_data.scoring.significance import GAIN
from tem_data.study.arms import ARMS
from tem_data.study.tables import Run

Rows = Sequence[Mapping[str, Any]]

BY_CLASS = "f1_by_class."
OTHER_SCORES = ("precision", "recall", "ap", "threshold_from_validation", "best_on_test_f1_hm")
WORDS = F1_NAMES | {
    "training_defects": "labelled defects trained on",
    "precision": "precision",
    "recall": "recall",
    "ap": "AP",
    "threshold_from_validation": "threshold from validation",
    "best_on_test_f1_hm": "F1_HM, best threshold on test",
}


def words(column: str) -> str:
    """What a column of the table of runs is called on a page."""
    return f"F1 of {column.removeprefix(BY_CLASS)}" if column.startswith(BY_CLASS) else WORDS[column]


def spread(values: Sequence[float], sign: str = "") -> str:
    """`mean ± standard deviation` (n − 1), the mean alone of one value, – of none."""
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):{sign}.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


def interval(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"[{low:+.3f}, {high:+.3f}]"


def score_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A line a training size and score: the mean over splits and runs of each arm."""
    classes = [name for name in runs[0].scores if name.startswith(BY_CLASS)]
    rows = []
    for size, of_size in by_size(runs):
        rows.append({"n": size, "score": "runs"} | {arm: str(len(held)) for arm, held in by_arm(of_size)})
        for name in (*F1_NAMES, *classes, *OTHER_SCORES):
            known = {arm: [r.scores[name] for r in held if r.scores[name] is not None] for arm, held in by_arm(of_size)}
            rows.append({"n": size, "score": words(name)} | {arm: spread(values) for arm, values in known.items()})
    return rows


def gain_rows(gains: Rows, split: int | str = ALL) -> list[dict[str, Any]]:
    """The rows of `study.gains` of one split, or of all together: lines are quantities, columns arms."""
    rows = []
    held = [row for row in gains if row["split"] == split]
    for size in dict.fromkeys(row["size"] for row in held):
        for score, label in F1_NAMES.items():
            of_score = [row for row in held if (row["size"], row["score"]) == (size, score)]
            for name, text in _gain_lines(score, label):
                rows.append({"n": size, f"against {of_score[0]['baseline']}": name})
                rows[-1] |= {row["arm"]: text(row) for row in of_score}
    return rows


def _gain_lines(score: str, label: str) -> list[tuple[str, Any]]:
    lines = [
        (f"gain in {label}", lambda row: gain(row)),
        ("95 % interval", lambda row: interval(row["gain_low"], row["gain_high"])),
    ]
    if score != "f1_hm":
        return lines
    return lines + [
        ("t (paired runs)", lambda row: _number(row["t"], ".2f") + f" ({int(row['pairs'])})"),
        ("p", lambda row: _number(row["p"], ".2g")),
        ("share of the possible gain", lambda row: _number(row["possible_share"], "+.1%")),
        (f"runs needed to show {GAIN:g}", lambda row: _number(row["runs_needed"], ".0f")),
    ]


def gain(row: Mapping[str, Any]) -> str:
    """The mean gain of a row of `study.gains` with its standard deviation over runs, where there are several."""
    return f"{row['gain_mean']:+.3f}" + ("" if row["gain_sd"] is None else f" ± {row['gain_sd']:.3f}")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def run_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A line a run, with a link to its report: F1_HM of each arm."""
    rows: dict[tuple, dict[str, Any]] = {}
    for r in runs:
        folder = Cell(r.split, r.size, r.run).folder.name
        own = {"report": Link(folder, f"{folder}/report.html"), "split": r.split, "n": r.size, "run": r.run}
        own |= {WORDS["training_defects"]: r.scores["training_defects"]}
        rows.setdefault((r.split, r.size, r.run), own)[ARMS[r.arm]] = r.scores["f1_hm"]
    return list(rows.values())


def by_size(runs: Sequence[Run]) -> Iterator[tuple[int | str, list[Run]]]:
    """The smallest training size first."""
    for size in sorted({r.size for r in runs}, key=lambda size: (size == ALL, size)):
        yield size, [r for r in runs if r.size == size]


def by_arm(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """By display name, in the order of the study."""
    return [(ARMS[arm], [r for r in runs if r.arm == arm]) for arm in dict.fromkeys(r.arm for r in runs)]
