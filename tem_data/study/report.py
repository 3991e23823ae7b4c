"""The report of a study: the table of gains, its figures, one HTML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tem_data import figures
from tem_data.core.files import atomic_write, write_table
from tem_data.reports.page import Picture, Section, Table, write_report
from tem_data.scoring.significance import GAIN
from tem_data.study import figures as study_figures
from tem_data.study.arms import ARMS, BASELINE, StudySettings
from tem_data.study.tables import gains, read_runs

Rows = Sequence[Mapping[str, Any]]

TEXT = (
    "Runs of one split and size are paired: they share micrographs, patches, seeds and schedule, and differ in the "
    "pairs that an arm adds. Gains are means over paired runs ± their standard deviation. t and p are of the paired "
    "t-test, which asks whether new trainings would show the gain again. The interval in brackets is a 95 % bootstrap "
    "over the scenes of the test micrographs, which asks whether other micrographs would; it holds the trainings "
    "fixed. A gain is worth believing where both agree. The share is of the possible improvement, 1 − F1_HM of the "
    f"baseline. Runs needed are those that would show a gain of {GAIN:g} in four of five studies, p < 0.05, at the "
    "spread that was measured."
)


def write_study(
    results: str | os.PathLike,
    study: StudySettings,
    folder: str | os.PathLike,
    page: str | os.PathLike,
    profile: str,
    simulated: bool,
) -> None:
    """Write scores.csv, gains.csv and figures of all runs to `folder`, and the report to the file `page`.

    Raises TemDataError where a run has not been evaluated yet.
    """
    runs = read_runs(results, study)
    rows, scores = gains(runs), [run.scores for run in runs]
    with atomic_write(folder) as draft:
        draft.mkdir()
        write_table(draft / "scores.csv", scores, list(dict.fromkeys(key for row in scores for key in row)))
        write_table(draft / "gains.csv", rows, list(rows[0]) if rows else ["split", "size", "arm", "score"])
        write_study_report(scores, rows, draw_study(scores, rows, draft), draft, page, profile, simulated)
    print_gains(rows)


def draw_study(scores: Rows, gains: Rows, folder: Path) -> dict[str, str]:
    """Draws the figures of a study into `folder`; returns the caption of each by the stem of its files.

    `scores` are `study.Run.scores`, `gains` the rows of `study.gains`.
    """
    captions = {"scores": "F1_HM by training size: runs, and their mean ± standard deviation."}
    own = []
    if len({row["run"] for row in scores}) == 1:
        captions["scores"] = "F1_HM by training size of one run; the band is its 95 % bootstrap interval over scenes."
        own = [{**row, "low": row["f1_hm_low"], "high": row["f1_hm_high"]} for row in scores if row["f1_hm_low"]]
    study_figures.score_by_size(folder / "scores", scores, own)
    paired = _paired(scores)
    if paired:
        study_figures.gain_by_size(folder / "gains", paired, ARMS[BASELINE], _bands(scores, gains))
        captions["gains"] = (
            "What each arm gains over the baseline in F1_HM; the band is the 95 % bootstrap interval over scenes."
        )
    if len({row["training_defects"] for row in scores}) > 1:
        study_figures.learning_curve(folder / "learning_curve", scores)
        captions["learning_curve"] = "F1_HM against the number of labelled defects in the training micrographs."
    return captions


def _paired(scores: Rows) -> list[dict[str, Any]]:
    cell = ("split", "size", "run")
    baseline = {tuple(row[k] for k in cell): row["f1_hm"] for row in scores if row["arm"] == ARMS[BASELINE]}
    return [
        {**{k: row[k] for k in cell}, "arm": row["arm"], "gain": row["f1_hm"] - baseline[tuple(row[k] for k in cell)]}
        for row in scores
        if row["arm"] != ARMS[BASELINE]
    ]


def _bands(scores: Rows, gains: Rows) -> list[dict[str, Any]]:
    """The intervals of single splits; of a study with one split, those over all."""
    splits = {row["split"] for row in scores}
    return [
        {"split": split, "size": row["size"], "arm": row["arm"], "low": row["gain_low"], "high": row["gain_high"]}
        for row in gains
        for split in ([row["split"]] if len(splits) > 1 else splits)
        if row["score"] == "f1_hm" and row["gain_low"] is not None and (row["split"] == "all") == (len(splits) == 1)
    ]


def gain_table(gains: Rows) -> list[dict[str, Any]]:
    """The rows of `study.gains` as people read them."""
    return [
        {
            "n": row["size"],
            "split": row["split"],
            "arm": row["arm"],
            "score": figures.F1_NAMES[row["score"]],
            "runs": int(row["pairs"]),
            row["baseline"]: _spread(row["baseline_mean"], row["baseline_sd"]),
            "with the arm": _spread(row["arm_mean"], row["arm_sd"]),
            "gain": _spread(row["gain_mean"], row["gain_sd"], "+"),
            "95 % interval": _interval(row["gain_low"], row["gain_high"]),
            "t": row["t"],
            "p": row["p"],
            "share": row["possible_share"],
            "runs needed": row["runs_needed"],
        }
        for row in gains
    ]


def _spread(mean: float, sd: float | None, sign: str = "") -> str:
    return f"{mean:{sign}.3f}" if sd is None else f"{mean:{sign}.3f} ± {sd:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"[{low:+.3f}, {high:+.3f}]"


def write_study_report(
    scores: Rows,
    gains: Rows,
    captions: Mapping[str, str],
    folder: Path,
    path: str | os.PathLike,
    profile: str,
    simulated: bool,
) -> None:
    """The HTML file of a study, of the figures that `draw_study` put into `folder`."""
    pictures = [Picture(folder / f"{stem}.svg", caption) for stem, caption in captions.items()]
    sections = [Section("Gains", TEXT, [Table(gain_table(gains))], pictures), Section("Runs", "", [Table(scores)])]
    where = (
        "simulated, built-in micrographs, which say nothing about real material" if simulated else "real micrographs"
    )
    write_report(path, f"Study, profile {profile}", f"On {where}. {verdict(gains)}", sections)


def verdict(gains: Rows) -> str:
    """What the study says on F1_HM over all splits, one sentence an arm and size."""
    sentences = []
    for row in gains:
        if row["score"] != "f1_hm" or row["split"] != "all":
            continue
        gain = _spread(row["gain_mean"], row["gain_sd"], "+")
        said = f"{row['arm']} against {row['baseline']} at n = {row['size']}: {gain}"
        said += f" in F1_HM over {row['pairs']} paired runs" if row["pairs"] > 1 else " in F1_HM in one run"
        if row["gain_low"] is not None:
            covers = row["gain_low"] <= 0 <= row["gain_high"]
            said += f", interval {_interval(row['gain_low'], row['gain_high'])}"
            said += ", which leaves open whether it helps or hurts" if covers else ""
        sentences.append(said + (f", p = {row['p']:.2g}." if row["p"] is not None else "."))
    return " ".join(sentences) or "Only the baseline was run."


def print_gains(gains: Rows) -> None:
    """The table of gains on the screen."""
    from rich.console import Console
    from rich.table import Table as Screen

    rows = gain_table(gains)
    if not rows:
        return
    screen = Screen(title="gains over paired runs; 95 % interval: bootstrap over scenes; p: paired t-test")
    for column in rows[0]:
        screen.add_column(column, justify="right")
    for row in rows:
        screen.add_row(*(f"{v:.3f}" if isinstance(v, float) else "–" if v is None else str(v) for v in row.values()))
    Console(width=160).print(screen)
