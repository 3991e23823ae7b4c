"""What shapes are fitted and masks are drawn like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from tem_data.core.errors import SettingError
from tem_data.core.settings import ClassName, section, setting
from tem_data.masks.shapes import Shapes

SIDE_PX = 128


@section("shapes")
class ShapeSettings:
    """How shapes are fitted."""

    min_ellipse_iou: float = setting(
        0.8, "A class whose outlines fit their ellipses less keeps its real outlines to draw from.", ge=0, le=1
    )


@section("masks")
class MaskSettings:
    """What masks are drawn; by default, masks like the measured ones. Lengths in nm, in px of uncalibrated shapes."""

    size_px: int | None = setting(None, f"Side of a mask, px; null: that of the patches, or {SIDE_PX}.", gt=0)
    per_patch: float = setting(1.0, "Masks for each experimental patch.", ge=0)
    count: int | None = setting(None, "How many masks; null: `per_patch` for each patch.", ge=1)
    nm_per_px: float | None = setting(None, "Pixel size; null: that of the measured micrographs.", gt=0)
    density: float = setting(1.0, "Times as many defects as measured.", ge=0)
    class_density: Mapping[ClassName, Annotated[float, Field(ge=0)]] = setting(
        {}, "Times as many of single classes, which changes their shares."
    )
    class_size: Mapping[ClassName, Annotated[float, Field(gt=0)]] = setting({}, "Times as large, of single classes.")
    angle: Literal["measured", "uniform"] | float = setting(
        "measured", "measured, uniform, or one direction in degrees, counter-clockwise from +x."
    )
    min_size: float | None = setting(None, "Defects with a shorter major axis are left out.", gt=0)
    max_size: float | None = setting(None, "Defects with a longer major axis are left out.", gt=0)
    empty: float | None = setting(None, "Share of masks without a defect; null: as it comes.", ge=0, le=1)
    overlap: Literal["measured", "allowed", "forbidden"] = setting(
        "measured", "measured: as rare as on the micrographs. allowed: at random. forbidden: none, as the paper."
    )

    def check(self, shapes: Shapes) -> None:
        """Raises SettingError for what these shapes cannot meet."""
        for name, factors in (("class_density", self.class_density), ("class_size", self.class_size)):
            unknown = sorted(set(factors) - set(shapes.classes))
            if unknown:
                raise SettingError("masks", name, f"no class {unknown}; the shapes have {list(shapes.classes)}")
        if self.nm_per_px is not None and shapes.unit != "nm":
            raise SettingError(
                "masks", "nm_per_px", "the shapes are in px, as no micrograph was calibrated; leave it out"
            )
