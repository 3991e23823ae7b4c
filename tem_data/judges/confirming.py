"""Whether judges find again what a picture is said to show, defect by defect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tem_data.core.micrograph import Micrograph
from tem_data.detection.prediction import predict_patches
from tem_data.judges.judges import Judge, fresh_pairs
from tem_data.scoring.labels import labels_of
from tem_data.scoring.matching import match_labels


def confirmed(judges: Sequence[Judge], pairs: Sequence[Micrograph], confidence: float) -> list[np.ndarray]:
    """Which defects of each pair are found again, with their class, (defects,) bool.

    A judge that has not seen the pair's scene has to find them, with at least `confidence` and a mask IoU of at least
    0.3; of several judges one will do. Raises TemDataError as `fresh_pairs` does.
    """
    found = [np.zeros(len(pair.defects), bool) for pair in pairs]
    for member, numbers in zip(judges, fresh_pairs(judges, pairs), strict=True):
        predictions = predict_patches(member.detector, [pairs[i].pixels for i in numbers], progress=False)
        for i, predicted in zip(numbers, predictions, strict=True):
            truth, seen = (labels_of(d, pairs[i].shape, member.detector.classes) for d in (pairs[i].defects, predicted))
            true, matched = match_labels(truth, seen, threshold=confidence).pairs.T
            found[i][true[truth.category[true] == seen.category[matched]]] = True
    return found
