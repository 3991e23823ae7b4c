"""One detector judged: its threshold chosen on validation micrographs, its scores on test micrographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.settings import section, setting
from tem_data.scoring.average_precision import AveragePrecision, average_precision
from tem_data.scoring.labels import labels_of
from tem_data.scoring.matching import Rule
from tem_data.scoring.scores import Compared, Counts, Scores, best, compare, count_images, score_images, total
from tem_data.scoring.significance import Interval, score_intervals

IOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@section("evaluate")
class EvaluationSettings(Rule):
    """How a detector is scored, and at which confidence thresholds."""

    thresholds: Sequence[Annotated[float, Field(ge=0, le=1)]] = setting(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), "Confidence thresholds to score at.", min_length=1
    )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """`scores` are those on test at `threshold`, which is the best on validation.

    `validation` and `test` hold the sweep over thresholds; `by_iou` the test
    scores at `threshold` for other IoU cutoffs; `counts` (of `scores`) are by
    test micrograph, and so is `scene`; `intervals` as `score_intervals` gives them.
    """

    threshold: float
    scores: Scores
    best_on_test: Scores
    validation: tuple[Scores, ...]
    test: tuple[Scores, ...]
    by_iou: dict[float, Scores]
    counts: dict[str, Counts]
    scene: dict[str, str]
    intervals: dict[str, Interval]
    average_precision: AveragePrecision


Tiles = Sequence[Micrograph]
Found = Sequence[Sequence[Defect]]


def evaluate(
    validation: tuple[Tiles, Found],
    test: tuple[Tiles, Found],
    classes: Sequence[str],
    thresholds: Sequence[float],
    rule: Rule = Rule(),
) -> Evaluation:
    """Judge what a detector found, at every confidence, on each tile of validation and test micrographs.

    Tiles are the images in which defects are matched; counts are summed by
    micrograph, intervals drawn by scene. Average precision is that of masks.
    Raises TemDataError where validation holds no defect, and as `compare` and `best` do.
    """
    if all(d.ignore for tile in validation[0] for d in tile.defects):
        raise TemDataError(
            "the validation micrographs hold no defect, so they cannot choose a confidence threshold; "
            "raise split.validation, train on more micrographs, or take another split.seed"
        )
    given = {"validation": validation, "test": test}
    images = {role: compare_tiles(*of_role, classes, rule) for role, of_role in given.items()}
    swept = {role: tuple(score_images(held, classes, rule, t) for t in thresholds) for role, held in images.items()}
    threshold = best(swept["validation"]).threshold
    counts = _by_micrograph(test[0], images["test"], len(classes), rule, threshold)
    scene = {tile.micrograph_id: tile.scene_name for tile in test[0]}
    return Evaluation(
        threshold=threshold,
        scores=next(s for s in swept["test"] if s.threshold == threshold),
        best_on_test=best(swept["test"]),
        validation=swept["validation"],
        test=swept["test"],
        by_iou={iou: score_images(images["test"], classes, replace(rule, iou=iou), threshold) for iou in IOUS},
        counts=counts,
        scene=scene,
        intervals=score_intervals(counts, scene, classes),
        average_precision=average_precision(
            {name: image.truth for name, image in images["test"].items()},
            {name: image.prediction for name, image in images["test"].items()},
            classes,
        ),
    )


def compare_tiles(tiles: Tiles, found: Found, classes: Sequence[str], rule: Rule) -> dict[str, Compared]:
    """What was found on each tile beside what is there; tile i has the name str(i). Raises as `compare` does."""
    true = {str(i): labels_of(tile.defects, tile.shape, classes) for i, tile in enumerate(tiles)}
    predicted = {str(i): labels_of(defects, tiles[i].shape, classes) for i, defects in enumerate(found)}
    return compare(true, predicted, rule.match)


def _by_micrograph(
    tiles: Tiles, images: Mapping[str, Compared], classes: int, rule: Rule, threshold: float
) -> dict[str, Counts]:
    of_tiles = count_images(images, classes, rule, threshold)
    grouped: dict[str, list[Counts]] = {}
    for i, tile in enumerate(tiles):
        grouped.setdefault(tile.micrograph_id, []).append(of_tiles[str(i)])
    return {name: total(counts, classes) for name, counts in grouped.items()}
