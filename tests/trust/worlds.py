"""Micrographs of which the truth is drawn, so that what a calibration should find is known."""

from __future__ import annotations

import numpy as np

from tem_data.scoring.scores import Counts
from tem_data.trust.known import Finds, Known

THRESHOLD = 0.4
ACCURACY = (0.6, 0.9)


def drawn(number: int, seed: int = 0, harder: float = 0.0, size: int = 120) -> list[Known]:
    """`number` micrographs, each its own scene, of two classes: a find of score s is true with chance s − `harder`.

    They differ in how sure the detector is of them, and as much in how many defects it misses.
    """
    rng = np.random.default_rng(seed)
    return [_micrograph(f"m{n}", rng, harder, size) for n in range(number)]


def _micrograph(name: str, rng: np.random.Generator, harder: float, size: int) -> Known:
    hardness = rng.uniform(0.5, 3)
    scores = rng.beta(3 / hardness, 1.5, size=size)
    sure = scores >= THRESHOLD
    true = rng.random(size) < scores - harder
    called = rng.integers(0, 2, size)
    right = rng.random(size) < np.array(ACCURACY)[called]
    real = np.where(right, called, 1 - called)
    confusion = np.zeros((2, 2), int)
    np.add.at(confusion, (real[sure & true], called[sure & true]), 1)
    truths = confusion.sum(1) + np.bincount(real[~sure & true], minlength=2)
    faint = float(scores[~sure & (scores >= 0.1)].sum())
    counts = Counts(confusion, truths, np.bincount(called[sure], minlength=2))
    return Known(name, name, Finds(scores[sure], called[sure], faint), true[sure], np.ones(sure.sum(), bool), counts)
