"""In which unit the ellipses of a Results table are: it does not say."""

from __future__ import annotations

from typing import cast

import numpy as np

from tem_data.core.micrograph import Defect
from tem_data.importing.checking import alignment, centres_outside
from tem_data.importing.labels import Ellipse, LabelTable

UNITS_NM = {"nm": 1.0, "um": 1e3, "angstrom": 0.1}
CLEARLY = 1.15  # times as well as any other unit
ALIKE_PX = 0.5  # at the far edge of the image, less than which a unit is the same as px
ROUNDED_PX = 1.0
LEAST_EXTENT = 0.05  # of the image's longer side, which the labels of three defects or more take at least


def in_px(
    table: LabelTable, image: np.ndarray, nm_per_px: float | None, unit: str, least: float
) -> tuple[LabelTable, str]:
    """The table in px of its image `(height, width) uint8`, and the unit that it was in.

    `unit` is that, or auto: of px, nm, µm and Å the one in which the shapes fit the image best, at least
    `least` (see `alignment`) and clearly better than in any other. Raises ValueError where
    none does, or where the pixel size is needed and not known; with auto an image without one is measured in px.
    """
    if not table.measured or not table.labels or unit == "px" or (unit == "auto" and nm_per_px is None):
        return table, "px"
    if nm_per_px is None:
        raise ValueError(f"its ellipses are in {unit}, and the pixel size of its image is not known")
    near = ALIKE_PX / max(image.shape)
    scales = {name: nm / nm_per_px for name, nm in UNITS_NM.items()}
    scales = {name: scale for name, scale in scales.items() if unit != "auto" or abs(scale - 1) > near} | {"px": 1.0}
    if unit != "auto":
        return scaled(table, scales[unit]), unit
    tables = {name: scaled(table, scale) for name, scale in scales.items()}
    possible = {name: held for name, held in tables.items() if _possible(held, image.shape)}
    if not possible:
        return table, "px"  # what is wrong with it is said label by label
    if len(possible) == 1:
        ((name, held),) = possible.items()
        return held, name
    fits = {name: alignment_of(held, image) for name, held in possible.items()}
    best, second = sorted(fits, key=lambda name: -fits[name])[:2]
    if fits[best] >= least and fits[best] >= CLEARLY * fits[second]:
        return possible[best], best
    found = ", ".join(f"{name} {fit:.1f}" for name, fit in fits.items())
    raise ValueError(
        f"its lengths may be in px or in the unit of the image, at {nm_per_px:g} nm per px (alignment {found}); say "
        "which by `table_unit`, or remove the scale in Fiji and measure again"
    )


def scaled(table: LabelTable, scale: float) -> LabelTable:
    """The table with its ellipses `scale` times as large and as far from the upper left corner."""

    def larger(outline: Ellipse) -> Ellipse:
        x, y, major, minor = (scale * length for length in outline[:4])
        return Ellipse(x, y, major, minor, outline.angle_deg)

    labels = (label._replace(outline=larger(cast(Ellipse, label.outline))) for label in table.labels)
    return table._replace(labels=tuple(labels))


def alignment_of(table: LabelTable, image: np.ndarray) -> float:
    """How well a table of ellipses in px fits its image, as `alignment` has it."""
    return alignment(image, _drawn(table, image.shape))


def rounding(table: LabelTable, nm_per_px: float | None, unit: str) -> str:
    """What to say of a table whose lengths in `unit` are rounded to more than a pixel; "" otherwise."""
    lengths = [length for label in table.labels for length in cast(Ellipse, label.outline)[:4] if np.isfinite(length)]
    decimals = max((len(f"{length:.9f}".rstrip("0").partition(".")[2]) for length in lengths), default=0)
    step = 10.0**-decimals * UNITS_NM[unit] / (nm_per_px or 1)
    if step <= ROUNDED_PX:
        return ""
    return f"; they are rounded to {step:.2g} px: set more decimal places in Set Measurements, and measure again"


def _possible(table: LabelTable, shape: tuple[int, ...]) -> bool:
    """Whether most labels lie in the image, not all of them in one corner, and are larger than a pixel."""
    ellipses = np.array([label.outline for label in table.labels], float)
    ellipses = ellipses[np.isfinite(ellipses).all(1)]
    if not len(ellipses):
        return False
    outside = centres_outside(table, (shape[0], shape[1]))
    spread = len(ellipses) < 3 or np.ptp(ellipses[:, :2], axis=0).max() >= LEAST_EXTENT * max(shape)
    return bool(outside <= 0.1 * len(ellipses) and spread and np.median(ellipses[:, 2]) >= 1)


def _drawn(table: LabelTable, shape: tuple[int, ...]) -> list[Defect]:
    drawn = (cast(Ellipse, label.outline).drawn("", (shape[0], shape[1]), False) for label in table.labels)
    return [defect for defect in drawn if defect is not None]
