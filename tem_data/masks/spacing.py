"""How close defects lie: the contact ratio of two ellipses, how rare each ratio is, and defects moved apart by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tem_data.core.columns import Columns
from tem_data.masks.ranges import ranges

# Of the contact ratio: fine where labellers begin to leave defects out, up to where ratios are as if at random.
EDGES = (0.0, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5)
PLATEAU = 2.0
PRIOR_PAIRS = 5
REFERENCES = 8
ROUNDS = 10
WEIGHTS = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True)
class Spacing:
    """Pairs of defects by contact ratio: how many of those that lie at random remain, 0 to 1, between each two edges.

    By pair of classes, as `a/b`, in the order of the classes; `pairs` is how many real pairs each value rests on.
    Beyond the last edge all remain.
    """

    edges: list[float]
    remaining: dict[str, list[float]]
    pairs: dict[str, list[int]]

    def table(self, classes: Sequence[str]) -> np.ndarray:
        """`remaining` as `(classes, classes, bins)` float."""
        n = len(classes)
        return np.array([[self.remaining[_key(classes, *sorted((a, b)))] for b in range(n)] for a in range(n)])


def _key(classes: Sequence[str], a: int, b: int) -> str:
    return f"{classes[a]}/{classes[b]}"


@dataclass(frozen=True, eq=False)
class Ellipses(Columns):
    """Many ellipses, (n,) float each: centre and full axes in one unit, angle counter-clockwise with y down.

    Ellipses of different `group` never meet; groups are sorted. `category` is the number of the class.
    """

    x: np.ndarray
    y: np.ndarray
    major: np.ndarray
    minor: np.ndarray
    angle_deg: np.ndarray
    group: np.ndarray
    category: np.ndarray

    def form(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Elements xx, xy, yy of the matrix M of which rᵀM⁻¹r ≤ 1 is the ellipse."""
        turn, p, q = np.deg2rad(self.angle_deg), (self.major / 2) ** 2, (self.minor / 2) ** 2
        cos, sin = np.cos(turn), np.sin(turn)
        return p * cos**2 + q * sin**2, (q - p) * sin * cos, p * sin**2 + q * cos**2


def contact_ratio(ellipses: Ellipses, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Distance of the centres over that at which the ellipses would touch: under 1 they overlap. (pairs,) float.

    Perram and Wertheim (1985): the root of max over λ of λ(1−λ) rᵀ[(1−λ)A + λB]⁻¹r, here over nine λ, so that it is
    never more than the true one.
    """
    first, second = (ellipses.take(numbers) for numbers in (i, j))
    weight = WEIGHTS[:, None]
    xx, xy, yy = ((1 - weight) * a + weight * b for a, b in zip(first.form(), second.form(), strict=True))
    dx, dy = first.x - second.x, first.y - second.y
    square = weight * (1 - weight) * (yy * dx**2 - 2 * xy * dx * dy + xx * dy**2) / (xx * yy - xy**2)
    return np.sqrt(square.max(0))


def all_pairs(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i > j of one group, each once, (pairs,) int each; groups are sorted."""
    numbers = np.arange(len(group))
    first = np.searchsorted(group, group)
    return np.repeat(numbers, numbers - first), ranges(first, numbers - first)


def near(ellipses: Ellipses, ratio: float, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Of which pairs the contact ratio may be under `ratio`, (pairs,) bool."""
    half = ratio / 2 * ellipses.major
    return (ellipses.x[i] - ellipses.x[j]) ** 2 + (ellipses.y[i] - ellipses.y[j]) ** 2 < (half[i] + half[j]) ** 2


def fit_spacing(
    ellipses: Ellipses, width: np.ndarray, height: np.ndarray, classes: Sequence[str], overlap: bool = True
) -> Spacing:
    """How rare near pairs are, against the same ellipses at random places of micrographs `width` × `height`, (n,).

    Divided by that of pairs between the last edge and `PLATEAU`, so that the clustering of
    defects over larger distances does not hide that they keep apart. Where a pair of
    classes is rare, all classes together count as `PRIOR_PAIRS` more. Without `overlap`
    (of labels of which no two share a pixel) no pair that overlaps remains.
    """
    rng = np.random.default_rng(0)
    observed = _histograms(ellipses, len(classes))
    expected = np.zeros_like(observed)
    for _ in range(REFERENCES):
        shuffled = replace(ellipses, x=rng.uniform(0, width), y=rng.uniform(0, height))
        expected += _histograms(shuffled, len(classes)) / REFERENCES
    pooled = _ratio(observed.sum((0, 1)), expected.sum((0, 1)), 1.0, 1)
    ratio = _ratio(observed, expected, pooled, PRIOR_PAIRS)
    level = np.maximum(ratio[..., -1:], 1e-9)
    remaining = np.minimum(ratio[..., :-1] / level, 1).round(3)
    if not overlap:
        remaining[..., np.less(EDGES[:-1], 1)] = 0
    keys = {_key(classes, a, b): (a, b) for b in range(len(classes)) for a in range(b + 1)}
    return Spacing(
        edges=list(EDGES),
        remaining={key: remaining[pair].tolist() for key, pair in keys.items()},
        pairs={key: observed[pair][:-1].astype(int).tolist() for key, pair in keys.items()},
    )


def _ratio(observed: np.ndarray, expected: np.ndarray, prior: np.ndarray | float, pairs: int) -> np.ndarray:
    return (observed + pairs * prior) / (expected + pairs)


def _histograms(ellipses: Ellipses, classes: int) -> np.ndarray:
    """Pairs by their classes, the smaller number first, and by contact ratio; the last bin ends at `PLATEAU`."""
    i, j = all_pairs(ellipses.group)
    close = near(ellipses, PLATEAU, i, j)
    i, j = i[close], j[close]
    ratio = contact_ratio(ellipses, i, j)
    close = ratio < PLATEAU
    bins = np.searchsorted(EDGES, ratio, side="right") - 1
    pair = np.sort([ellipses.category[i], ellipses.category[j]], 0)
    counts = np.zeros((classes, classes, len(EDGES)))
    np.add.at(counts, (*pair[:, close], bins[close]), 1)
    return counts


def keep_apart(
    rng: np.random.Generator,
    ellipses: Ellipses,
    edges: np.ndarray,
    remaining: np.ndarray,
    place: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> tuple[Ellipses, np.ndarray]:
    """Moves ellipses until pairs are as rare as a `Spacing` says, so that their number stays what it was.

    A pair is kept with the chance that `remaining` (classes, classes, bins) gives its
    contact ratio; else one moves to where `place(numbers)` puts it and is asked anew.
    After `ROUNDS` rounds the rest stay: the second result says which, (n,) bool.
    """
    chance = np.pad(remaining, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)  # beyond the last edge
    pairs = all_pairs(ellipses.group)
    moved = np.ones(len(ellipses), bool)
    for _ in range(ROUNDS):
        asked = [numbers[moved[pairs[0]] | moved[pairs[1]]] for numbers in pairs]
        i, j = (numbers[near(ellipses, edges[-1], *asked)] for numbers in asked)
        bins = np.searchsorted(edges, contact_ratio(ellipses, i, j), side="right") - 1
        refused = rng.random(len(i)) >= chance[ellipses.category[i], ellipses.category[j], bins]
        moved = _of_pairs(np.where(moved[i], i, j)[refused], len(ellipses))
        if not moved.any():
            break
        x, y = ellipses.x.copy(), ellipses.y.copy()
        x[moved], y[moved] = place(np.flatnonzero(moved))
        ellipses = replace(ellipses, x=x, y=y)
    return ellipses, moved


def _of_pairs(numbers: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros(count, bool)
    found[numbers] = True
    return found
