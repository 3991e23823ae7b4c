"""Score a detector on the test micrographs, at the confidence threshold that validation micrographs choose."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.coco.writing import read_results
from tem_data.core.files import write_json, write_table
from tem_data.core.places import Cell
from tem_data.core.schema import read_dataset
from tem_data.core.settings import read_settings
from tem_data.importing.micrographs import classes_of
from tem_data.materials import DEFECT_COLUMNS, MICROGRAPH_COLUMNS, Materials, measure
from tem_data.scoring.evaluation import Evaluation, evaluate, read_evaluation
from tem_data.study.arms import ARMS
from tem_data.study.tables import HEADLINE, details, headline, sweep_rows


def main() -> None:
    args = parse_cell("split", "size", "run", "arm")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    classes = classes_of(params)
    thresholds, rule = read_evaluation(params["evaluate"])
    judged = {}
    for role in ("validation", "test"):
        tiles = list(read_dataset(cell.data / "patches", role))
        judged[role] = tiles, read_results(cell.folder / "found" / args.arm / f"{role}.json", classes.names, len(tiles))
    evaluation = evaluate(*judged.values(), classes.names, thresholds, rule)

    tiles, found = judged["test"]
    sure = [[d for d in defects if d.score >= evaluation.threshold] for defects in found]
    materials = read_settings(Materials, params["materials"], "materials")
    measured = measure(tiles, sure, classes.names, materials, rule, frame=True)
    write_table(cell.folder / "measured" / f"{args.arm}.csv", measured.defects, DEFECT_COLUMNS)
    results = cell.results / args.arm
    write_json(results / "metrics.json", headline(evaluation))
    write_json(results / "evaluation.json", details(evaluation) | {"materials": measured.summary})
    write_table(results / "sweep.csv", sweep_rows(evaluation, args.arm), ("arm", "role", "threshold", *HEADLINE))
    write_table(results / "materials.csv", measured.micrographs, MICROGRAPH_COLUMNS)
    print_scores(args.arm, evaluation)


def print_scores(arm: str, evaluation: Evaluation) -> None:
    scores = evaluation.scores
    low, high = evaluation.intervals.get("f1_hm", (float("nan"),) * 2)
    by_class = ", ".join(f"{name} {f1:.3f}" for name, f1 in scores.f1_by_class.items())
    print(
        f"{ARMS[arm]} on test micrographs: F1_detect {scores.f1_detect:.3f}, "
        f"F1_class {scores.f1_class:.3f} ({by_class}), F1_HM {scores.f1_hm:.3f} "
        f"[{low:.3f}, {high:.3f}] at threshold {evaluation.threshold:.2f} from validation; "
        f"best on test {evaluation.best_on_test.f1_hm:.3f}"
    )


if __name__ == "__main__":
    stage(main)
