"""The study: what all runs of all arms gave, in one table, with tests, intervals, figures and a report."""

from __future__ import annotations

from pathlib import Path

from pipelines.common import read_params, stage
from tem_data.core.files import atomic_write, write_table
from tem_data.core.places import RESULTS
from tem_data.study.report import draw_study, print_gains, write_study_report
from tem_data.study.tables import gains, read_runs


def main() -> None:
    params = read_params()
    runs = read_runs(RESULTS, params["study"])
    rows = gains(runs)
    scores = [run.scores for run in runs]
    with atomic_write(RESULTS / "study") as draft:
        draft.mkdir()
        write_table(draft / "scores.csv", scores, list(dict.fromkeys(key for row in scores for key in row)))
        write_table(draft / "gains.csv", rows, list(rows[0]) if rows else ["split", "size", "arm", "score"])
        captions = draw_study(scores, rows, draft)
        simulated = params["import"]["source"] == "builtin"
        write_study_report(scores, rows, captions, draft, Path("runs/study.html"), params["profile"], simulated)
    print_gains(rows)


if __name__ == "__main__":
    stage(main)
