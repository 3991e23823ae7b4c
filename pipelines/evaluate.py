"""Score both arms on the test micrographs, at the confidence threshold that validation micrographs choose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from pipelines.common import Cell, classes_in_force, parse_cell, read_params, stage
from tem_data.cards import ARMS
from tem_data.figures import contact_sheet, threshold_sweep
from tem_data.files import whole, write_json, write_table
from tem_data.formats.coco import coco_results, coco_truth
from tem_data.micrograph import Defect, Micrograph
from tem_data.schema import Classes, read_dataset
from tem_data.scoring import Scores, best, labels_of, sweep

HEADLINE = ("f1_detect", "f1_class", "f1_hm", "precision", "recall")
SHEET_COLUMNS = 6
SHEET_STEP = 10


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    classes, settings = classes_in_force(params), params["evaluate"]
    patches = {split: list(read_dataset(cell.data / "patches", split)) for split in ("validation", "test")}
    found = {arm: predict(cell.folder / arm, patches) for arm in ARMS}
    scores = {
        arm: {split: score(patches[split], found[arm][split], classes, settings) for split in patches} for arm in ARMS
    }
    write_json(cell.results / "metrics.json", metrics(scores))
    write_table(cell.results / "sweep.csv", *sweep_rows(scores))
    with whole(cell.folder / "predictions") as draft:
        write_json(draft / "truth.json", coco_truth(patches["test"], classes))
        for arm in ARMS:
            write_json(draft / f"{arm}.json", coco_results(found[arm]["test"], patches["test"], classes))
    draw(cell, patches["test"], found, scores, classes)
    print_table(scores)


def predict(detector: Path, patches: dict[str, list[Micrograph]]) -> dict[str, list[tuple[Defect, ...]]]:
    from tem_data.detection.model import load_detector
    from tem_data.detection.prediction import predict_patches

    loaded = load_detector(detector)
    return {split: predict_patches(loaded, [p.image for p in patches[split]]) for split in patches}


def score(
    truths: Sequence[Micrograph], found: Sequence[Sequence[Defect]], classes: Classes, settings: dict
) -> list[Scores]:
    """The sweep over confidence thresholds, patches being the images that are matched."""
    true = {str(i): labels_of(p.defects, p.shape, classes.names) for i, p in enumerate(truths)}
    predicted = {str(i): labels_of(d, truths[i].shape, classes.names) for i, d in enumerate(found)}
    return sweep(true, predicted, classes.names, **settings)


def chosen(scores: dict[str, list[Scores]]) -> Scores:
    """The test scores at the threshold that is best on validation."""
    threshold = best(scores["validation"]).threshold
    return next(s for s in scores["test"] if s.threshold == threshold)


def metrics(scores: dict[str, dict[str, list[Scores]]]) -> dict:
    """For each arm the test scores at the validation threshold, and `best_on_test` as [P26] reports it."""
    content: dict = {}
    for arm in ARMS:
        at, top = chosen(scores[arm]), best(scores[arm]["test"])
        content[arm] = {name: getattr(at, name) for name in HEADLINE} | {
            "f1_by_class": at.f1_by_class,
            "threshold_from_validation": at.threshold,
            "best_on_test": {"f1_hm": top.f1_hm, "threshold": top.threshold},
            "truths": int(at.counts.truths.sum()),
            "predictions": int(at.counts.predictions.sum()),
        }
    content["gain"] = {name: content["exp_gen"][name] - content["exp"][name] for name in HEADLINE[:3]}
    return content


def sweep_rows(scores: dict[str, dict[str, list[Scores]]]) -> tuple[list[dict], list[str]]:
    columns = ["arm", "split", "threshold", *HEADLINE]
    rows = [
        {"arm": ARMS[arm], "split": split, "threshold": s.threshold} | {name: getattr(s, name) for name in HEADLINE}
        for arm in ARMS
        for split in scores[arm]
        for s in scores[arm][split]
    ]
    return rows, columns


def draw(cell: Cell, test: list[Micrograph], found: dict, scores: dict, classes: Classes) -> None:
    """The contact sheet, of every tenth training and generated patch and all test patches those with most defects."""

    def fullest(patches: list[Micrograph]) -> list[int]:
        return sorted(sorted(range(len(patches)), key=lambda i: -len(patches[i].defects))[:SHEET_COLUMNS])

    training = list(itertools.islice(read_dataset(cell.data / "patches", "train"), 0, None, SHEET_STEP))
    generated = list(itertools.islice(read_dataset(cell.folder / "generated"), 0, None, SHEET_STEP))
    tested = [
        (
            test[i],
            {ARMS[arm]: [d for d in found[arm]["test"][i] if d.score >= chosen(scores[arm]).threshold] for arm in ARMS},
        )
        for i in fullest(test)
    ]
    simulated = " (simulated micrographs)" if test[0].origin == "builtin" else ""
    title = f"Split {cell.split}, n = {cell.size}, run {cell.run}{simulated}"
    threshold_sweep(
        cell.results / "sweep.png",
        {ARMS[arm]: scores[arm]["test"] for arm in ARMS},
        {ARMS[arm]: chosen(scores[arm]).threshold for arm in ARMS},
        title,
    )
    contact_sheet(
        cell.folder / "contact_sheet.png",
        [training[i] for i in fullest(training)],
        [generated[i] for i in fullest(generated)],
        tested,
        classes.names,
        title,
    )


def print_table(scores: dict[str, dict[str, list[Scores]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    at = {arm: chosen(scores[arm]) for arm in ARMS}
    table = Table(title="test micrographs, confidence threshold chosen on validation")
    for column in ("", "threshold", "F1_detect", "F1_class", "F1_HM", *(f"F1 {name}" for name in at["exp"].classes)):
        table.add_column(column, justify="right")
    for arm, s in at.items():
        values = [s.f1_detect, s.f1_class, s.f1_hm, *(s.f1_by_class.get(name, float("nan")) for name in s.classes)]
        table.add_row(ARMS[arm], f"{s.threshold:.2f}", *(f"{value:.3f}" for value in values))
    Console(width=120).print(table)


if __name__ == "__main__":
    stage(main)
