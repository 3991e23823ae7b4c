"""What a person should look at first: micrographs whose labels look different from those of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np

from tem_data.core.micrograph import Defect, Micrograph
from tem_data.importing.checking import alignment

SCATTERED = "one label"
MANY_PARTS = 5  # of one label, apart from each other, from which it may be several defects
UNFIT = "its labels lie on nothing that can be seen"
LEAST_FIT, GOOD_FIT = 3.5, 6.0  # of `alignment`: the most by chance, and less than nearly all right labels have
FEW = 5  # labels of a class in a micrograph below which its sizes say nothing
MANY = 15  # labels of a class on the other micrographs from which they are known
FAR = 3.0  # deviations from the others' median from which a size is far off
SWAPPED = 0.5  # nats a label by which swapped classes have to fit better
LEAST_SPREAD = np.array([0.1, 0.1, 0.3])  # of the logarithms of size and elongation, and of the contrast


class Doubt(NamedTuple):
    """Why a micrograph should be looked at, in words, and how much, from 0 on."""

    weight: float
    reason: str


def doubts_of(
    micrographs: Sequence[Micrograph], rows: Iterable[Mapping[str, str]], names: Mapping[str, str]
) -> dict[str, list[Doubt]]:
    """The doubts of each micrograph by its id, the gravest first.

    `rows` are those of the quarantine, whose `file` is a name of `names`, file name by id. Looked at are how labels
    fit the grey under them, labels in many places, sizes and contrasts of each class against those of the other
    micrographs, classes that fit the others' better when two of them are swapped, labels that were set aside, and
    calibration.
    """
    lost = Counter(row["file"] for row in rows if row["action"] == "set aside" and row["item"])
    looks = {m.micrograph_id: _looks(m) for m in micrographs}
    found = {}
    for micrograph in micrographs:
        own = looks[micrograph.micrograph_id]
        others = _joined(look for name, look in looks.items() if name != micrograph.micrograph_id)
        doubts = [*_fit(micrograph), *_parts(micrograph), *_sizes(own, others), *_swaps(own, others)]
        aside = lost[names[micrograph.micrograph_id]]
        if aside:
            doubts.append(Doubt(2 * aside / (aside + len(micrograph.defects)), f"{aside} of its labels set aside"))
        if micrograph.nm_per_px is None:
            doubts.append(Doubt(0.5, "its pixel size is not known"))
        if not micrograph.defects:
            doubts.append(Doubt(0.5, "it has no label"))
        found[micrograph.micrograph_id] = sorted(doubts, key=lambda doubt: -doubt.weight)
    return found


Looks = dict[str, np.ndarray]
"""By class, (n, 3): logarithms of the size (√area, nm where it is known) and of the elongation, and the contrast."""


def _looks(micrograph: Micrograph) -> Looks:
    scale, spread = micrograph.nm_per_px or 1.0, max(float(micrograph.pixels.std()), 1.0)
    found: dict[str, list[tuple[float, ...]]] = {}
    for defect in micrograph.defects:
        if not defect.ignore:
            size = np.log(scale * np.sqrt(defect.area))
            look = size, np.log(_elongation(defect)), _contrast(micrograph, defect) / spread
            found.setdefault(defect.category, []).append(look)
    return {name: np.array(looks) for name, looks in found.items()}


def _elongation(defect: Defect) -> float:
    """Ratio of the axes of the ellipse that has the mask's second moments."""
    rows, columns = np.nonzero(defect.mask)
    spread = np.cov(np.stack([rows, columns]), bias=True) + np.eye(2) / 12  # of a pixel itself
    small, large = np.linalg.eigvalsh(spread)
    return float(np.sqrt(large / small))


def _contrast(micrograph: Micrograph, defect: Defect) -> float:
    """Mean grey within, less that of the ring around of a quarter of its size."""
    x, y, width, height = defect.bbox
    reach = max(2, round(np.sqrt(defect.area) / 4))
    top, left = max(0, y - reach), max(0, x - reach)
    around = micrograph.pixels[top : y + height + reach, left : x + width + reach].astype(float)
    inside = np.zeros(around.shape, np.uint8)
    inside[y - top : y - top + height, x - left : x - left + width][defect.mask] = 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    ring = (cv2.dilate(inside, kernel) > 0) & (inside == 0)
    return float(around[inside > 0].mean() - around[ring].mean()) if ring.any() else 0.0


def _joined(looks: Iterable[Looks]) -> Looks:
    parts: dict[str, list[np.ndarray]] = {}
    for of_one in looks:
        for name, values in of_one.items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _fit(micrograph: Micrograph) -> Iterator[Doubt]:
    if len(micrograph.defects) < 3:
        return
    fit = alignment(micrograph.pixels, micrograph.defects)
    if fit < GOOD_FIT:
        where = UNFIT if fit < LEAST_FIT else "its labels lie only partly on dark or bright places"
        yield Doubt(1 + (GOOD_FIT - fit) / GOOD_FIT, f"{where} (alignment {fit:.1f})")


def _parts(micrograph: Micrograph) -> Iterator[Doubt]:
    """Labels that a brush, a threshold or a converter may have made of all defects of a class together."""
    count, category = max(((_pieces(defect), defect.category) for defect in micrograph.defects), default=(0, ""))
    if count >= MANY_PARTS:
        yield Doubt(1.0, f"{SCATTERED} ({category}) lies in {count} places, and counts as one defect")


def _pieces(defect: Defect) -> int:
    return int(cv2.connectedComponents(defect.mask.astype(np.uint8), connectivity=8)[0]) - 1


def _sizes(own: Looks, others: Looks) -> Iterator[Doubt]:
    for name, looks in own.items():
        if len(looks) < FEW or len(others.get(name, ())) < MANY:
            continue
        known = others[name][:, 0]
        middle, size = np.median(known), np.median(looks[:, 0])
        spread = max(1.4826 * np.median(np.abs(known - middle)), LEAST_SPREAD[0])
        if abs(size - middle) > FAR * spread:
            yield Doubt(1.0, f"its {name} are {np.exp(size - middle):.2g} times as large as those of the others")


def _swaps(own: Looks, others: Looks) -> Iterator[Doubt]:
    known = {name: looks for name, looks in others.items() if len(looks) >= MANY}
    for one, other in combinations(sorted(set(own) & set(known)), 2):
        if min(len(own[one]), len(own[other])) < FEW:
            continue
        as_labelled = _likelihood(own[one], known[one]) + _likelihood(own[other], known[other])
        swapped = _likelihood(own[one], known[other]) + _likelihood(own[other], known[one])
        gain = (swapped - as_labelled) / (len(own[one]) + len(own[other]))
        if gain > SWAPPED:
            yield Doubt(2 + gain, f"{one} and {other} look swapped")


def _likelihood(looks: np.ndarray, known: np.ndarray) -> float:
    """Logarithm of the likelihood of looks as those of a class are distributed, normally; outliers count little."""
    spread = np.maximum(known.std(0), LEAST_SPREAD)
    deviations = np.minimum(np.abs(looks - known.mean(0)) / spread, 4)
    return float(-(deviations**2 / 2 + np.log(spread)).sum())
