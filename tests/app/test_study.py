import shutil
from pathlib import Path

import pytest
import yaml

from tem_data.app.study import read_study
from tem_data.study.report import write_study
from tests.study.test_study import ORIGIN, STUDY, results  # noqa: F401  (a fixture)

SECTION = {
    "cells": ["1-4"],
    "runs": [1, 2],
    "arms": ["exp", "exp_gen", "exp_copypaste"],
    "added": ["exp_gen", "exp_copypaste"],
    "models": ["ldm"],
    "generated": ["exp_gen"],
    "painted": [],
    "copy_paste": ["exp_copypaste"],
}


@pytest.fixture
def project(results, tmp_path):  # noqa: F811
    folder = tmp_path / "project"
    for name in ("runs", "cells"):
        shutil.copytree(results / name, folder / "results" / name)
    (folder / "params.yaml").write_text(yaml.safe_dump({"study": SECTION}))
    write_study(folder / "results", STUDY, folder / "results/study", folder / "runs/study.html", ORIGIN)
    return folder


def test_arms_are_columns_and_what_is_missing_is_named(project, tmp_path):
    said, scores, gains, *figures, reports = read_study(project, tmp_path / "copies")
    assert said == "<p>Not evaluated yet: EXP+GEN.</p>"
    assert scores["value"]["headers"][2:] == ["EXP", "EXP+CP"] and gains["value"]["headers"][2:] == ["EXP+CP"]
    assert [Path(figure["value"]).name for figure in figures] == ["scores.png", "gains.png"]
    assert [Path(report).name for report in reports] == ["study.html"]


def test_a_project_without_results(tmp_path):
    said, scores, gains, *figures, reports = read_study(tmp_path, tmp_path / "copies")
    assert said.startswith("<p>No results of a study: ") and not reports
    assert not any(shown["visible"] for shown in (scores, gains, *figures))
