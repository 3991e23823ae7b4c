"""F1 at 9 confidence thresholds × 4 IoU cutoffs, on one core, against plain NumPy in the same run.

`python benchmarks/scoring.py` scores as many patches, truths and predictions as
the 2026 paper's test holds, and two whole micrographs as densely filled. The
plain implementation compares whole bool masks pair by pair, each pair once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.micrograph import defect_from_ellipse
from tem_data.scoring import THRESHOLDS, Rule, Scores, compare, labels_of, score_images
from tem_data.scoring.labels import Labels

CLASSES = ("100", "111", "bdot")
CUTOFFS = (0.1, 0.3, 0.5, 0.7)


class Case(NamedTuple):
    images: int
    side: int
    truths: int
    predictions: int


CASES = (Case(550, 256, 1851, 3073), Case(2, 1024, 168, 280))


def dataset(case: Case, count: int, seed: int) -> dict[str, Labels]:
    """Ellipses of 8 to 60 px dealt at random to the images; two seeds have every other one in common."""
    defects: dict[str, list] = {str(i): [] for i in range(case.images)}
    for i in range(count):
        rng = np.random.default_rng([i, seed if i % 2 else 0])
        image, (x, y), major = str(rng.integers(case.images)), rng.uniform(0, case.side, 2), rng.uniform(8, 60)
        minor, angle = major * rng.uniform(0.3, 1), rng.uniform(0, 180)
        shape = defect_from_ellipse(CLASSES[rng.integers(3)], x, y, major, minor, angle, (case.side, case.side))
        if shape is not None:
            defects[image].append(replace(shape, score=float(np.random.default_rng([i, seed, 1]).uniform())))
    return {name: labels_of(found, (case.side, case.side), CLASSES) for name, found in defects.items()}


def by_library(truths: dict[str, Labels], predictions: dict[str, Labels]) -> list[Scores]:
    images = compare(truths, predictions)
    return [score_images(images, CLASSES, Rule(iou), t) for iou in CUTOFFS for t in THRESHOLDS]


def by_pairs(truths: dict[str, Labels], predictions: dict[str, Labels]) -> list[np.ndarray]:
    """The confusion matrix at each cutoff and threshold, written as one would in an afternoon: IoUs once, too."""
    total = [np.zeros((len(CLASSES), len(CLASSES)), int) for _ in CUTOFFS for _ in THRESHOLDS]
    for name, truth in truths.items():
        prediction = predictions[name]
        order = sorted(range(len(truth)), key=lambda i: tuple(truth.boxes[i]))
        ranked = sorted(range(len(prediction)), key=lambda j: -prediction.scores[j])
        true = [rle_ops.decode(truth.rles[i]).astype(bool) for i in order]
        found = [rle_ops.decode(prediction.rles[j]).astype(bool) for j in ranked]
        iou = np.array([[(t & p).sum() / (t | p).sum() for p in found] for t in true]).reshape(len(true), len(found))
        for number, (cutoff, threshold) in enumerate((c, t) for c in CUTOFFS for t in THRESHOLDS):
            free = [prediction.scores[j] >= threshold for j in ranked]
            for row, i in enumerate(order):
                usable = [column for column in range(len(ranked)) if free[column] and iou[row, column] >= cutoff]
                if usable:
                    column = max(usable, key=lambda c: iou[row, c])
                    free[column] = False
                    total[number][truth.category[i], prediction.category[ranked[column]]] += 1
    return total


def timed(work: Callable[..., Any], *arguments: Any, repeats: int) -> tuple[float, Any]:
    """The least of several times, s, and the result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    for case in CASES:
        truths, predictions = dataset(case, case.truths, 1), dataset(case, case.predictions, 2)
        ours, scores = timed(by_library, truths, predictions, repeats=3)
        plain, confusions = timed(by_pairs, truths, predictions, repeats=1)
        assert all((s.counts.confusion == other).all() for s, other in zip(scores, confusions, strict=True))
        print(
            f"{case.images} images of {case.side} px, {case.truths} truths, {case.predictions} predictions, "
            f"{len(scores)} scores: tem_data.scoring {ours:.2f} s, plain NumPy {plain:.2f} s, "
            f"{plain / ours:.1f} times as long; equal counts"
        )


if __name__ == "__main__":
    main()
