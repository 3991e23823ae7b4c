"""Calibration tables, and the numbers of any table."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table
from tem_data.images.units import NO_SIZE, is_plausible

SIZES = ("nm_per_px", "thickness_nm")
THICKNESS_NM = 1.0, 1e5  # of which electrons show anything
ONE_COLUMN = {"file": "file_name", "filename": "file_name", "image": "file_name", "thickness": "thickness_nm"}
GROUPED = re.compile(r"[1-9]\d{0,2}([.,])\d{3}")  # 1,234 is a thousand to some, and one and a bit to others


class Calibration(NamedTuple):
    nm_per_px: float | None = None
    thickness_nm: float | None = None
    specimen: str = ""


def read_calibrations(path: str | os.PathLike | None) -> dict[str, Calibration]:
    """The calibration of each file that a table names; there is none without a table.

    Columns may be written `nm/px`, too. Raises TemDataError as `read_table` does, for a size that is no positive
    number, or none that a micrograph can have, and where it is not clear which row is a file's.
    """
    if path is None:
        return {}
    found: dict[str, Calibration] = {}
    rows: dict[str, int] = {}
    table = read_table(path, ("file_name", "nm_per_px"), _column)
    points = _decimal_points(values.get(column, "") for values in table for column in SIZES)
    for row, values in enumerate(table, 2):
        if not any(map(str.strip, values.values())):
            continue
        name = plain_name(values["file_name"])
        if not name:
            raise TemDataError(f"{path}: row {row}, file_name: expected the name of an image, found nothing")
        if name in rows:
            raise TemDataError(f"{path}: row {row}: {name!r} stands in row {rows[name]} too; keep one of them")
        rows[name] = row
        try:
            nm_per_px, thickness_nm = (_size(column, values.get(column, "").strip(), points) for column in SIZES)
        except ValueError as error:
            raise TemDataError(f"{path}: row {row}, {error}") from error
        found[name] = Calibration(nm_per_px, thickness_nm, values.get("specimen", "").strip())
    for name, row in rows.items():
        bare = PurePosixPath(name).name
        if bare != name and bare in rows:
            raise TemDataError(
                f"{path}: row {row}: {name!r} is {bare!r} of row {rows[bare]} with a folder; files are found with or "
                "without their folder, so name all files with it or none"
            )
    return found


def _column(cell: str) -> str:
    """`nm/px`, `NM per pixel` and `thickness (nm)` as `nm_per_px` and `thickness_nm`."""
    text = re.sub(r"pixels?", "px", cell.strip().lower().replace("/", " per "))
    name = re.sub(r"[^0-9a-z]+", "_", text).strip("_")
    return ONE_COLUMN.get(name, name)


def _decimal_points(texts: Iterable[str]) -> set[str]:
    """The marks between the whole and the rest of numbers, without those that may part thousands."""
    marks = (re.fullmatch(r"\d*([.,])\d+", text.strip()) for text in texts)
    return {mark[1] for mark in marks if mark and not GROUPED.fullmatch(mark[0])}


def _size(column: str, text: str, points: Collection[str]) -> float | None:
    """The number of a cell, None of an empty one. Raises ValueError."""
    if not text:
        return None
    grouped = GROUPED.fullmatch(text)
    if grouped and points and grouped[1] not in points:
        raise ValueError(f"{column}: {text!r} may be a thousand or a fraction; write it without the {grouped[1]!r}")
    value = number(text)
    if not 0 < value < math.inf:
        raise ValueError(f"{column}: expected a positive number or nothing, not {text!r}")
    if column == "nm_per_px" and not is_plausible(value):
        raise ValueError(f"{column}: {text} nm per px is {NO_SIZE}; give it in nm")
    if column == "thickness_nm" and not THICKNESS_NM[0] <= value <= THICKNESS_NM[1]:
        raise ValueError(f"{column}: no foil that is seen through is {text} nm thick; give it in nm")
    return value


def calibration_of(
    calibrations: Mapping[str, Calibration], *file_names: str, images: Collection[str] = ()
) -> Calibration:
    """That of a file by one of its names; an empty one where there is none.

    It is found with or without its folder, then by its name in other letters, then by that without suffix, where this
    is the only such row, and no row of another of the `images`.
    """
    name = row_of(calibrations, *file_names, images=images)
    return Calibration() if name is None else calibrations[name]


def row_of(calibrations: Mapping[str, Calibration], *file_names: str, images: Collection[str] = ()) -> str | None:
    """The name under which `calibration_of` finds a file."""
    names = [plain_name(name) for name in file_names]
    for given in (given for name in names for given in (name, PurePosixPath(name).name)):
        if given in calibrations:
            return given
    others = [known for known in calibrations if PurePosixPath(known).name not in images]
    for plain, rows in ((_bare, calibrations), (_stem, others)):
        alike = [known for known in rows if plain(known) in {plain(name) for name in names}]
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def _bare(name: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(name).name).casefold()


def _stem(name: str) -> str:
    return re.sub(r"(\.ome)?\.[a-z]\w{1,4}$", "", _bare(name))


def plain_name(text: str) -> str:
    """A file's name as this system writes it, also from a path of Windows."""
    text = text.strip().replace("\\", "/")
    return str(PurePosixPath(text)) if text else ""


def number(text: Any) -> float:
    """A number, also with a decimal comma; NaN if it is none."""
    try:
        if isinstance(text, str) and re.fullmatch(r"\s*[+-]?\d*,\d+(e[+-]?\d+)?\s*", text, re.IGNORECASE):
            text = text.replace(",", ".")
        return float(text)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
