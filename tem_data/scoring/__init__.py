"""Scores of predicted defects: one-to-one matching at an IoU cutoff, and the F1 scores of its counts.

`labels` holds what is compared, `matching` pairs truths with predictions in one
image, `scores` sums over images, `significance` gives intervals and tests,
`average_precision` COCO's measure, `evaluation` all of them for one detector,
`agreement` two sets of labels; `coco` reads COCO files.
"""

from tem_data.scoring.labels import (
    Labels,
    labels_from_boxes,
    labels_from_instances,
    labels_from_polygons,
    labels_from_rles,
    labels_of,
)
from tem_data.scoring.matching import Matching, Rule, match_labels
from tem_data.scoring.scores import (
    THRESHOLDS,
    Compared,
    Counts,
    Scores,
    best,
    compare,
    count_images,
    f1_scores,
    score_images,
    scores_of,
    sweep,
    total,
)

__all__ = [
    "THRESHOLDS",
    "Compared",
    "Counts",
    "Labels",
    "Matching",
    "Rule",
    "Scores",
    "best",
    "compare",
    "count_images",
    "f1_scores",
    "labels_from_boxes",
    "labels_from_instances",
    "labels_from_polygons",
    "labels_from_rles",
    "labels_of",
    "match_labels",
    "score_images",
    "scores_of",
    "sweep",
    "total",
]
