"""The report of a study: the table of gains, its figures, one HTML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tem_data import figures
from tem_data.core.files import atomic_write, write_json, write_table
from tem_data.reports.origin import Origin
from tem_data.reports.page import Link, Picture, Section, Table, write_report
from tem_data.scoring.significance import GAIN
from tem_data.study import figures as study_figures
from tem_data.study import page_tables
from tem_data.study.arms import ARMS, BASELINE, StudySettings
from tem_data.study.page_tables import gain, interval
from tem_data.study.scenes import scene_rows, scene_verdict, scenes_of
from tem_data.study.tables import Run, gains, mean_f1_hm, read_runs

Rows = Sequence[Mapping[str, Any]]

SCORES_TEXT = (
    "Means over all splits and runs ± standard deviation over them. n counts training and validation micrographs. Each "
    "score is at the confidence threshold that is best on validation micrographs."
)
GAINS_TEXT = (
    "Runs of one split and n are paired: they share micrographs, patches, seeds and schedule, and differ in the "
    "pairs that an arm adds. Gains are means over paired runs ± their standard deviation. t and p are of the paired "
    "t-test, which asks whether new trainings would show the gain again. The interval is a 95 % bootstrap "
    "over the scenes of the test micrographs, which asks whether other micrographs would; it holds the trainings "
    "fixed. A gain is worth believing where both agree. The share is of the possible improvement, 1 − F1_HM of the "
    f"baseline. Runs needed are those that would show a gain of {GAIN:g} in four of five studies, p < 0.05, at the "
    "spread that was measured; two runs are the least that t, p and they can be known from."
)
SCENES_TEXT = (
    "F1_HM of each test scene, all its micrographs together, mean over runs; in brackets the gain. The scenes that "
    "the first added arm gains most come first. One scene holds few defects: look for what several have in common."
)
MOST_SCENES = 40  # more are folded
SCREEN = 110  # characters


def write_study(
    results: str | os.PathLike,
    study: StudySettings,
    folder: str | os.PathLike,
    page: str | os.PathLike,
    origin: Origin,
    links: Sequence[Link] = (),
) -> None:
    """Write scores.csv, gains.csv and figures of all runs to `folder`, and the report to the file `page`.

    F1_HM of each arm, the mean over all runs, goes to `results/f1_hm.json`. Raises
    TemDataError where a run has not been evaluated yet.
    """
    runs = read_runs(results, study)
    rows, scores = gains(runs), [run.scores for run in runs]
    tables = os.path.relpath(folder, Path(page).parent)
    with atomic_write(folder) as draft:
        draft.mkdir()
        write_table(draft / "scores.csv", scores, list(dict.fromkeys(key for row in scores for key in row)))
        write_table(draft / "gains.csv", rows, list(rows[0]) if rows else ["split", "size", "arm", "score"])
        write_study_report(runs, rows, draw_study(scores, rows, draft), draft, page, tables, origin, links)
    write_json(Path(results, "f1_hm.json"), mean_f1_hm(runs))
    print_gains(rows)


def draw_study(scores: Rows, gains: Rows, folder: Path) -> dict[str, str]:
    """Draws the figures of a study into `folder`; returns the caption of each by the stem of its files.

    `scores` are `study.Run.scores`, `gains` the rows of `study.gains`.
    """
    captions = {"scores": "F1_HM by n: runs, and their mean ± standard deviation."}
    own = []
    if len({row["run"] for row in scores}) == 1:
        captions["scores"] = "F1_HM of one run by n; the band is its 95 % bootstrap interval over scenes."
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
    """The rows of `study.gains` as people read them, a line an arm and score: for cards."""
    return [
        {
            "n": row["size"],
            "split": row["split"],
            "arm": row["arm"],
            "score": figures.F1_NAMES[row["score"]],
            "runs": int(row["pairs"]),
            row["baseline"]: _known(row["baseline_mean"], row["baseline_sd"]),
            "with the arm": _known(row["arm_mean"], row["arm_sd"]),
            "gain": gain(row),
            "95 % interval": interval(row["gain_low"], row["gain_high"]),
            "t": row["t"],
            "p": row["p"],
            "share": row["possible_share"],
            "runs needed": row["runs_needed"],
        }
        for row in gains
    ]


def _known(mean: float, sd: float | None) -> str:
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} ± {sd:.3f}"


def write_study_report(
    runs: Sequence[Run],
    gains: Rows,
    captions: Mapping[str, str],
    folder: Path,
    path: str | os.PathLike,
    tables: str,
    origin: Origin,
    links: Sequence[Link] = (),
) -> None:
    """The HTML file of a study, of the figures that `draw_study` put into `folder`.

    `tables` leads from the page to the folder of scores.csv and gains.csv.
    """
    scenes = scenes_of(runs)
    pictures = [Picture(folder / f"{stem}.svg", caption) for stem, caption in captions.items()]
    sections = [
        Section("Scores", SCORES_TEXT, [Table(page_tables.score_rows(runs))], pictures),
        *([Section("Gains", GAINS_TEXT, _gain_tables(gains))] if gains else []),
        Section(
            "Scenes",
            f"{SCENES_TEXT}\n\n{scene_verdict(scenes)}",
            [Table(scene_rows(scenes), "F1_HM by test scene", folded=len(scenes) > MOST_SCENES)],
        ),
        Section(
            "Runs",
            "",
            [Table(page_tables.run_rows(runs), "F1_HM of each run")],
            links=[Link(f"All {what} as CSV", f"{tables}/{what}.csv") for what in ("scores", "gains")],
        ),
        origin.section,
    ]
    write_report(path, "Study", verdict(gains), sections, links, origin.facts)


def _gain_tables(gains: Rows) -> list[Table]:
    splits = [split for split in dict.fromkeys(row["split"] for row in gains) if split != "all"]
    return [
        Table(page_tables.gain_rows(gains), "All splits together" if splits else ""),
        *(Table(page_tables.gain_rows(gains, split), f"Split {split}", folded=True) for split in splits),
    ]


def verdict(gains: Rows) -> str:
    """What the study says on F1_HM over all splits, one sentence an arm, a paragraph a training size."""
    paragraphs: dict[int | str, list[str]] = {}
    for row in gains:
        if row["score"] == "f1_hm" and row["split"] == "all":
            paragraphs.setdefault(row["size"], []).append(_sentence(row))
    return "\n\n".join(map(" ".join, paragraphs.values())) or "Only the baseline was run."


def _sentence(row: Mapping[str, Any]) -> str:
    said = f"{row['arm']} against {row['baseline']} at n = {row['size']}: {gain(row)}"
    said += f" in F1_HM over {row['pairs']} paired runs" if row["pairs"] > 1 else " in F1_HM in one run"
    if row["gain_low"] is not None:
        said += f", interval {interval(row['gain_low'], row['gain_high'])}"
        said += ", which leaves open whether it helps or hurts" * (row["gain_low"] <= 0 <= row["gain_high"])
    return said + (f", p = {row['p']:.2g}." if row["p"] is not None else ".")


def print_gains(gains: Rows) -> None:
    """The gains over all splits on the screen."""
    from rich.console import Console
    from rich.table import Table as Screen

    rows = page_tables.gain_rows(gains)
    if not rows:
        return
    screen = Screen(title="95 % interval: bootstrap over scenes; p: paired t-test")
    for column in dict.fromkeys(column for row in rows for column in row):
        screen.add_column(column, justify="right")
    for row in rows:
        screen.add_row(*map(str, row.values()))
    Console(width=SCREEN).print(screen)
