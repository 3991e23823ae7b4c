"""Score a detector on the test micrographs, at the confidence threshold that validation micrographs choose."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.common import stage
from tem_data.coco.writing import read_results
from tem_data.core.files import write_json, write_table
from tem_data.core.micrograph import Micrograph
from tem_data.core.places import Cell
from tem_data.core.schema import read_classes, read_dataset
from tem_data.detection.scores import SCORES
from tem_data.materials import DEFECT_COLUMNS, MICROGRAPH_COLUMNS, Materials, measure
from tem_data.scoring.evaluation import Evaluation, EvaluationSettings, evaluate
from tem_data.study.arms import ARMS
from tem_data.study.tables import HEADLINE, details, headline, sweep_rows, told
from tem_data.trust.record import Judged, scores_record, trusted
from tem_data.trust.shown import shown_of


def main(cell: Cell, arm: str, settings: EvaluationSettings, materials: Materials) -> None:
    classes, judged = read_classes(cell.data / "patches").names, {}
    for role in ("validation", "test"):
        tiles = list(read_dataset(cell.data / "patches", role))
        judged[role] = tiles, read_results(cell.folder / "found" / arm / f"{role}.json", classes, len(tiles))
    evaluation = evaluate(judged["validation"], judged["test"], classes, settings.thresholds, settings)

    tiles, found = judged["test"]
    sure = [[d for d in defects if d.score >= evaluation.threshold] for defects in found]
    measured = measure(tiles, sure, classes, materials, settings, frame=True)
    write_table(cell.folder / "measured" / f"{arm}.csv", measured.defects, DEFECT_COLUMNS)
    training = read_dataset(cell.data / "patches", "train")
    trust = trusted(list(judged.values()), training, classes, evaluation.threshold, settings)
    record = _record(evaluation, judged["validation"][0], materials, cell) | {"trust": trust.record}
    write_json(cell.folder / arm / SCORES, record)
    results = cell.results / arm
    write_json(results / "metrics.json", headline(evaluation))
    extra = {"materials": measured.summary, "trust": shown_of(trust.held, classes)}
    write_json(results / "evaluation.json", details(evaluation) | extra)
    write_table(results / "sweep.csv", sweep_rows(evaluation, arm), ("arm", "role", "threshold", *HEADLINE))
    write_table(results / "materials.csv", measured.micrographs, MICROGRAPH_COLUMNS)
    print(f"{ARMS[arm]} on test micrographs: {told(evaluation)}")


def _record(evaluation: Evaluation, validation: Sequence[Micrograph], materials: Materials, cell: Cell) -> dict:
    chosen = next(s for s in evaluation.validation if s.threshold == evaluation.threshold)
    on_validation = Judged(chosen, len({tile.micrograph_id for tile in validation}))
    on_test = Judged(evaluation.scores, len(evaluation.counts))
    return scores_record(on_validation, on_test, materials, cell.split, cell.size)


if __name__ == "__main__":
    stage(main)
