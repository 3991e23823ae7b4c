"""Which micrographs show the same piece of specimen: tiles of one field, or one image under two names.

A split that puts such micrographs on both sides shows the detector parts of
its test set, so micrographs are tied into scenes and scenes are split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from tem_data.core.micrograph import Micrograph

SIDE = 256
SMOOTH_PX = 3.0


class SharedField(NamedTuple):
    """Two overlapping micrographs: pixel (0, 0) of `id_b` lies at `(dx_px, dy_px)` of `id_a`.

    `fraction` is the part of the smaller of the two that both show, `ncc`
    their normalised cross-correlation there, in [-1, 1].
    """

    id_a: str
    id_b: str
    dx_px: float
    dy_px: float
    fraction: float
    ncc: float


class Scenes(NamedTuple):
    """The scene of each micrograph, `scene001` onward in the order given, and the overlaps that tie them."""

    scene: dict[str, str]
    overlaps: list[SharedField]


class _View(NamedTuple):
    """A micrograph made ready: small and of unit local contrast, its spectrum, its energy, px of it per px here."""

    shape: tuple[int, int]
    spectrum: np.ndarray
    energy: np.ndarray
    step: float


def find_scenes(
    images: Mapping[str, np.ndarray],
    min_overlap: float = 0.08,
    min_ncc: float = 0.3,
    min_significance: float = 9.0,
    progress: bool = True,
) -> Scenes:
    """Ties the micrographs that overlap by at least `min_overlap` (of the smaller one's area).

    `images` maps ids to `(height, width)` grey images of any dtype. Every pair
    is compared at every shift by normalised cross-correlation of its overlap
    (Padfield, IEEE Trans. Image Process. 21, 2012), on images that were brought to
    `SIDE` px on the longer side and to zero mean and unit contrast within
    about ten of these. A pair is tied where the highest peak of ncc × √(overlap
    area) is `min_significance` standard deviations of all shifts (chance makes
    about 5) and its ncc at least `min_ncc` (a scale bar that two images have
    in common makes less). Micrographs turned against each other, or of
    different magnification, are not tied.
    """
    ids = list(images)
    views = [_view(images[name]) for name in tqdm(ids, "scenes: spectra", disable=not progress)]
    pairs = tqdm(list(combinations(range(len(ids)), 2)), "scenes: pairs", disable=not progress)
    overlaps = []
    for a, b in pairs:
        dx, dy, fraction, ncc, significance = _best_shift(views[a], views[b], min_overlap)
        if ncc >= min_ncc and significance >= min_significance:
            step = views[a].step
            overlaps.append(SharedField(ids[a], ids[b], dx * step, dy * step, fraction, ncc))
    return Scenes(_tie(ids, overlaps), overlaps)


def with_scenes(
    micrographs: Sequence[Micrograph], min_overlap: float = 0.08
) -> tuple[list[Micrograph], list[SharedField]]:
    """The micrographs with their scene filled in, and the overlaps that tie them."""
    scenes = find_scenes({m.micrograph_id: m.pixels for m in micrographs}, min_overlap)
    return [replace(m, scene=scenes.scene[m.micrograph_id]) for m in micrographs], scenes.overlaps


def leaking_pairs(roles: Mapping[str, str], scene: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs of a micrograph of role `test` and one of another role that share a scene; empty if all is well."""
    test = [name for name, role in roles.items() if role == "test"]
    other = [name for name, role in roles.items() if role and role != "test"]
    return [(a, b) for a in test for b in other if scene[a] == scene[b]]


def _tie(ids: list[str], overlaps: list[SharedField]) -> dict[str, str]:
    index = {name: i for i, name in enumerate(ids)}
    rows, columns = [index[o.id_a] for o in overlaps], [index[o.id_b] for o in overlaps]
    graph = coo_array((np.ones(len(overlaps)), (rows, columns)), shape=(len(ids), len(ids)))
    _, labels = connected_components(graph, directed=False)
    number = {label: i + 1 for i, label in enumerate(dict.fromkeys(labels.tolist()))}
    return {name: f"scene{number[label]:03d}" for name, label in zip(ids, labels.tolist(), strict=True)}


def _view(image: np.ndarray) -> _View:
    step = max(image.shape) / SIDE
    size = [max(1, round(side / step)) for side in image.shape]
    small = cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), SMOOTH_PX)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 3 * SMOOTH_PX))
    # the floor keeps a featureless region from being blown up into noise
    even = np.clip(detail / (contrast + 0.2 * detail.std() + 1e-6), -4, 4)
    energy = np.zeros((size[0] + 1, size[1] + 1))
    energy[1:, 1:] = (even * even).cumsum(0, dtype=float).cumsum(1)
    return _View(tuple(size), fft.rfft2(even, (2 * SIDE, 2 * SIDE)), energy, step)


def _ends(side_a: int, side_b: int, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along one axis the shifts at which at least `least` px overlap, and the overlap's start and end in a."""
    shifts = np.arange(least - side_b, side_a - least + 1)
    return shifts, np.maximum(shifts, 0), np.minimum(shifts + side_b, side_a)


def _energy(table: np.ndarray, y0: np.ndarray, y1: np.ndarray, x0: np.ndarray, x1: np.ndarray) -> np.ndarray:
    """The sum of squares over each rectangle of rows × columns, from the summed-area table."""
    rows = table[y1] - table[y0]
    return rows[:, x1] - rows[:, x0]


def _best_shift(a: _View, b: _View, min_overlap: float) -> tuple[int, int, float, float, float]:
    """The likeliest `dx, dy` (px of the views), the overlap there, its ncc, and how far it stands out."""
    smaller = min(np.prod(a.shape), np.prod(b.shape))
    least = [max(1, int(min_overlap * min(n, m))) for n, m in zip(a.shape, b.shape, strict=True)]
    dy, y0, y1 = _ends(a.shape[0], b.shape[0], least[0])
    dx, x0, x1 = _ends(a.shape[1], b.shape[1], least[1])
    product = fft.irfft2(a.spectrum * b.spectrum.conj(), (2 * SIDE, 2 * SIDE))[np.ix_(dy, dx)]
    energy_a = _energy(a.energy, y0, y1, x0, x1)
    energy_b = _energy(b.energy, y0 - dy, y1 - dy, x0 - dx, x1 - dx)
    area = np.outer(y1 - y0, x1 - x0)
    # detail makes about 1 per px; the floor keeps an overlap without any from dividing rounding errors by 0
    ncc = product / np.maximum(np.sqrt(np.maximum(energy_a * energy_b, 0)), 0.05 * area)
    allowed = area >= min_overlap * smaller
    strength = np.where(allowed, ncc * np.sqrt(area), 0)
    row, column = np.unravel_index(strength.argmax(), strength.shape)
    significance = strength[row, column] / max(strength[allowed].std(), 1e-12)
    fraction = area[row, column] / smaller
    return int(dx[column]), int(dy[row]), float(fraction), float(ncc[row, column]), float(significance)
