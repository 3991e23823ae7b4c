"""Generated pictures against real ones, and beside each figure what two sets of real ones give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
from scipy.stats import wasserstein_distance

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, symmetric_array
from tem_data.fidelity.contrast import KINDS, Contrasts, contrast_ratio, measure_contrasts, summary
from tem_data.fidelity.distance import LEAST_FOR_KID, kid, mmd2, polynomial_kernel
from tem_data.fidelity.memorisation import SYMMETRIES, Copies, Nearest, find_copies, nearest_real, nearest_training
from tem_data.fidelity.texture import Textures, measure_textures, texture_distances
from tem_data.mask_comparison.distances import divide

DIVISIONS, REPEATS, CLOSEST = 50, 20, 8
SETS = ("training", "validation", "generated")


class Quantity(NamedTuple):
    """How a report names a distance, and its unit."""

    label: str
    unit: str


QUANTITIES = {
    "spectrum": Quantity("|Δ ln power|, mean over frequencies", ""),
    "lines": Quantity("scan lines: |ln power| between axes", ""),
    "grey": Quantity("grey levels of all pixels", "grey levels"),
    "patch_mean": Quantity("mean of a patch", "grey levels"),
    "patch_sd": Quantity("standard deviation of a patch", "grey levels"),
    "kid": Quantity("kernel distance of features (KID)", ""),
    "inside": Quantity("local contrast", "grey levels"),
    "outline": Quantity("local contrast of the outline", "grey levels"),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """A set of pictures: the pictures, the scene (or micrograph) of each, and what was measured on them."""

    pictures: tuple[Micrograph, ...]
    groups: np.ndarray
    textures: Textures
    contrasts: Contrasts

    def __len__(self) -> int:
        return len(self.pictures)


class ClosePair(NamedTuple):
    """A generated picture, the training patch it is closest to (of `copies`: turned like it), and how close."""

    generated: np.ndarray
    training: np.ndarray
    text: str


@dataclass(frozen=True, eq=False)
class PictureComparison:
    """`summary` is ready for JSON; the rest is for figures. `nearest` are by features, `copies` by correlation."""

    summary: dict[str, Any]
    training: Measured
    generated: Measured
    nearest: list[ClosePair]
    copies: list[ClosePair]


class _Draws(NamedTuple):
    """Pairs of index arrays into training and generated pictures, one after the other, by what they compare."""

    generated: list[tuple[np.ndarray, np.ndarray]]
    patches: list[tuple[np.ndarray, np.ndarray]]
    micrographs: list[tuple[np.ndarray, np.ndarray]]


def compare_pictures(
    training: Sequence[Micrograph],
    validation: Sequence[Micrograph],
    generated: Sequence[Micrograph],
    classes: Sequence[str],
    features: Callable[[np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
    most: int = 2000,
    progress: bool = True,
) -> PictureComparison:
    """How far generated pictures are from training patches; in `summary`, None where undefined:

    `distances`: by name (`QUANTITIES`; those of contrast as `inside.CLASS`), the
    `generated` median over random draws of generated and training patches, and
    median and 95th percentile of the same between training patches: random
    halves (`patches`), which a perfect model of these micrographs reaches, and
    divisions by whole scenes (`micrographs`), as far as other micrographs are.
    Draws of one comparison are of equal size, at most half the training patches.
    `contrast`: by class and kind real and generated `summary`, the ratio of means
    and its interval (`contrast_ratio`), and the 90 % range of that ratio between
    divisions by scenes. `kid`, `memorisation` and `copies`: as `distance.kid`,
    `nearest_training` and `find_copies`, the latter two beside what real patches give.

    `features` turns images (n, side, side) uint8 into (n, d) float, as
    `detection.features`; without it `kid` and `memorisation` are None.
    They are scaled to the training patches' mean and standard deviation;
    validation patches, the held-out ones, are turned in all eight symmetries. Of
    each set at most `most` pictures, drawn at random, are looked at; indices count
    the given ones. Raises TemDataError for empty sets and pictures of other sizes.
    """
    rng = np.random.default_rng(seed)
    chosen = [_choose(s, name, most, rng) for s, name in zip((training, validation, generated), SETS, strict=True)]
    sets = [[s[i] for i in indices] for s, indices in zip((training, validation, generated), chosen, strict=True)]
    images = _stacked(sets)
    real, ours = (_measure(sets[i], images[i], progress) for i in (0, 2))
    vectors = None
    if features is not None:
        turned = _turned(images[1])
        held_out = turned[np.sort(rng.permutation(len(turned))[:most])]
        vectors = _scaled([features(i) for i in (images[0], held_out, images[2])])
    nearest, among = _nearest(vectors, real.groups, seed)
    copies, real_copies = _copies(images, real.groups)
    draws = _draw(real.groups, len(ours), rng)
    joined = None if vectors is None else np.concatenate([vectors[0], vectors[2]])
    return PictureComparison(
        {
            "pictures": {name: len(s) for name, s in zip(SETS, sets, strict=True)},
            "scenes": len(np.unique(real.groups)),
            "draws": {name: [len(d), len(d[0][0]) if d else 0] for name, d in draws._asdict().items()},
            "distances": _distances(real, ours, joined, classes, draws),
            "contrast": {c: {k: _contrast(real, ours, c, k, draws, seed) for k in KINDS} for c in classes},
            "kid": vectors and _kid(vectors[0], vectors[2], seed),
            "memorisation": nearest and _beside(nearest, among, chosen),
            "copies": _beside(copies, real_copies, chosen),
        },
        real,
        ours,
        [] if nearest is None else _pairs(nearest, images),
        _pairs(copies, images),
    )


def _choose(pictures: Sequence[Micrograph], name: str, most: int, rng: np.random.Generator) -> np.ndarray:
    least = 2 if name == "training" else 1
    if len(pictures) < least:
        raise TemDataError(f"{len(pictures)} {name} pictures to compare; give at least {least}")
    return np.sort(rng.permutation(len(pictures))[:most])


def _stacked(sets: Sequence[Sequence[Micrograph]]) -> list[np.ndarray]:
    """The images of each set, (n, side, side) uint8."""
    for name, pictures in zip(SETS, sets, strict=True):
        for picture in pictures:
            if picture.image is None or picture.shape != sets[0][0].shape:
                found = "no image" if picture.image is None else "{1}×{0} px".format(*picture.shape)
                height, width = sets[0][0].shape
                raise TemDataError(
                    f"{picture.micrograph_id}, one of the {name} pictures, has {found}; expected patches of one size, "
                    f"{width}×{height} px as the first training patch"
                )
    return [np.stack([cast(np.ndarray, picture.image) for picture in pictures]) for pictures in sets]


def _measure(pictures: list[Micrograph], images: np.ndarray, progress: bool) -> Measured:
    groups = np.array([p.scene_name for p in pictures])
    textures = measure_textures(images, progress)
    return Measured(tuple(pictures), groups, textures, measure_contrasts(pictures, progress))


def _scaled(features: list[np.ndarray]) -> list[np.ndarray]:
    mean, sd = features[0].mean(0), features[0].std(0)
    return [(f - mean) / np.where(sd > 0, sd, 1) for f in features]


def _turned(images: np.ndarray) -> np.ndarray:
    """Each picture in all eight symmetries, as training patches lie in all of them."""
    return np.stack([symmetric_array(image, symmetry) for image in images for symmetry in range(SYMMETRIES)])


def _kid(training: np.ndarray, generated: np.ndarray, seed: int) -> dict[str, float] | None:
    enough = min(len(training), len(generated)) >= LEAST_FOR_KID
    return kid(training, generated, seed=seed)._asdict() if enough else None


def _nearest(
    vectors: list[np.ndarray] | None, groups: np.ndarray, seed: int
) -> tuple[Nearest, Nearest | None] | tuple[None, None]:
    if vectors is None:
        return None, None
    training, held_out, generated = vectors
    return nearest_training(generated, training, held_out, seed), nearest_real(training, groups, held_out, seed)


def _copies(images: list[np.ndarray], groups: np.ndarray) -> tuple[Copies, Copies | None]:
    training, _, generated = images
    several = len(np.unique(groups)) > 1
    return find_copies(generated, training), find_copies(training, training, groups, groups) if several else None


def _draw(groups: np.ndarray, generated: int, rng: np.random.Generator) -> _Draws:
    patches, size = len(groups), min(len(groups) // 2, generated)
    parts = [(np.flatnonzero(first), np.flatnonzero(~first)) for first in divide(groups, 0.5, DIVISIONS, rng)]
    return _Draws(
        [(_some(patches, size, rng), patches + _some(generated, size, rng)) for _ in range(REPEATS)],
        [(order[:size], order[size : 2 * size]) for order in (rng.permutation(patches) for _ in range(REPEATS))],
        [(rng.permutation(a)[:n], rng.permutation(b)[:n]) for a, b in parts for n in (min(size, len(a), len(b)),)],
    )


def _some(total: int, size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(total)[:size]


def _distances(
    real: Measured, ours: Measured, features: np.ndarray | None, classes: Sequence[str], draws: _Draws
) -> dict[str, dict[str, Any]]:
    """By quantity: generated against training, and both references."""
    textures, contrasts = _joined(real, ours)
    kernel = None if features is None else polynomial_kernel(features, features)

    def between(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        found = texture_distances(textures.take(first), textures.take(second))
        if kernel is not None and min(len(first), len(second)) > 1:
            found["kid"] = mmd2(*(kernel[np.ix_(i, j)] for i, j in ((first, first), (second, second), (first, second))))
        for kind in KINDS:
            for name in classes:
                values = [contrasts.values(name, kind, pictures) for pictures in (first, second)]
                if all(v.size for v in values):
                    found[f"{kind}.{name}"] = float(wasserstein_distance(*values))
        return found

    found = {name: [between(*pair) for pair in pairs] for name, pairs in draws._asdict().items()}
    names = dict.fromkeys(name for several in found.values() for one in several for name in one)
    columns = {n: {what: [one[n] for one in several if n in one] for what, several in found.items()} for n in names}
    return {
        name: {
            "unit": QUANTITIES[name.split(".")[0]].unit,
            "generated": _quantile(held["generated"], 0.5),
            "patches": {"median": _quantile(held["patches"], 0.5), "p95": _quantile(held["patches"], 0.95)},
            "micrographs": {"median": _quantile(held["micrographs"], 0.5), "p95": _quantile(held["micrographs"], 0.95)},
        }
        for name, held in columns.items()
    }


def _joined(real: Measured, ours: Measured) -> tuple[Textures, Contrasts]:
    """Both sets as one, the generated after the training pictures."""
    later = replace(ours.contrasts, picture=ours.contrasts.picture + len(real))
    return Textures.joined([real.textures, ours.textures]), Contrasts.joined([real.contrasts, later])


def _contrast(real: Measured, ours: Measured, category: str, kind: str, draws: _Draws, seed: int) -> dict[str, Any]:
    ratio = contrast_ratio(real.contrasts, real.groups, ours.contrasts, category, kind, seed)
    ratios = []
    for pair in draws.micrographs:
        first, second = (real.contrasts.values(category, kind, pictures) for pictures in pair)
        if first.size and second.size and first.mean() and second.mean():
            ratios += [first.mean() / second.mean(), second.mean() / first.mean()]
    return {
        "real": summary(real.contrasts.values(category, kind)),
        "generated": summary(ours.contrasts.values(category, kind)),
        "ratio": ratio.value,
        "interval": ratio.interval and list(ratio.interval),
        "micrographs": [_quantile(ratios, 0.05), _quantile(ratios, 0.95)] if ratios else None,
    }


def _quantile(values: Sequence[float], level: float) -> float | None:
    return float(np.quantile(values, level)) if len(values) else None


def _beside(found: Nearest | Copies, real: Nearest | Copies | None, chosen: Sequence[np.ndarray]) -> dict[str, Any]:
    """Generated and real summaries, and the closest pairs with the indices of the pictures that were given."""
    closest = [
        pair | {"generated": int(chosen[2][pair["generated"]]), "training": int(chosen[0][pair["training"]])}
        for pair in found.closest(CLOSEST)
    ]
    return {"generated": found.summary(), "real": real and real.summary(), "closest": closest}


def _pairs(found: Nearest | Copies, images: Sequence[np.ndarray]) -> list[ClosePair]:
    return [
        ClosePair(
            images[2][pair["generated"]],
            symmetric_array(images[0][pair["training"]], pair.get("symmetry", 0)),
            f"r = {pair['correlation']:.2f}" if "correlation" in pair else f"{pair['closeness']:.2f}",
        )
        for pair in found.closest(CLOSEST)
    ]
