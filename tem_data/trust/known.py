"""What was found on micrographs, and, where these are labelled, what of it is true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tem_data.core.micrograph import Defect
from tem_data.detection.tiling import FAINT
from tem_data.scoring.evaluation import Found, Tiles, compare_tiles
from tem_data.scoring.matching import Matching, Rule, match_overlap
from tem_data.scoring.scores import Compared, Counts, count, f1_scores


class Finds(NamedTuple):
    """What a detector found on a micrograph: `scores` (n,) from its threshold on, and `categories` (n,) int.

    `faint` is the sum of the scores from `FAINT` up to the threshold.
    """

    scores: np.ndarray
    categories: np.ndarray
    faint: float


class Known(NamedTuple):
    """A labelled micrograph that the detector was not trained on.

    `matched` (n,) bool says which of its finds are true defects, of whatever
    class; finds on ambiguous truths are in `finds` but not in `counts`, and
    not in `counted` (n,) bool.
    """

    name: str
    scene: str
    finds: Finds
    matched: np.ndarray
    counted: np.ndarray
    counts: Counts

    @property
    def missed(self) -> int:
        return int(self.counts.truths.sum() - self.counts.confusion.sum())

    @property
    def f1_hm(self) -> float:
        return float(f1_scores(self.counts.confusion, self.counts.truths, self.counts.predictions).hm)


def finds_of(defects: Iterable[Defect], faint: float, classes: Sequence[str]) -> Finds:
    """The finds of a micrograph, from its defects and the sum of its faint scores."""
    found = [(d.score, classes.index(d.category)) for d in defects]
    scores = np.array([score for score, _ in found], float)
    return Finds(scores, np.array([category for _, category in found], int), faint)


def _finds(scores: np.ndarray, categories: np.ndarray, threshold: float) -> Finds:
    sure = scores >= threshold
    return Finds(scores[sure], categories[sure], float(scores[~sure & (scores >= FAINT)].sum()))


def known_micrographs(
    tiles: Tiles, found: Found, classes: Sequence[str], threshold: float, rule: Rule = Rule()
) -> list[Known]:
    """The micrographs of labelled tiles and of what was found on each, at every score.

    Raises TemDataError as `compare_tiles` does.
    """
    images, of_name = compare_tiles(tiles, found, classes, rule), dict[str, list[Known]]()
    for number, tile in enumerate(tiles):
        image = images[str(number)]
        matching = match_overlap(image.overlap, rule, threshold)
        part = _of_tile(tile.micrograph_id, tile.scene_name, image, matching, len(classes), threshold)
        of_name.setdefault(part.name, []).append(part)
    return [_joined(parts) for parts in of_name.values()]


def _of_tile(name: str, scene: str, image: Compared, matching: Matching, classes: int, threshold: float) -> Known:
    scores, categories = image.prediction.scores, image.prediction.category
    sure = scores >= threshold
    matched, counted = np.zeros(len(scores), bool), np.ones(len(scores), bool)
    matched[matching.pairs[:, 1]] = True
    counted[matching.ignored] = False
    counts = count(matching, image.truth, image.prediction, classes)
    return Known(name, scene, _finds(scores, categories, threshold), matched[sure], counted[sure], counts)


def _joined(parts: Sequence[Known]) -> Known:
    finds = Finds(
        np.concatenate([part.finds.scores for part in parts]),
        np.concatenate([part.finds.categories for part in parts]),
        sum(part.finds.faint for part in parts),
    )
    counts = parts[0].counts
    for part in parts[1:]:
        counts = counts + part.counts
    matched, counted = (np.concatenate([getattr(part, name) for part in parts]) for name in ("matched", "counted"))
    return Known(parts[0].name, parts[0].scene, finds, matched, counted, counts)
