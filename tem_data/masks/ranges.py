"""Whole numbers in runs, without a loop."""

import numpy as np


def ranges(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """`count[k]` whole numbers from `first[k]` on, one k after the other."""
    ends = np.cumsum(count)
    return np.repeat(first - ends + count, count) + np.arange(ends[-1] if ends.size else 0)
