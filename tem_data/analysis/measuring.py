"""Numbers of the defects that were found: of each, of a micrograph, of all micrographs together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tem_data.analysis.searching import Found
from tem_data.core.micrograph import Defect, Micrograph, touches_edge
from tem_data.masks.shapes import ellipse_of
from tem_data.materials.counting import counting_error, standard_error
from tem_data.materials.hardening import Materials
from tem_data.materials.measuring import ALL, measured
from tem_data.materials.quantities import Field, Measured, quantities
from tem_data.trust.columns import trust_columns, trust_row

AREAL, VOLUME = "areal_density_1e-4_per_nm2", "volume_density_1e21_per_m3"
DEFECT_COLUMNS = (
    *("image", "id", "class", "confidence", "x_px", "y_px", "x_nm", "y_nm", "size_px", "size_nm"),
    *("major_px", "minor_px", "major_nm", "minor_nm", "angle_deg", "area_px2", "area_nm2", "circularity"),
    *("cut_by_edge", "reviewed"),
)
CLASS_COLUMNS = (
    *("count", "count_low", "count_high", "cut", AREAL, f"error_of_{AREAL}", VOLUME, f"error_of_{VOLUME}"),
    *("mean_size_nm", "error_of_mean_size_nm", "mean_size_px", "error_of_mean_size_px", "mean_circularity"),
    *("hardening_linear_mpa", "hardening_quadrature_mpa"),
)
OF_MICROGRAPH = ("width_px", "height_px", "nm_per_px", "thickness_nm", "area_nm2", "scale_factor")
DENSITIES = (AREAL, VOLUME)
MICROGRAPH_COLUMNS = (
    *("image", "class", *CLASS_COLUMNS, *trust_columns(DENSITIES), *OF_MICROGRAPH, "doubt", "note", "seconds"),
)


def field_of(found: Found, materials: Materials) -> Field:
    """The defects of a micrograph as the materials quantities are made of them."""
    shape, known = found.searched, found.shot.calibration
    image = Micrograph(found.shot.file_name, None, (), shape, known.nm_per_px, known.thickness_nm)
    defects = [measured(image, "prediction", defect, None, materials, False) for defect in found.defects]
    return Field(image.micrograph_id, image.nm_per_px, image.thickness_nm, shape[0] * shape[1], [], defects, [])


def defect_rows(found: Found, field: Field) -> list[dict[str, Any]]:
    """A row of `DEFECT_COLUMNS` for each defect; lengths in nm are None where the scale is not known."""
    pairs = zip(found.defects, field.predictions, strict=True)
    return [_defect_row(number, defect, sizes, found) for number, (defect, sizes) in enumerate(pairs, 1)]


def _defect_row(number: int, defect: Defect, sizes: Measured, found: Found) -> dict[str, Any]:
    ellipse, scale = ellipse_of(defect), found.shot.calibration.nm_per_px

    def in_nm(length: float) -> float | None:
        return None if scale is None else length * scale

    return {
        "image": found.shot.file_name,
        "id": number,
        "class": defect.category,
        "confidence": defect.score,
        "x_px": ellipse.x,
        "y_px": ellipse.y,
        "x_nm": in_nm(ellipse.x),
        "y_nm": in_nm(ellipse.y),
        "size_px": sizes.size_px,
        "size_nm": sizes.size_nm,
        "major_px": ellipse.major,
        "minor_px": ellipse.minor,
        "major_nm": in_nm(ellipse.major),
        "minor_nm": in_nm(ellipse.minor),
        "angle_deg": ellipse.angle_deg,
        "area_px2": defect.area,
        "area_nm2": None if scale is None else defect.area * scale**2,
        "circularity": sizes.circularity,
        "cut_by_edge": touches_edge(defect, found.searched),
        "reviewed": False,
    }


def micrograph_rows(found: Found, field: Field, classes: Sequence[str], materials: Materials) -> list[dict[str, Any]]:
    """A row of `MICROGRAPH_COLUMNS` for each class, and one for `all` of them."""
    height, width = found.pixels.shape
    of_micrograph = {
        "width_px": width,
        "height_px": height,
        "nm_per_px": field.nm_per_px,
        "thickness_nm": field.thickness_nm,
        "area_nm2": field.area_nm2,
        "scale_factor": found.factor,
        "doubt": doubt_of(found),
        "note": found.note,
        "seconds": found.seconds,
    }
    by_class = numbers_by_class([field], classes, materials)
    image = found.shot.file_name
    return [
        {"image": image, "class": name, **row, **trust_row(found.trust, name, row, DENSITIES), **of_micrograph}
        for name, row in by_class.items()
    ]


def doubt_of(found: Found) -> float | None:
    """What the expected F1_HM lacks of 1; where none is known, what the confidences lack of it on average.

    None where nothing was found.
    """
    if found.trust.f1_hm is not None:
        return 1 - found.trust.f1_hm.value
    return float(np.mean([1 - defect.score for defect in found.defects])) if found.defects else None


def numbers_by_class(
    fields: Sequence[Field], classes: Sequence[str], materials: Materials
) -> dict[str, dict[str, Any]]:
    """`CLASS_COLUMNS` of each class, and of `all`, on micrographs together.

    Errors are one standard error: √N of counts and densities, s/√n of mean sizes, which are those of whole defects.
    `count_low` and `count_high` are Garwood's limits of 95 % of a count.
    """
    groups = {name: (name,) for name in classes} | {ALL: tuple(classes)}
    return {name: _numbers(fields, group, materials) for name, group in groups.items()}


def _numbers(fields: Sequence[Field], group: Sequence[str], materials: Materials) -> dict[str, Any]:
    values = quantities(fields, group, materials, {"true": False, "predicted": True})
    own = {name.removeprefix("predicted_"): value for name, value in values.items() if name.startswith("predicted_")}
    defects = [defect for field in fields for defect in field.predictions if defect.category in group]
    whole = [defect for defect in defects if defect.whole]
    sizes_px = [defect.size_px for defect in whole]
    error = counting_error(len(defects))
    return {
        "count": len(defects),
        "count_low": error.low,
        "count_high": error.high,
        "cut": own["cut"],
        AREAL: own[AREAL],
        f"error_of_{AREAL}": _density_error(own[AREAL], [f for f in fields if f.area_nm2], group),
        VOLUME: own[VOLUME],
        f"error_of_{VOLUME}": _density_error(own[VOLUME], [f for f in fields if f.volume_nm3], group),
        "mean_size_nm": own["mean_size_nm"],
        "error_of_mean_size_nm": standard_error([d.size_nm for d in whole if d.size_nm is not None]),
        "mean_size_px": float(np.mean(sizes_px)) if sizes_px else None,
        "error_of_mean_size_px": standard_error(sizes_px),
        "mean_circularity": own["mean_circularity"],
        "hardening_linear_mpa": own["hardening_linear_mpa"],
        "hardening_quadrature_mpa": own["hardening_quadrature_mpa"],
    }


def _density_error(density: float | None, counted: Sequence[Field], group: Sequence[str]) -> float | None:
    """√N in the unit of a density: density / √N, where N were counted on micrographs whose extent is known."""
    count = sum(defect.category in group for field in counted for defect in field.predictions)
    return density / float(np.sqrt(count)) if density and count else None
