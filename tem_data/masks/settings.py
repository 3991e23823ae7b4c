"""What masks are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.masks.shapes import Shapes

OVERLAPS = ("measured", "allowed", "forbidden")


@dataclass(frozen=True)
class MaskSettings:
    """What masks are asked for; by default, masks like the measured ones.

    `nm_per_px` None is that of the drawn micrograph. `density` multiplies how many defects there are, `class_density`
    those of single classes, `class_size` the axes of a class. `angle` is `measured`, `uniform`, or a direction in
    degrees for all. Defects with a major axis under `min_size` or over `max_size` (unit of the shapes) are left
    out. `empty` is the share of masks without a defect, None as it comes. `overlap` is one of `OVERLAPS`.
    """

    size_px: int = 256
    nm_per_px: float | None = None
    density: float = 1.0
    class_density: Mapping[str, float] = field(default_factory=dict)
    class_size: Mapping[str, float] = field(default_factory=dict)
    angle: str | float = "measured"
    min_size: float | None = None
    max_size: float | None = None
    empty: float | None = None
    overlap: str = "measured"

    def __post_init__(self) -> None:
        for name in ("class_density", "class_size"):  # YAML reads the class 100 as a number
            object.__setattr__(self, name, {str(key): value for key, value in getattr(self, name).items()})

        def expect(right: bool, name: str, expected: str) -> None:
            if not right:
                raise TemDataError(f"masks.{name}: expected {expected}, found {getattr(self, name)!r}")

        def number(value: Any) -> bool:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)

        def above(value: Any, low: float) -> bool:
            return number(value) and value > low

        expect(above(self.size_px, 0) and self.size_px == int(self.size_px), "size_px", "a side of 1 px or more")
        for name in ("nm_per_px", "min_size", "max_size"):
            value = getattr(self, name)
            expect(value is None or above(value, 0), name, "a length above 0, or null")
        expect(number(self.density) and self.density >= 0, "density", "a factor of 0 or more")
        expect(all(number(v) and v >= 0 for v in self.class_density.values()), "class_density", "factors of 0 or more")
        expect(all(above(v, 0) for v in self.class_size.values()), "class_size", "factors above 0")
        expect(self.angle in ("measured", "uniform") or number(self.angle), "angle", "measured, uniform or degrees")
        expect(
            self.empty is None or (number(self.empty) and 0 <= self.empty <= 1), "empty", "a share from 0 to 1, or null"
        )
        expect(self.overlap in OVERLAPS, "overlap", f"one of {', '.join(OVERLAPS)}")

    def check(self, shapes: Shapes) -> None:
        """Raises TemDataError for what these shapes cannot meet."""
        for name, factors in (("class_density", self.class_density), ("class_size", self.class_size)):
            unknown = sorted(set(factors) - set(shapes.classes))
            if unknown:
                raise TemDataError(f"masks.{name}: no class {unknown}; the shapes have {list(shapes.classes)}")
        if self.nm_per_px is not None and shapes.unit != "nm":
            raise TemDataError("masks.nm_per_px: the shapes are in px, as no micrograph was calibrated; leave it null")
