"""The tab with the results of a study."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from tem_data.app.session import line
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_numbers
from tem_data.core.places import RESULTS
from tem_data.core.settings import PARAMS, SettingsFile

if TYPE_CHECKING:
    from tem_data.study.arms import StudySettings

TEXTS = ("split", "size", "baseline", "arm", "score")
REPORTS = ("study.html", "import.html", "*/report.html", "*/fidelity/report.html")
FIGURES = {"scores": "F1_HM by training size", "gains": "Gains over the baseline"}
OF_ARMS = ("arms", "added", "generated", "painted", "copy_paste")
Table = dict[str, Any]


def study_tab(page: gr.Blocks, project: Path, folder: Path) -> None:
    """The results that lie in a project, as they are when the page is opened or read again.

    Copies of its figures and reports go to `folder`.
    """
    said = gr.HTML()
    again = gr.Button("Read again", size="sm", scale=0, min_width=140)
    scores = gr.Dataframe(label="Scores, arms as columns", interactive=False, wrap=True, elem_id="scores")
    gains = gr.Dataframe(label="Gains, arms as columns", interactive=False, wrap=True, elem_id="gains")
    with gr.Row():
        figures = [
            gr.Image(
                alt_text=text, show_label=False, interactive=False, elem_id=f"figure-{name}", buttons=["fullscreen"]
            )
            for name, text in FIGURES.items()
        ]
    reports = gr.File(label="Reports, which open without a server", file_count="multiple", interactive=False)
    shown = [said, scores, gains, *figures, reports]
    for event in (again.click, page.load):
        event(partial(read_study, project, folder), None, shown, show_progress="hidden")


def read_study(project: Path, folder: Path) -> tuple[Any, ...]:
    """What is said first, the scores, the gains, the figures and the reports."""
    try:
        said, scores, gains = _tables(project)
    except TemDataError as error:
        said, scores, gains = f"No results of a study: {error}", None, None
    drawn = [_copies(project / RESULTS / "study", [f"{name}.png"], folder) for name in FIGURES]
    figures = [gr.update(value=paths[0] if paths else None, visible=bool(paths)) for paths in drawn]
    tables = [gr.update(value=table, visible=table is not None) for table in (scores, gains)]
    return f"<p>{line(said)}</p>", *tables, *figures, _copies(project / "runs", REPORTS, folder)


def _tables(project: Path) -> tuple[str, Table, Table]:
    """What is missing, the scores and the gains. Raises TemDataError where the baseline was not evaluated."""
    from tem_data.study.arms import ARMS, StudySettings
    from tem_data.study.page_tables import gain_rows, score_rows
    from tem_data.study.tables import read_runs

    results = project / RESULTS
    study = SettingsFile.open(project / PARAMS).read(StudySettings)
    runs = read_runs(results, _evaluated(study, results))
    missing = [ARMS[arm] for arm in study.arms if arm not in {run.arm for run in runs}]
    gains = read_numbers(results / "study" / "gains.csv", TEXTS)
    said = f"Not evaluated yet: {', '.join(missing)}." if missing else ""
    return said, _table(score_rows(runs)), _table(gain_rows(gains))


def _evaluated(study: StudySettings, results: Path) -> StudySettings:
    """A study with the arms alone that were evaluated in every run."""
    from tem_data.study.arms import BASELINE

    folders = [results / "runs" / run.folder.name for run in study.every_run]
    there = {arm for arm in study.arms if all((folder / arm / "evaluation.json").is_file() for folder in folders)}
    if BASELINE not in there:
        raise TemDataError("no run has been evaluated yet; `dvc repro` does it")
    arms = {name: [arm for arm in getattr(study, name) if arm in there] for name in OF_ARMS}
    models = study.models if arms["generated"] or arms["painted"] else ()
    return replace(study, models=models, **arms)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return {"headers": columns, "data": [[str(row.get(column, "–")) for column in columns] for row in rows]}


def _copies(source: Path, patterns: Sequence[str], folder: Path) -> list[str]:
    """Copies of files in `folder`, under names that tell them apart; Gradio gives away no others."""
    folder.mkdir(exist_ok=True)
    found = [path for pattern in patterns for path in sorted(source.glob(pattern))]
    return [str(shutil.copy(path, folder / "_".join(path.relative_to(source).parts))) for path in found]
