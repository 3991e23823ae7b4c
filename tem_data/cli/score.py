"""The command that scores predictions."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tem_data.cli.app import app
from tem_data.errors import TemDataError


class Match(StrEnum):
    mask = "mask"
    box = "box"


class Assignment(StrEnum):
    greedy = "greedy"
    optimal = "optimal"


@app.command()
def score(
    truth: Annotated[Path, typer.Argument(help="COCO ground truth.")],
    predictions: Annotated[Path, typer.Argument(help="COCO results.")],
    match: Annotated[Match, typer.Option(help="What overlaps: masks, or their boxes.")] = Match.mask,
    iou: Annotated[float, typer.Option(help="Least intersection over union of a match.")] = 0.3,
    assignment: Annotated[Assignment, typer.Option(help="greedy as the papers' code, or optimal.")] = Assignment.greedy,
    ignore: Annotated[str, typer.Option(help="Categories that count neither as found nor as missed.")] = "ambiguous",
    ignore_ambiguous: Annotated[
        bool, typer.Option(help="Leave out what matches an ignored truth, or count it as false.")
    ] = True,
    thresholds: Annotated[
        str, typer.Option(help="Confidence thresholds to score at.")
    ] = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score predictions: F1 of detection, of classification, and their harmonic mean, at each confidence threshold."""
    from tem_data.scoring.coco import score_coco

    result = score_coco(
        truth,
        predictions,
        iou,
        match.value,
        assignment.value,
        ignore=tuple(name for name in ignore.split(",") if name),
        ignore_ambiguous=ignore_ambiguous,
        thresholds=_numbers(thresholds),
    )
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
        return
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    _print_scores(result)


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
        table.add_row(f"{s.threshold:g}{' *' if s is result.best else ''}", *cells)
    Console(width=max(100, 12 * (6 + len(names)))).print(table)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise TemDataError(f"--thresholds: expected numbers with commas between, found {text!r}") from error
