"""Quantities of a class of defects on one micrograph or several together, and their errors; units are in the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from tem_data.materials.hardening import Materials, hardening_mpa

COMPARED = (
    "areal_density_1e-4_per_nm2",
    "volume_density_1e21_per_m3",
    "mean_size_nm",
    "mean_circularity",
    "found_mean_size_nm",
    "found_mean_circularity",
    "hardening_linear_mpa",
    "hardening_quadrature_mpa",
)
QUANTITIES = ("count", "whole", "cut", "std_size_nm", *COMPARED)
UNKNOWN: dict[str, Any] = dict.fromkeys(QUANTITIES)


class Measured(NamedTuple):
    """One defect. `whole`: no edge of its image cuts it; `counted`: its share of the count; `pair`: of the matching."""

    micrograph_id: str
    source: str
    category: str
    x_px: float
    y_px: float
    size_px: float
    size_nm: float | None
    circularity: float
    whole: bool
    counted: float
    pair: int | None
    score: float | None

    def row(self, compared: bool) -> dict[str, Any]:
        return self._asdict() | {"found": self.pair is not None if compared else None}


Pair = tuple[Measured, Measured]


@dataclass
class Field:
    """A micrograph, or its tiles together, and the defects measured on it."""

    micrograph_id: str
    nm_per_px: float | None
    thickness_nm: float | None
    area_px: int
    truths: list[Measured]
    predictions: list[Measured]
    pairs: list[Pair]

    @property
    def area_nm2(self) -> float | None:
        return self.area_px * self.nm_per_px**2 if self.nm_per_px else None

    @property
    def volume_nm3(self) -> float | None:
        area_nm2 = self.area_nm2
        return area_nm2 * self.thickness_nm if area_nm2 is not None and self.thickness_nm else None


def quantities(
    fields: Sequence[Field], group: Sequence[str], materials: Materials, sides: Mapping[str, bool]
) -> dict[str, Any]:
    """The quantities of the classes of a group on all of the fields together, and their percent errors.

    `sides` says whether each of `true` and `predicted` is there; what is not has None, and so have the errors.
    """
    pairs = [p for f in fields for p in f.pairs if p[0].category in group and p[0].whole and p[1].whole]
    found = {
        side: _one_side(fields, field, [p[place] for p in pairs], group, materials) if sides[side] else UNKNOWN
        for place, (side, field) in enumerate((("true", "truths"), ("predicted", "predictions")))
    }
    values = {f"{side}_{name}": value for side, held in found.items() for name, value in held.items()}
    for name in COMPARED:
        values[f"{name}_error_percent"] = percent_error(values[f"true_{name}"], values[f"predicted_{name}"])
    return values


def _one_side(
    fields: Sequence[Field], side: str, found: Sequence[Measured], group: Sequence[str], materials: Materials
) -> dict[str, Any]:
    defects = [d for f in fields for d in getattr(f, side) if d.category in group]
    whole = [d for d in defects if d.whole]
    sizes = [d.size_nm for d in whole if d.size_nm is not None]
    area = sum(f.area_nm2 for f in fields if f.area_nm2)
    volume = sum(f.volume_nm3 for f in fields if f.volume_nm3)
    thick = {f.micrograph_id for f in fields if f.volume_nm3}
    in_volume = [d for d in defects if d.micrograph_id in thick]
    linear, quadrature = _hardening(in_volume, volume, group, materials)
    return {
        "count": sum(d.counted for d in defects),
        "whole": len(whole),
        "cut": len(defects) - len(whole),
        "areal_density_1e-4_per_nm2": (
            sum(d.counted for d in defects if d.size_nm is not None) / area * 1e4 if area else None
        ),
        "volume_density_1e21_per_m3": sum(d.counted for d in in_volume) / volume * 1e6 if volume else None,
        "mean_size_nm": _mean(sizes),
        "std_size_nm": _std(sizes),
        "mean_circularity": _mean([d.circularity for d in whole]),
        "found_mean_size_nm": _mean([d.size_nm for d in found if d.size_nm is not None]),
        "found_mean_circularity": _mean([d.circularity for d in found]),
        "hardening_linear_mpa": linear,
        "hardening_quadrature_mpa": quadrature,
    }


def _hardening(
    defects: Sequence[Measured], volume_nm3: float, group: Sequence[str], materials: Materials
) -> tuple[float | None, float | None]:
    """The linear and the quadrature sum over classes ([P22], equations 2 and 3), of those that have an α.

    Where a class has no whole defect, the cut ones give its size.
    """
    classes = [name for name in group if name in materials.barrier_strength]
    if not volume_nm3 or not classes:
        return None, None
    parts = []
    for name in classes:
        own = [d for d in defects if d.category == name]
        sizes = cast("list[float]", [d.size_nm for d in own if d.whole] or [d.size_nm for d in own])
        stress = hardening_mpa(name, sum(d.counted for d in own) / volume_nm3, sizes, materials)
        parts.append(cast(float, stress))
    return float(np.sum(parts)), float(np.hypot.reduce(parts))


def percent_error(true: float | None, predicted: float | None) -> float | None:
    """100 · (predicted − true) / true, signed; None where either is not known or nothing is there to compare with."""
    return None if true is None or predicted is None or true == 0 else 100 * (predicted - true) / true


def errors_over_micrographs(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Over micrographs, how far predicted quantities are from true ones: in percent, and in the quantity's unit."""

    def difference(row: Mapping[str, Any], name: str) -> float | None:
        true, predicted = row[f"true_{name}"], row[f"predicted_{name}"]
        return None if true is None or predicted is None else predicted - true

    return {
        name: {
            "percent_error": error_statistics(row[f"{name}_error_percent"] for row in rows),
            "error": error_statistics(difference(row, name) for row in rows),
        }
        for name in COMPARED
    }


def error_statistics(errors: Iterable[float | None]) -> dict[str, Any]:
    """Mean and standard deviation (n − 1) of the known errors and of their magnitudes, as [P22] gives them, and n."""
    known = [e for e in errors if e is not None]
    magnitudes = [abs(e) for e in known]
    return {
        "mean_absolute": _mean(magnitudes),
        "std_absolute": _std(magnitudes),
        "mean": _mean(known),
        "std": _std(known),
        "n": len(known),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
