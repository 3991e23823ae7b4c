"""Scores of predicted defects: one-to-one matching at an IoU cutoff, and the F1 scores of its counts.

`labels` holds what is compared, `matching` pairs truths with predictions in one
image, `scores` sums over images, `coco` reads COCO files.
"""

from tem_data.scoring.labels import Labels, labels_of
from tem_data.scoring.matching import Matching, Rule, match_labels
from tem_data.scoring.scores import THRESHOLDS, Counts, Scores, best, count_images, scores_of, sweep, total

__all__ = [
    "THRESHOLDS",
    "Counts",
    "Labels",
    "Matching",
    "Rule",
    "Scores",
    "best",
    "count_images",
    "labels_of",
    "match_labels",
    "scores_of",
    "sweep",
    "total",
]
