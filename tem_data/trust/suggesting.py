"""Which micrographs are worth labelling next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tem_data.trust.appearance import distances
from tem_data.trust.columns import Candidates, trained_looks

UNKNOWN = 0.5
FARTHEST = 2.0
COLUMNS = ("rank", "image", "expected_f1_hm", "difference", "reason")


class Suggestion(NamedTuple):
    """A micrograph to label. `difference` is its distance, in spreads of what was trained on, to the nearest
    micrograph that was trained on or suggested before it."""

    rank: int
    image: str
    expected_f1_hm: float | None
    difference: float
    reason: str


def suggest(candidates: Candidates, count: int) -> list[Suggestion]:
    """The `count` micrographs most worth labelling, the best first; all where there are fewer.

    One after the other, that with the largest product of its doubt, 1 − expected
    F1_HM, and its difference from what was trained on and from those chosen
    before it (a greedy k-centre, weighted by doubt).
    """
    looks = np.array([c.look for c in candidates.micrographs])
    trained = trained_looks(candidates)
    scale = trained if len(trained) else looks
    doubt = np.array([1 - (UNKNOWN if c.expected_f1_hm is None else c.expected_f1_hm) for c in candidates.micrographs])
    apart = np.full(len(looks), FARTHEST)
    if len(trained):
        apart = np.minimum(apart, distances(looks, trained, scale).min(1))
    left, chosen = list(range(len(looks))), list[Suggestion]()
    while left and len(chosen) < count:
        best = max(left, key=lambda i: (doubt[i] * apart[i], doubt[i]))
        chosen.append(_suggestion(candidates, best, len(chosen) + 1, float(apart[best]), doubt, len(trained) > 0))
        apart = np.minimum(apart, distances(looks, looks[best][None], scale)[:, 0])
        left.remove(best)
    return chosen


def _suggestion(
    candidates: Candidates, number: int, rank: int, difference: float, doubt: np.ndarray, trained: bool
) -> Suggestion:
    one = candidates.micrographs[number]
    reasons = list(one.reasons)
    if one.expected_f1_hm is not None and doubt[number] >= np.median(doubt):
        reasons.insert(0, f"expected F1_HM {one.expected_f1_hm:.2f}, among the lower half")
    if difference >= 1 and (trained or rank > 1):
        what = "what was trained on and those above" if trained else "those above"
        reasons.append(f"looks different from {what}")
    return Suggestion(
        rank, one.image, one.expected_f1_hm, difference, "; ".join(reasons) or "differs most from the others"
    )
