"""Kernel distance of two sets of pictures in the features of a network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tem_data.core.errors import TemDataError

LEAST_FOR_KID = 4
LEVEL = 0.95


class Kid(NamedTuple):
    """A kernel distance and its 95 % interval; about 0 for two draws of one distribution, and at times below."""

    value: float
    low: float
    high: float


def kid(a: np.ndarray, b: np.ndarray, subsets: int = 100, seed: int = 0) -> Kid:
    """Kernel distance of features (n, d) and (m, d), float (KID, Bińkowski et al. 2018).

    The unbiased MMD² with kernel (x·y/d + 1)³, averaged over random subsets of
    half the smaller set: over halves drawn without replacement an estimate
    spreads as the estimate from the whole does over new draws, which gives the
    interval. It takes pictures for independent. Raises TemDataError for sets of
    different features and for fewer than four pictures of one.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise TemDataError(f"features of shapes {a.shape} and {b.shape}; expected (n, d) of one network")
    size, rng = min(len(a), len(b)) // 2, np.random.default_rng(seed)
    if min(len(a), len(b)) < LEAST_FOR_KID:
        raise TemDataError(
            f"{len(a)} and {len(b)} pictures are too few for a kernel distance; give at least {LEAST_FOR_KID}"
        )
    kernels = polynomial_kernel(a, a), polynomial_kernel(b, b), polynomial_kernel(a, b)
    values = []
    for _ in range(subsets):
        ours, theirs = (rng.choice(len(s), size, replace=False) for s in (a, b))
        values.append(
            mmd2(
                *(
                    k[np.ix_(i, j)]
                    for k, i, j in zip(kernels, (ours, theirs, ours), (ours, theirs, theirs), strict=True)
                )
            )
        )
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Kid(float(np.mean(values)), float(low), float(high))


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(x·y/d + 1)³ of all rows of `a` (n, d) and `b` (m, d): (n, m) float64."""
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


def mmd2(aa: np.ndarray, bb: np.ndarray, ab: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy from the kernels within (n, n), (m, m) and between sets (n, m).

    Gretton et al., JMLR 13 (2012), equation 3.
    """
    within = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (aa, bb))
    return float(within - 2 * ab.mean())
