"""Tables of labels and calibrations."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from typing import Any

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table


def required_table(path: str | os.PathLike, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows, maybe none, of a CSV file that must have `columns`; raises TemDataError if it has not."""
    rows = read_table(path)
    if rows:
        header = list(rows[0])
    else:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    missing = [name for name in columns if name not in header]
    if missing:
        raise TemDataError(f"{path}: expected the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    return rows


def number(text: Any) -> float:
    """A number, NaN if it is none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")
