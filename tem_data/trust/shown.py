"""Whether trust is justified: what was expected of labelled micrographs beside what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tem_data.materials.measuring import ALL
from tem_data.trust.calibration import HeldOut
from tem_data.trust.correction import Estimate

BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Bin(NamedTuple):
    """Finds of similar chance to be true: how many, their mean chance, and the share that is true."""

    finds: int
    expected: float
    true: float


def reliability_bins(held: Sequence[HeldOut]) -> list[Bin]:
    """The finds of held-out micrographs, by the chance to be true that was expected of them."""
    chance = np.concatenate(
        [h.calibration.reliability.chance(h.known.finds.scores[h.known.counted]) for h in held] or [np.zeros(0)]
    )
    true = np.concatenate([h.known.matched[h.known.counted] for h in held] or [np.zeros(0, bool)])
    number = np.clip(np.digitize(chance, BINS) - 1, 0, len(BINS) - 2)
    return [
        Bin(int(own.sum()), float(chance[own].mean()), float(true[own].mean()))
        for own in (number == k for k in range(len(BINS) - 1))
        if own.any()
    ]


def shown_of(held: Sequence[HeldOut], classes: Sequence[str]) -> dict[str, Any]:
    """How well expected F1_HM and corrected counts of held-out micrographs agree with the true ones; JSON-ready.

    `rmse_of_mean` is the error of who takes the mean F1_HM of the micrographs calibrated on for every one.
    `calibration_error` is the mean distance of the reliability diagram from its diagonal, weighed by finds.
    `spearman` is None for fewer than three micrographs.
    """
    true = np.array([h.known.f1_hm for h in held])
    expected = [h.calibration.expected_f1_hm(h.known.finds) for h in held]
    values = np.array([e.value for e in expected])
    bins = reliability_bins(held)
    finds = sum(b.finds for b in bins)
    return {
        "micrographs": len(held),
        "spearman": _spearman(values, true),
        "rmse": _rms(values - true),
        "rmse_of_mean": _rms(np.array([h.calibration.mean_f1_hm for h in held]) - true),
        "coverage": _share([e.low <= t <= e.high for e, t in zip(expected, true, strict=True)]),
        "half_width": float(np.mean([(e.high - e.low) / 2 for e in expected])) if expected else None,
        "calibration_error": sum(b.finds * abs(b.expected - b.true) for b in bins) / finds if finds else None,
        "reliability": [b._asdict() for b in bins],
        "f1_hm": [
            {"micrograph": h.known.name, "expected": e.value, "low": e.low, "high": e.high, "true": h.known.f1_hm}
            for h, e in zip(held, expected, strict=True)
        ],
        "counts": _counts(held, classes),
    }


def _counts(held: Sequence[HeldOut], classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """By class and for all: how often the interval holds the true number, and how far found and corrected ones are off.

    Errors are root mean squares of log((number + 1)/(true + 1)).
    """
    shown = {}
    for k, name in enumerate((*classes, ALL)):
        triples = [_triple(h, k, len(classes)) for h in held]
        true, found = (np.array([t[i] for t in triples], float) for i in (0, 1))
        corrected = np.array([t[2].value for t in triples])
        shown[name] = {
            "coverage": _share([e.low <= t <= e.high for t, _, e in triples]),
            "error_found": _rms(np.log((found + 1) / (true + 1))),
            "error_corrected": _rms(np.log((corrected + 1) / (true + 1))),
        }
    return shown


def _triple(held: HeldOut, k: int, classes: int) -> tuple[int, int, Estimate]:
    """The true, the found and the corrected number of class k, or of all for k = `classes`."""
    counts = held.known.counts
    estimate = held.calibration.correction.estimates(counts.predictions, held.calibration.quantile)[k]
    if k == classes:
        return int(counts.truths.sum()), int(counts.predictions.sum()), estimate
    return int(counts.truths[k]), int(counts.predictions[k]), estimate


def _spearman(values: np.ndarray, true: np.ndarray) -> float | None:
    from scipy.stats import spearmanr  # takes a while to import

    if len(true) < 3 or np.ptp(values) == 0 or np.ptp(true) == 0:
        return None
    return float(spearmanr(values, true).statistic)


def _rms(errors: np.ndarray) -> float | None:
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else None


def _share(held: Sequence[bool]) -> float | None:
    return float(np.mean(held)) if held else None
