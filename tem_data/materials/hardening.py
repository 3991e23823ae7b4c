"""What a material's defects do: their number in a field, and the hardening that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect
from tem_data.materials.outlines import SIZES

BINS = ("quadrature", "linear")
DEFAULT_SIZE = "loop"


@dataclass(frozen=True)
class Materials:
    """The section `materials` of params.yaml; the defaults are the 2022 paper's (table 9), for irradiated FeCrAl.

    `size` gives a class its rule of size, `loop` (also that of classes that it
    does not name) or `dot`; `barrier_strength` its α. `bins` says how the
    hardening by the sizes within a class adds up: in `quadrature` (Σ ρᵢ·dᵢ
    under the root), or `linear`, over bins of `bin_width_nm`. Raises
    TemDataError for a value that cannot be.
    """

    size: Mapping[str, str] = field(default_factory=lambda: {"bdot": "dot"})
    barrier_strength: Mapping[str, float] = field(default_factory=lambda: {"100": 0.32, "111": 0.11, "bdot": 0.10})
    taylor_factor: float = 3.06
    shear_modulus_gpa: float = 82.0
    burgers_nm: float = 0.249
    bins: str = "quadrature"
    bin_width_nm: float = 5.0

    def __post_init__(self) -> None:
        for name in ("size", "barrier_strength"):
            if not isinstance(getattr(self, name), Mapping):
                raise TemDataError(f"materials.{name}: expected a value for each class, found {getattr(self, name)!r}")
            # an unquoted class 100 is a number in YAML
            object.__setattr__(self, name, {str(key): value for key, value in getattr(self, name).items()})
        for category, rule in self.size.items():
            if rule not in SIZES:
                raise TemDataError(f"materials.size.{category}: expected one of {list(SIZES)}, found {rule!r}")
        if self.bins not in BINS:
            raise TemDataError(f"materials.bins: expected one of {list(BINS)}, found {self.bins!r}")
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "float"}
        numbers |= {f"barrier_strength.{category}": value for category, value in self.barrier_strength.items()}
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
                raise TemDataError(f"materials.{name}: expected a positive number, found {value!r}")


def hardening_mpa(
    category: str, density_per_nm3: float, sizes_nm: Sequence[float], materials: Materials = Materials()
) -> float | None:
    """Δσ = M·α·μ·b·√(ρ·d) of the defects of one class, MPa; None if the class has no α, or no size is known.

    Dispersed barrier hardening ([P22], equation 1). `sizes_nm` are a sample of
    the class's sizes; each stands for an equal part of the volume density ρ.
    In a linear sum each bin has the mean of its sizes.
    """
    alpha = materials.barrier_strength.get(category)
    if alpha is None or (density_per_nm3 > 0 and not len(sizes_nm)):
        return None
    if density_per_nm3 <= 0:
        return 0.0
    sizes = np.asarray(sizes_nm, float)
    bins = (sizes // materials.bin_width_nm).astype(int) if materials.bins == "linear" else np.zeros(len(sizes), int)
    roots = np.sqrt(density_per_nm3 * np.bincount(bins, sizes) / len(sizes))
    return float(
        materials.taylor_factor * alpha * materials.shear_modulus_gpa * 1e3 * materials.burgers_nm * roots.sum()
    )


def frame_area_px(shape: tuple[int, int]) -> int:
    """The area of the counting frame of an image: it runs through the centres of the outermost pixels, px²."""
    return (shape[0] - 1) * (shape[1] - 1)


def frame_count(defect: Defect, shape: tuple[int, int]) -> float:
    """What a defect counts in the counting frame of an image of `shape`: 1 inside, ½ on an edge, ¼ on a corner.

    The unbiased counting frame (Gundersen 1977, J. Microsc. 111, 219) leaves
    out what touches the left or upper edge, or their extensions beyond the
    image. These cannot be seen in a tile, and without them a defect around a
    corner of three tiles counts twice. The additive form needs no more than the
    tile: 1 − left − upper + corner pixel. Here it is the mean over the frame's
    four orientations: 1 − edges / 2 + corners / 4. For convex defects it is
    unbiased on the area `frame_area_px`, and over frames that share their
    edges it adds up to 1 for each defect.
    """
    x, y, w, h = defect.bbox
    left, right, top, bottom = x == 0, x + w == shape[1], y == 0, y + h == shape[0]
    mask = defect.mask
    corners = [
        left and top and mask[0, 0],
        right and top and mask[0, -1],
        left and bottom and mask[-1, 0],
        right and bottom and mask[-1, -1],
    ]
    return 1 - sum((left, right, top, bottom)) / 2 + sum(map(bool, corners)) / 4
