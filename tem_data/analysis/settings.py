"""How micrographs are searched and what is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tem_data.core.errors import TemDataError
from tem_data.images.units import NO_SIZE, is_plausible

KINDS = ("rois", "labelme", "coco", "geojson", "overlays")
DEFAULT_KINDS = ("coco", "rois", "overlays")


@dataclass(frozen=True)
class AnalysisSettings:
    """`threshold`: the least confidence of a defect, None for the detector's own. `frame`: of stacks, from 1, None for
    each of them. `data_bar`: rows at the bottom that are not searched, or to be found.

    `calibration` is a table as `import` reads it, `nm_per_px` and `thickness_nm` go before it for every micrograph.
    `save` are some of `KINDS`; tables and report are always written. `recursive`: folders within folders, too.
    Raises TemDataError for a value that cannot be.
    """

    threshold: float | None = None
    frame: int | None = None
    data_bar: int | Literal["auto"] = "auto"
    calibration: Path | None = None
    nm_per_px: float | None = None
    thickness_nm: float | None = None
    save: Sequence[str] = DEFAULT_KINDS
    recursive: bool = False

    def __post_init__(self) -> None:
        if unknown := [kind for kind in self.save if kind not in KINDS]:
            raise TemDataError(f"--save {unknown[0]}: expected some of {', '.join(KINDS)}, with commas between")
        if self.nm_per_px is not None and not is_plausible(self.nm_per_px):
            raise TemDataError(f"--nm-per-px {self.nm_per_px:g}: {NO_SIZE}; give it in nm")
        if self.thickness_nm is not None and not 0 < self.thickness_nm < math.inf:
            raise TemDataError(f"--thickness-nm {self.thickness_nm:g}: expected a number above 0")
