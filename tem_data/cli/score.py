"""The command that scores predictions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tem_data.cli.app import app
from tem_data.cli.options import class_names, names, options_of
from tem_data.scoring.evaluation import EvaluationSettings
from tem_data.scoring.matching import Rule

Ignore = Annotated[str, typer.Option(help="Categories that count neither as found nor as missed.")]
Threshold = Annotated[
    float | None,
    typer.Option(help="Least confidence of predictions; by default what their file records, else 0.5.", min=0, max=1),
]
Classes = Annotated[
    str,
    typer.Option(help="Classes, each with its names in the files, as '100=100_1+100_2,111,bdot=bd'; else as they are."),
]


@app.command()
@options_of(EvaluationSettings)
def score(
    truth: Annotated[
        Path, typer.Argument(help="COCO ground truth, or a dataset folder of whole micrographs with labels.")
    ],
    predictions: Annotated[
        Path, typer.Argument(help="COCO results with TRUTH's ids, or the found.json of `predict`, by file names.")
    ],
    settings: EvaluationSettings,
    ignore: Ignore = "ambiguous",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score predictions: F1 of detection, of classification, and their harmonic mean, at each confidence threshold."""
    from tem_data.scoring.coco import score_coco

    result = score_coco(truth, predictions, settings, names(ignore))
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
        return
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    _print_scores(result)
    spans = [f"{name} [{low:.3f}, {high:.3f}]" for name, (low, high) in result.intervals.items() if "." not in name]
    if spans:
        print(f"95 % intervals at *, bootstrap over images: {', '.join(spans)}")
    ap = result.average_precision
    if ap.ap is not None:
        counted = f"predictions from {result.cut.threshold:.4g} on"
        print(f"COCO {settings.match} AP {ap.ap:.3f}, AP50 {ap.ap50:.3f}, AP75 {ap.ap75:.3f} ({counted})")


@app.command()
@options_of(Rule, without=("ignore_ambiguous",))
def agree(
    a: Annotated[
        Path, typer.Argument(help="One set of labels: a COCO file, or a dataset folder of whole micrographs.")
    ],
    b: Annotated[
        Path,
        typer.Argument(
            help="Other labels of the same images: a second person's, or a model's, as COCO results with A's ids or "
            "the found.json of `predict`."
        ),
    ],
    settings: Rule,
    classes: Classes = "",
    ignore: Ignore = "ambiguous",
    threshold: Threshold = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two sets of labels of the same images, as between two people: the ceiling of any model's score."""
    from tem_data.importing.micrographs import read_labelled
    from tem_data.scoring.agreement import agree as agreement_of

    sets = []
    for path in (a, b):
        held = read_labelled(path, class_names(classes) or None, names(ignore), a, threshold)
        if held.quarantine.rows:
            print(f"{path}:\n{held.quarantine.summary()}", file=sys.stderr)
        if held.cut:
            said = held.cut.warning(held.threshold) or f"predictions of at least {held.threshold:g}"
            print(f"{path}: {said}", file=sys.stderr)
        sets.append(held.micrographs)
    result = agreement_of(sets[0], sets[1], settings)
    for path, only in ((a, result.only_in_a), (b, result.only_in_b)):
        if only:
            print(f"warning: {len(only)} images only in {path}, left out, as {only[0]}", file=sys.stderr)
    if alone := result.one_sided:
        count = f"{len(alone)} images, as {alone[0]}, have labels in one set only"
        print(f"warning: {count}; they count as free of defects in the other", file=sys.stderr)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
        return
    _print_agreement(result, a, b)


def _print_agreement(result: Any, a: Path, b: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    names = list(result.scores.classes)
    drawn = f"{result.scenes} scenes" if result.scenes < len(result.images) else "images"
    table = Table(title=f"{len(result.images)} images; in brackets 95 % intervals, bootstrap over {drawn}")
    for column in ("truth", "F1_detect", "F1_class", "F1_HM", *names):
        table.add_column(column, justify="right")
    none: dict[str, Any] = {}
    for path, scores, intervals in ((a, result.scores, result.intervals), (b, result.reversed, none)):
        keys = ["f1_detect", "f1_class", "f1_hm", *(f"f1_by_class.{name}" for name in names)]
        values = [scores.f1_detect, scores.f1_class, scores.f1_hm, *(scores.f1_by_class.get(name) for name in names)]
        cells = ["absent" if value is None else f"{value:.3f}" for value in values]
        spans = [f" [{intervals[key].low:.3f}, {intervals[key].high:.3f}]" if key in intervals else "" for key in keys]
        table.add_row(path.name, *(cell + span for cell, span in zip(cells, spans, strict=True)))
    Console(width=max(120, 26 * (4 + len(names)))).print(table)
    confusion = Table(title=f"matched pairs: rows {a.name}, columns {b.name}")
    for column in ("", *names, "not in the other"):
        confusion.add_column(column, justify="right")
    counts = result.scores.counts
    for k, name in enumerate(names):
        missed = counts.truths[k] - counts.confusion[k].sum()
        confusion.add_row(name, *(str(n) for n in counts.confusion[k]), str(missed))
    extra = counts.predictions - counts.confusion.sum(0)
    confusion.add_row("not in the other", *(str(n) for n in extra), "")
    Console().print(confusion)


def _print_scores(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    names = list(result.scores[0].classes)
    table = Table(title=f"{result.images} images; * marks the best F1_HM, which was found on these same images")
    for column in ("threshold", "precision", "recall", "F1_detect", "F1_class", "F1_HM", *names):
        table.add_column(column, justify="right")
    for s in result.scores:
        values = [s.precision, s.recall, s.f1_detect, s.f1_class, s.f1_hm]
        cells = [f"{v:.3f}" for v in values] + [
            f"{s.f1_by_class[n]:.3f}" if n in s.f1_by_class else "absent" for n in names
        ]
        table.add_row(f"{s.threshold:.4g}{' *' if s is result.best else ''}", *cells)
    Console(width=max(100, 12 * (6 + len(names)))).print(table)
