"""Whether generated pictures are copies of training patches: how near the nearest is, and how well it correlates.

What a model that copies nothing would give is known from real patches alone:
those of each training micrograph against those of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from tem_data.core.columns import Columns
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import symmetric_array

BLOCK = 256
THUMBNAIL = 32
SYMMETRIES = 8
HALF = 0.5
DRAWS = 20


@dataclass(frozen=True, eq=False)
class Nearest(Columns):
    """Of n pictures: index of the nearest training patch of all, its distance, and how much nearer it is than others.

    `closeness` (n,) is that distance over the distance to the nearest held-out
    patch of all; it falls with the number of training patches. `ratio` (n,) is
    the same with as many training as held-out patches, mean over draws.
    """

    index: np.ndarray
    distance: np.ndarray
    closeness: np.ndarray
    ratio: np.ndarray

    def summary(self) -> dict[str, float]:
        """Medians of `ratio` and `closeness`, and the share of each that is below 0.5."""
        return {
            f"{name}_{what}": float(value)
            for name, values in (("ratio", self.ratio), ("closeness", self.closeness))
            for what, value in (("median", np.median(values)), ("share_below_half", (values < HALF).mean()))
        }

    def closest(self, number: int) -> list[dict[str, Any]]:
        """The pairs of smallest `closeness`: {generated, training (indices), distance, closeness}."""
        return [
            {
                "generated": int(i),
                "training": int(self.index[i]),
                "distance": float(self.distance[i]),
                "closeness": float(self.closeness[i]),
            }
            for i in np.argsort(self.closeness, kind="stable")[:number]
        ]


def nearest_training(
    generated: np.ndarray, training: np.ndarray, held_out: np.ndarray, seed: int = 0, draws: int = DRAWS
) -> Nearest:
    """How near generated pictures are to training patches, in features (n, d), (t, d) and (v, d), Euclidean.

    `held_out` are patches of micrographs that were not trained on, best turned
    in the same symmetries. Raises TemDataError where a set is empty or
    features differ in number.
    """
    _check(generated, training, held_out)
    rng = np.random.default_rng(seed)
    number = min(len(training), len(held_out))
    columns = [[rng.choice(len(s), number, replace=False) for _ in range(draws)] for s in (training, held_out)]
    blocks = [
        _nearest(generated[start : start + BLOCK], training, held_out, columns)
        for start in range(0, len(generated), BLOCK)
    ]
    return Nearest(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def nearest_real(
    training: np.ndarray, groups: np.ndarray, held_out: np.ndarray, seed: int = 0, draws: int = DRAWS
) -> Nearest | None:
    """What real patches give: those of each group of training patches, in place of generated ones, against the others.

    `groups` (t,) names the micrograph or scene of each. None where there is only one.
    """
    names = np.unique(groups)
    if len(names) < 2:
        return None
    parts, order = [], []
    for number, name in enumerate(names):
        own, others = np.flatnonzero(groups == name), np.flatnonzero(groups != name)
        found = nearest_training(training[own], training[others], held_out, seed + number, draws)
        parts.append(replace(found, index=others[found.index]))
        order.append(own)
    back = np.argsort(np.concatenate(order))
    return Nearest.joined(parts).take(back)


class Copies(NamedTuple):
    """Of n pictures the training patch that correlates best: Pearson's r, its index, and how it is turned."""

    correlation: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # not tuple.index
    symmetry: np.ndarray

    def summary(self) -> dict[str, float]:
        low, high = np.quantile(self.correlation, [0.5, 0.95])
        return {"median": float(low), "p95": float(high), "max": float(self.correlation.max())}

    def closest(self, number: int) -> list[dict[str, Any]]:
        """The pairs of highest correlation: {generated, training (indices), symmetry, correlation}."""
        return [
            {
                "generated": int(i),
                "training": int(self.index[i]),
                "symmetry": int(self.symmetry[i]),
                "correlation": float(self.correlation[i]),
            }
            for i in np.argsort(-self.correlation, kind="stable")[:number]
        ]


def find_copies(
    images: np.ndarray,
    training: np.ndarray,
    image_groups: np.ndarray | None = None,
    training_groups: np.ndarray | None = None,
) -> Copies:
    """The training patch, in the best of eight symmetries, whose grey levels correlate best with each picture.

    `images` (n, side, side) and `training` (t, side, side) uint8, both first
    shrunk to 32×32. With groups, patches of a picture's own group are left out:
    what real patches of different micrographs give. A blank picture correlates
    with nothing (0). Raises TemDataError where nothing is left to compare with.
    """
    small = _thumbnails(training)
    turned = [_standardised([symmetric_array(s, symmetry) for s in small]) for symmetry in range(SYMMETRIES)]
    queries = _standardised(_thumbnails(images))
    best = Copies(np.full(len(images), -np.inf), np.zeros(len(images), int), np.zeros(len(images), int))
    for start in range(0, len(images), BLOCK):
        rows = np.s_[start : start + BLOCK]
        own = None if image_groups is None else image_groups[rows, None] == training_groups
        for symmetry, candidates in enumerate(turned):
            correlation = queries[rows] @ candidates.T
            if own is not None:
                correlation[own] = -np.inf
            index = correlation.argmax(1)
            found = correlation[np.arange(len(index)), index]
            better = found > best.correlation[rows]
            for held, new in zip(best, (found, index, np.full(len(index), symmetry)), strict=True):
                held[rows][better] = new[better]
    if np.isinf(best.correlation).any():
        raise TemDataError("copies: every training patch is of the picture's own group; give at least two micrographs")
    return best


def _check(*features: np.ndarray) -> None:
    if any(f.ndim != 2 or not len(f) or f.shape[1] != features[0].shape[1] for f in features):
        raise TemDataError(
            f"features of shapes {', '.join(str(f.shape) for f in features)} of generated, training and held-out "
            "pictures; expected (n, d) of one network, with at least one picture each"
        )


def _nearest(
    block: np.ndarray, training: np.ndarray, held_out: np.ndarray, columns: list[list[np.ndarray]]
) -> tuple[np.ndarray, ...]:
    """The fields of `Nearest` for some pictures."""
    to_training, to_held_out = _distances(block, training), _distances(block, held_out)
    index = to_training.argmin(1)
    distance = to_training[np.arange(len(block)), index]
    ratios = [
        _share(to_training[:, ours].min(1), to_held_out[:, theirs].min(1))
        for ours, theirs in zip(*columns, strict=True)
    ]
    return index, distance, _share(distance, to_held_out.min(1)), np.mean(ratios, 0)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    middle = b.mean(0)  # near the origin the difference of squares loses fewer digits
    a, b = (a - middle).astype(np.float64), (b - middle).astype(np.float64)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part/whole; 1 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((part == 0) & (whole == 0), 1.0, part / whole)


def _thumbnails(images: np.ndarray) -> np.ndarray:
    size = (THUMBNAIL, THUMBNAIL)
    return np.stack([cv2.resize(i.astype(np.float32), size, interpolation=cv2.INTER_AREA) for i in images])


def _standardised(thumbnails: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Rows of mean 0 and length 1, whose products are Pearson's r; a blank one stays 0."""
    rows = np.reshape(thumbnails, (len(thumbnails), -1))
    rows = rows - rows.mean(1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-3)
