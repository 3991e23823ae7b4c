"""One image and its labels as a micrograph; what is wrong with either goes to the quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tem_data.core.micrograph import Defect, Micrograph, crop, halved
from tem_data.images.databar import data_bar
from tem_data.images.grey import turned
from tem_data.images.reading import Picture, SeveralPlanes, orientation, read_image
from tem_data.importing.checking import alignment, centres_outside, checked_defects
from tem_data.importing.doubts import LEAST_FIT
from tem_data.importing.labels import LabelTable
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings
from tem_data.importing.tables import Calibration
from tem_data.importing.units import alignment_of, in_px, rounding

MANY_OUTSIDE = 0.1
ENOUGH_LABELS = 15
ENOUGH_TO_TURN = 3
INVERSE = {6: 8, 8: 6}  # of the orientations; the others are their own


class _Unfit(Exception):
    """Why an image and its labels are set aside: a reason of the quarantine, and in words."""


def labelled_image(
    path: Path, table: LabelTable, settings: ImportSettings, known: Calibration, quarantine: Quarantine
) -> Micrograph | None:
    """The image at `path` with the labels of `table`; None, and a row of the quarantine, where they cannot be used.

    `known` is what the calibration table says; the image's metadata fill in the pixel size.
    """
    try:
        picture = _read(path, settings)
        bar = _bar_rows(picture.pixels, settings.data_bar)
        image = _labelled_part(path, picture.pixels, table, bar)
        if known.nm_per_px is None:
            known = known._replace(nm_per_px=picture.nm_per_px)
        table = _in_px(table, image, known.nm_per_px, settings, quarantine)
        defects = _defects(path, table, image, settings, quarantine)
    except _Unfit as why:
        reason, detail = why.args
        count = f"{len(table.labels) + table.lost} labels"
        quarantine.add(table.file_name, "", reason, "set aside", f"{detail}; {count}")
        return None
    if known.nm_per_px is None:
        remedy = "give nm_per_px in the table `import.calibration`"
        detail = f"{picture.doubt}; {remedy}" if picture.doubt else remedy
        quarantine.add(table.file_name, "", "no calibration", "kept", detail)
    micrograph = Micrograph(table.file_name, image, tuple(defects), image.shape, **known._asdict())
    micrograph = _without_bar(micrograph, picture.pixels.shape[0] - bar, bar, quarantine)
    return _fitted(micrograph, settings.max_side, quarantine)


def _read(path: Path, settings: ImportSettings) -> Picture:
    try:
        return read_image(path, settings.frame)
    except SeveralPlanes as error:
        raise _Unfit("several planes", str(error)) from error
    except (OSError, ValueError) as error:
        raise _Unfit("unreadable image", str(error)) from error


def _labelled_part(path: Path, pixels: np.ndarray, table: LabelTable, bar: int) -> np.ndarray:
    """The image without its data bar, where it was labelled so."""
    height, width = pixels.shape
    image = pixels[: height - bar] if table.shape == (height - bar, width) else pixels
    if table.shape not in (None, image.shape):
        raise _Unfit("size mismatch", _other_size(path, image.shape, table.shape))
    return image


def _defects(
    path: Path, table: LabelTable, image: np.ndarray, settings: ImportSettings, quarantine: Quarantine
) -> list[Defect]:
    outside = centres_outside(table, (image.shape[0], image.shape[1]))
    if outside >= max(3, MANY_OUTSIDE * len(table.labels)):
        raise _Unfit("labels of another image", f"{outside} of {len(table.labels)} centres lie outside the image")
    defects = checked_defects(table, (image.shape[0], image.shape[1]), settings.names, quarantine)
    if (table.labels or table.lost) and not defects:
        raise _Unfit("no labels", "none could be used")
    least = settings.min_alignment
    if least is not None and len(defects) >= ENOUGH_LABELS and (fit := alignment(image, defects)) < least:
        raise _Unfit("labels of another image", f"alignment {fit:.1f} is under `min_alignment` {least}")
    if why := _meant_as_stored(path, image, defects):
        raise _Unfit("labels of another image", why)
    return defects


def _bar_rows(image: np.ndarray, rows: int | Literal["auto"]) -> int:
    return data_bar(image) if rows == "auto" else min(rows, image.shape[0] - 1)


def _other_size(path: Path, shape: tuple[int, ...], labelled: tuple[int, int] | None) -> str:
    """That image and labels have different sizes, and what to do about it where that can be told."""
    detail = f"image {shape}, labels {labelled} (height, width)"
    if labelled == shape[::-1] and orientation(path) > 4:
        return f"{detail}: the file says to turn it; label it as it is displayed, or save it without EXIF orientation"
    if labelled and labelled[1] == shape[1] and 0.75 * shape[0] <= labelled[0] < shape[0]:
        rows = shape[0] - labelled[0]
        return f"{detail}: if a data bar was cut off before they were made, set `data_bar` to {rows}"
    return detail


def _meant_as_stored(path: Path, image: np.ndarray, defects: Sequence[Defect]) -> str:
    """Why labels are taken for those of the picture as it is stored, before it is turned as the file says; else ""."""
    how = orientation(path)
    if how == 1 or len(defects) < ENOUGH_TO_TURN:
        return ""
    stored = turned(image, INVERSE.get(how, how))
    if stored.shape != image.shape:
        return ""
    displayed_fit, stored_fit = alignment(image, defects), alignment(stored, defects)
    if displayed_fit >= LEAST_FIT or stored_fit < 2 * LEAST_FIT:
        return ""
    return (
        f"they fit the picture as it is stored (alignment {stored_fit:.1f}), not as its orientation {how} shows it "
        f"({displayed_fit:.1f}); save it without EXIF orientation"
    )


def _in_px(
    table: LabelTable, image: np.ndarray, nm_per_px: float | None, settings: ImportSettings, quarantine: Quarantine
) -> LabelTable:
    unit, least = settings.table_unit, settings.min_alignment or 0
    try:
        converted, found = in_px(table, image, nm_per_px, unit, least)
    except ValueError as error:
        raise _Unfit("unclear unit", str(error)) from error
    if found != "px":
        how = "as they fit the image best" if unit == "auto" else "as given"
        detail = f"{len(table.labels)} ellipses in {found}, {how}, at {nm_per_px:g} nm per px"
        quarantine.add(table.file_name, "", "calibrated table", "converted", detail + rounding(table, nm_per_px, found))
    elif table.measured and nm_per_px is None and unit == "auto":
        _doubt_px(table, image, least, quarantine)
    return converted


def _doubt_px(table: LabelTable, image: np.ndarray, least: float, quarantine: Quarantine) -> None:
    """Says where a table fits its image little, of which no scale is known, so that it is taken to be in px."""
    fit = alignment_of(table, image)
    if len(table.labels) >= ENOUGH_TO_TURN and fit < least:
        detail = f"taken to be in px, which fits the image little (alignment {fit:.1f}); if it is in nm, give "
        quarantine.add(table.file_name, "", "unclear unit", "kept", detail + "nm_per_px in `calibration`")


def _without_bar(micrograph: Micrograph, height: int, cut: int, quarantine: Quarantine) -> Micrograph:
    """The upper `height` rows, below which the image file has `cut` more."""
    if not cut:
        return micrograph
    cropped = crop(micrograph, 0, 0, (height, micrograph.shape[1]))
    lost = len(micrograph.defects) - len(cropped.defects)
    detail = f"the {cut} rows at the bottom" + (f", and {lost} labels on them" if lost else "")
    quarantine.add(micrograph.micrograph_id, "", "data bar", "cut", detail)
    return cropped


def _fitted(micrograph: Micrograph, max_side: int | None, quarantine: Quarantine) -> Micrograph:
    small = micrograph
    while max_side and max(small.shape) > max_side:
        small = halved(small)
    lost = len(micrograph.defects) - len(small.defects)
    if lost:
        quarantine.add(
            micrograph.micrograph_id, f"{lost} labels", "bad shape", "set aside", f"no px left at {small.shape} px"
        )
    return small
