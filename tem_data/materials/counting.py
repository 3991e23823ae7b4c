"""How sure a number is that was counted, and a mean that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2


class CountingError(NamedTuple):
    """Of a count N, in the unit of the count: `standard` √N, and an interval from `low` to `high`."""

    standard: float
    low: float
    high: float

    def over(self, extent: float) -> CountingError:
        """That of the density N / `extent`, as of the area or volume in which N were counted."""
        return CountingError(*(value / extent for value in self))


def counting_error(count: float, confidence: float = 0.95) -> CountingError:
    """The error of a Poisson count: √N, and Garwood's exact interval (1936, Biometrika 28, 437).

    The interval is right for few and for none, where √N is not: of 0 it is 0 to 3.7. Defects that repel or attract
    each other are counted a little better or worse than that. `count` need not be whole, as by a counting frame.
    """
    tail = (1 - confidence) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count > 0 else 0.0
    return CountingError(float(np.sqrt(count)), float(low), float(chi2.ppf(1 - tail, 2 * count + 2) / 2))


def standard_error(values: Sequence[float]) -> float | None:
    """The standard error of the mean of `values`, s / √n; None of fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
