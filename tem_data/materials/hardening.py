"""What a material's defects do: their number in a field, and the hardening that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tem_data.core.micrograph import Defect
from tem_data.core.settings import ClassName, section, setting

DEFAULT_SIZE = "loop"
Positive = Annotated[float, Field(gt=0)]


@section("materials")
class Materials:
    """How sizes and hardening are measured; the defaults are the 2022 paper's (table 9), for irradiated FeCrAl."""

    size: Mapping[ClassName, Literal["loop", "dot"]] = setting(
        {"bdot": "dot"},
        "The rule of size of each class: loop (2 · max distance from centroid to outline; also of classes that are not "
        "named) or dot (2 · √(min · max)).",
    )
    barrier_strength: Mapping[ClassName, Positive] = setting(
        {"100": 0.32, "111": 0.11, "bdot": 0.10}, "α of dispersed barrier hardening of each class."
    )
    taylor_factor: float = setting(3.06, "M of Δσ = M·α·μ·b·√(ρ·d).", gt=0)
    shear_modulus_gpa: float = setting(82.0, "μ, GPa.", gt=0)
    burgers_nm: float = setting(0.249, "b, nm.", gt=0)
    bins: Literal["quadrature", "linear"] = setting(
        "quadrature",
        "How the sizes within a class add up: Σ ρᵢ·dᵢ under the root, or linear over bins of bin_width_nm.",
    )
    bin_width_nm: float = setting(5.0, "Width of a bin, nm.", gt=0)


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
