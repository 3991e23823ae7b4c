"""Calibration tables, and the numbers of any table."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table


class Calibration(NamedTuple):
    nm_per_px: float | None = None
    thickness_nm: float | None = None
    specimen: str = ""


def read_calibrations(path: str | os.PathLike | None) -> dict[str, Calibration]:
    """The calibration of each file that a table names; there is none without a table.

    Raises TemDataError as `read_table` does, for a size that is no positive
    number, and where it is not clear which row is a file's.
    """
    if path is None:
        return {}
    found: dict[str, Calibration] = {}
    rows: dict[str, int] = {}
    for row, values in enumerate(read_table(path, ("file_name", "nm_per_px")), 2):
        if not any(map(str.strip, values.values())):
            continue
        name = plain_name(values["file_name"])
        if not name:
            raise TemDataError(f"{path}: row {row}, file_name: expected the name of an image, found nothing")
        if name in rows:
            raise TemDataError(f"{path}: row {row}: {name!r} stands in row {rows[name]} too; keep one of them")
        rows[name] = row
        sizes = []
        for column in ("nm_per_px", "thickness_nm"):
            text = values.get(column, "").strip()
            if text and not 0 < number(text) < math.inf:
                raise TemDataError(f"{path}: row {row}, {column}: expected a positive number or nothing, not {text!r}")
            sizes.append(number(text) if text else None)
        nm_per_px, thickness_nm = sizes
        found[name] = Calibration(nm_per_px, thickness_nm, values.get("specimen", "").strip())
    for name, row in rows.items():
        bare = PurePosixPath(name).name
        if bare != name and bare in rows:
            raise TemDataError(
                f"{path}: row {row}: {name!r} is {bare!r} of row {rows[bare]} with a folder; files are found with or "
                "without their folder, so name all files with it or none"
            )
    return found


def calibration_of(calibrations: Mapping[str, Calibration], *file_names: str) -> Calibration:
    """That of a file by one of its names, with or without its folder; an empty one where there is none."""
    for name in map(plain_name, file_names):
        for given in (name, PurePosixPath(name).name):
            if given in calibrations:
                return calibrations[given]
    return Calibration()


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
