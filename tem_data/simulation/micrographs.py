"""The built-in micrographs: simulated bright-field STEM of irradiated metal, with exact labels.

A stand-in where no labelled micrographs are at hand, physics-inspired and not a
multislice calculation: a defect absorbs a smooth profile of its look, the image
is `background * exp(-absorption)`, electrons are counted. Nothing here was
copied from a real micrograph; counts, sizes and aspects follow labeller A's
tables of on-zone FeCrAl (Figshare 10.6084/m9.figshare.27281400).

What lies in a field of view is drawn in nm, so that the same field at another
`nm_per_px` shows the same defects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, defect_from_ellipse
from tem_data.simulation.background import exposed, scenery

ANGLE_SPREAD_DEG = 6.0
SPECIMEN_DENSITY = (0.4, 0.75, 1.15, 1.7)  # mean 1: four specimens, irradiated more or less
SPECIMEN_MIX = (0.8, 0.95, 1.05, 1.2)  # mean 1
MICROGRAPH_SHAPE = 10.0  # of the gamma factor by which a micrograph is denser than its specimen
SMALLEST_MINOR_NM = 2.2  # the strain field around a thin defect is imaged, too
SIZE_LIMIT = 2.5  # in standard deviations of the log-normal size
LAYOUT, BACKGROUND, NOISE = 0, 1, 2  # random streams of a micrograph


@dataclass(frozen=True)
class DefectKind:
    """How one kind of defect of a material looks and how often it occurs.

    A category may have several kinds (⟨100⟩ loops: edge-on lines and face-on
    rings). `size_nm` is the geometric mean of the full major axis, `log_sd` the
    standard deviation of its logarithm. `aspect` holds quantiles of minor/major
    at equal steps of probability from 0 to 1. `angles_deg` are the directions
    of the major axis on the zone axis before the micrograph's own rotation;
    empty means any. `look` is a key of `LOOKS`, `contrast` its median peak
    absorption. Raises TemDataError for a value out of range.
    """

    category: str
    look: str
    size_nm: float
    log_sd: float
    aspect: tuple[float, ...]
    density_per_nm2: float
    contrast: float
    angles_deg: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        def expect(right: bool, field: str, expected: str) -> None:
            if not right:
                raise TemDataError(
                    f"simulated defects of class {self.category!r}: {field} is {getattr(self, field)!r}; "
                    f"give {expected}"
                )

        expect(self.look in LOOKS, "look", f"one of {', '.join(LOOKS)}")
        expect(self.size_nm > 0, "size_nm", "a length above 0 nm")
        expect(self.log_sd >= 0, "log_sd", "0 or more")
        expect(self.density_per_nm2 >= 0, "density_per_nm2", "0 or more defects per nm²")
        expect(self.contrast > 0, "contrast", "a peak absorption above 0, such as 0.5")
        ordered = len(self.aspect) > 0 and 0 < min(self.aspect) <= max(self.aspect) <= 1
        expect(ordered and list(self.aspect) == sorted(self.aspect), "aspect", "rising quantiles in (0, 1]")


@dataclass(frozen=True)
class _Drawn:
    """A defect of a field of view: centre and full axes in nm, angle counter-clockwise from +x.

    `contrast` is the peak absorption, `blur` the softness in nm of its depth in the foil, `phase` in [0, 1) varies
    the look.
    """

    kind: DefectKind
    x: float
    y: float
    major: float
    minor: float
    angle_deg: float
    contrast: float
    blur: float
    phase: float


# Looks: absorption (peak about 1) from r, the radius in units of the outline, and d, the distance from the
# outline in nm, negative inside.


def _inside(d: np.ndarray, softness: float) -> np.ndarray:
    return 1 / (1 + np.exp(np.clip(d / softness, -30, 30)))


def _rim(r: np.ndarray, d: np.ndarray, item: _Drawn) -> np.ndarray:
    """A dark rim whose outer flank is the outline, around a slightly darker inside."""
    width = min(item.blur, 0.15 * item.minor)
    return np.exp(-0.5 * ((d + 1.3 * width) / width) ** 2) + 0.2 * _inside(d, width)


def _ring(r: np.ndarray, d: np.ndarray, item: _Drawn) -> np.ndarray:
    """A rim, in half of the cases with the second contour of a loop that is seen face-on."""
    second = 0.8 * np.exp(-0.5 * ((r - 0.35) / 0.17) ** 2) if item.phase < 0.5 else 0.0
    return _rim(r, d, item) + second


def _line(r: np.ndarray, d: np.ndarray, item: _Drawn) -> np.ndarray:
    return 1.15 * np.exp(-1.3 * r**2) * _inside(d - 0.3, 0.5 * item.blur)


def _dot(r: np.ndarray, d: np.ndarray, item: _Drawn) -> np.ndarray:
    return _inside(d + 0.08 * item.minor, 0.1 * item.minor)


def _void(r: np.ndarray, d: np.ndarray, item: _Drawn) -> np.ndarray:
    return 0.5 * np.exp(-0.5 * (d / 0.8) ** 2) - _inside(d + 0.8, 0.4)  # underfocus: bright in a dark Fresnel fringe


LOOKS: dict[str, Callable[[np.ndarray, np.ndarray, _Drawn], np.ndarray]] = {
    "loop": _rim,
    "line": _line,
    "ring": _ring,
    "dot": _dot,
    "void": _void,
}

# labeller A: 83 defects on 490 nm × 490 nm, 20.5 % of them 111, 52.2 % bdot, 27.3 % 100, half of these edge-on.
# On the [100] zone edge-on ⟨100⟩ loops lie along two directions, ½⟨111⟩ ellipses along the diagonals between.
_PER_NM2 = 5.2 * 16 / 490**2
FECRAL: tuple[DefectKind, ...] = (
    DefectKind(
        category="111",
        look="loop",
        size_nm=17.8,
        log_sd=0.55,
        aspect=(0.36, 0.50, 0.55, 0.59, 0.61, 0.65, 0.69, 0.72, 0.90),
        density_per_nm2=0.205 * _PER_NM2,
        contrast=0.38,
        angles_deg=(45.0, 135.0),
    ),
    DefectKind(
        category="bdot",
        look="dot",
        size_nm=7.6,
        log_sd=0.43,
        aspect=(0.45, 0.67, 0.81, 0.91, 0.96, 0.98, 0.99, 1.0, 1.0),
        density_per_nm2=0.522 * _PER_NM2,
        contrast=0.55,
    ),
    DefectKind(
        category="100",
        look="line",
        size_nm=13.8,
        log_sd=0.58,
        aspect=(0.15, 0.22, 0.26, 0.30, 0.33, 0.37, 0.41, 0.45, 0.52),
        density_per_nm2=0.1365 * _PER_NM2,
        contrast=0.85,
        angles_deg=(0.0, 90.0),
    ),
    DefectKind(
        category="100",
        look="ring",
        size_nm=13.4,
        log_sd=0.46,
        aspect=(0.80, 0.88, 0.94, 0.97, 0.99, 0.99, 1.0, 1.0, 1.0),
        density_per_nm2=0.1365 * _PER_NM2,
        contrast=0.28,
    ),
)


def simulate(
    count: int,
    size_px: int = 512,
    nm_per_px: float = 0.957,
    seed: int = 0,
    material: tuple[DefectKind, ...] = FECRAL,
) -> Iterator[Micrograph]:
    """`count` simulated micrographs, `(size_px, size_px) uint8`; item i of a seed is the same whatever `count` is.

    Micrographs belong in turn to four specimens, which differ in density and mix of classes; none overlaps
    another. Masks are the filled outlines of the defects, cut at the edges of the image; a defect that covers no
    pixel centre is left out. Raises TemDataError for a count, size, scale or seed out of range.
    """
    for name, value, least in (("count", count, 0), ("size_px", size_px, 16), ("seed", seed, 0)):
        if value < least:
            raise TemDataError(f"simulated micrographs: {name} is {value}; give {least} or more")
    if not nm_per_px > 0:
        raise TemDataError(f"simulated micrographs: nm_per_px is {nm_per_px}; give nm per pixel, such as 0.957")
    numbers = tqdm(range(count), desc="simulated micrographs", unit="micrograph")
    return (_micrograph(i, size_px, nm_per_px, seed, material) for i in numbers)


def _micrograph(number: int, size_px: int, nm_per_px: float, seed: int, material: tuple[DefectKind, ...]) -> Micrograph:
    layout, background, noise = (np.random.default_rng([seed, number, part]) for part in (LAYOUT, BACKGROUND, NOISE))
    field = size_px * nm_per_px
    drawn = _layout(layout, field, list(zip(material, _densities(number, seed, material), strict=True)))
    absorption = scenery(background, size_px, nm_per_px)
    for item in drawn:
        _absorb(absorption, item, nm_per_px)
    labelled = (_label(item, size_px, nm_per_px) for item in drawn)
    name = f"simulated-{number:03d}"
    return Micrograph(
        micrograph_id=name,
        image=exposed(noise, absorption, nm_per_px),
        defects=tuple(defect for defect in labelled if defect is not None),
        shape=(size_px, size_px),
        nm_per_px=nm_per_px,
        thickness_nm=100.0,
        specimen=f"simulated-{'ABCD'[number % len(SPECIMEN_DENSITY)]}",
        scene=name,
        origin="builtin",
        seed=seed,
    )


def _densities(number: int, seed: int, material: tuple[DefectKind, ...]) -> list[float]:
    """Defects per nm² of each kind in the specimen of a micrograph; over all specimens their mean is the kind's."""
    rng = np.random.default_rng([seed])
    specimen = number % len(SPECIMEN_DENSITY)
    level = rng.permutation(SPECIMEN_DENSITY)[specimen]
    categories = dict.fromkeys(kind.category for kind in material)
    mix = {category: rng.permutation(SPECIMEN_MIX)[specimen] for category in categories}
    return [kind.density_per_nm2 * level * mix[kind.category] for kind in material]


def _layout(rng: np.random.Generator, field: float, densities: list[tuple[DefectKind, float]]) -> list[_Drawn]:
    """The defects of a square field of view of side `field` in nm, Poisson in number, at random places."""
    denser = rng.gamma(MICROGRAPH_SHAPE, 1 / MICROGRAPH_SHAPE)
    turn = rng.uniform(0, 180)
    drawn: list[_Drawn] = []
    for kind, density in densities:
        for _ in range(rng.poisson(density * denser * field**2)):
            item = _defect(rng, kind, field, turn)
            if _hides(item, drawn):  # at another depth they may, but a labeller leaves out most of such defects
                item = replace(item, x=rng.uniform(0, field), y=rng.uniform(0, field))
            drawn.append(item)
    return drawn


def _hides(item: _Drawn, others: list[_Drawn]) -> bool:
    return any(np.hypot(item.x - o.x, item.y - o.y) < 0.35 * (item.major + o.major) for o in others)


def _defect(rng: np.random.Generator, kind: DefectKind, field: float, turn: float) -> _Drawn:
    major = kind.size_nm * np.exp(kind.log_sd * np.clip(rng.normal(), -SIZE_LIMIT, SIZE_LIMIT))
    aspect = np.interp(rng.random(), np.linspace(0, 1, len(kind.aspect)), kind.aspect)
    along = rng.choice(kind.angles_deg) + rng.normal(0, ANGLE_SPREAD_DEG) if kind.angles_deg else rng.uniform(0, 180)
    x, y = rng.uniform(0, field, 2)
    contrast = kind.contrast * np.exp(rng.normal(0, 0.5))
    minor = min(major, max(SMALLEST_MINOR_NM, major * aspect))
    return _Drawn(kind, x, y, major, minor, along + turn, contrast, rng.uniform(1.1, 2.1), rng.random())


def _label(item: _Drawn, size_px: int, nm_per_px: float) -> Defect | None:
    x, y, major, minor = (length / nm_per_px for length in (item.x, item.y, item.major, item.minor))
    return defect_from_ellipse(item.kind.category, x, y, major, minor, item.angle_deg, (size_px, size_px))


def _absorb(absorption: np.ndarray, item: _Drawn, nm_per_px: float) -> None:
    """Add a defect to the absorption map `(size_px, size_px) float32`, whose pixels are `nm_per_px` wide."""
    size_px, reach = absorption.shape[0], item.major / 2 + 5.0
    left, top = (max(0, int((centre - reach) / nm_per_px)) for centre in (item.x, item.y))
    right, bottom = (min(size_px, int((centre + reach) / nm_per_px) + 1) for centre in (item.x, item.y))
    dx = (np.arange(left, right)[None, :] + 0.5) * nm_per_px - item.x
    dy = item.y - (np.arange(top, bottom)[:, None] + 0.5) * nm_per_px
    turn, a, b = np.deg2rad(item.angle_deg), item.major / 2, item.minor / 2
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    r = np.hypot(along / a, across / b) + 1e-6
    d = (r - 1) * r / (np.hypot(along / a**2, across / b**2) + 1e-6 / a)  # first-order distance from an ellipse
    profile = LOOKS[item.kind.look](r, d, item)
    if item.kind.look in ("loop", "ring"):  # the strain contrast of a loop fades along its line of no contrast
        profile = profile * (1 + 0.3 * np.cos(2 * (np.arctan2(across, along) - np.pi * item.phase)))
    absorption[top:bottom, left:right] += item.contrast * profile
