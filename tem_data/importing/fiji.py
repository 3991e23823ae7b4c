"""Ellipses measured in Fiji ("Fit ellipse"), in px.

A Fiji table does not say its unit: positions and axes are expected in px, so
remove the scale (Analyze > Set Scale > Click to Remove Scale) before measuring.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.files import read_table
from tem_data.importing.images import files_by_stem
from tem_data.importing.labels import Ellipse, Label, LabelTable
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.tables import number

COLUMNS = {
    "file_name": "file_name",
    "class": "class",
    "x": "x_px",
    "y": "y_px",
    "major": "major_px",
    "minor": "minor_px",
    "angle": "angle_deg",
}
FIJI_COLUMNS = {"x": "X", "y": "Y", "major": "Major", "minor": "Minor", "angle": "Angle"}


def read_ellipses(path: str | os.PathLike, columns: Mapping[str, str] | None = None) -> list[LabelTable]:
    """One CSV file for all images, one ellipse a row; `columns` renames those of `COLUMNS`.

    Raises TemDataError as `read_table` does.
    """
    columns = COLUMNS | dict(columns or {})
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise SettingError("import", "columns", f"{sorted(unknown)} is not one of {sorted(COLUMNS)}")
    tables: dict[str, list[Label]] = {}
    # the header is row 1, as a spreadsheet numbers them
    for row, values in enumerate(read_table(path, list(columns.values())), 2):
        label = Label(f"row {row}", values[columns["class"]].strip(), _ellipse(values, columns))
        tables.setdefault(values[columns["file_name"]], []).append(label)
    return [LabelTable(file_name, tuple(labels)) for file_name, labels in tables.items()]


def read_fiji(
    folder: str | os.PathLike, images: str | os.PathLike, class_numbers: Mapping[int, str], quarantine: Quarantine
) -> list[LabelTable]:
    """Pairs of `STEM_results.csv` and `STEM_log.txt`, one an image `STEM.*` of the folder `images`.

    `class_numbers` gives the class of each number in the logs. A row that the
    log gives no class has the name "". A table without rows is an image without
    defects, and needs no log. What cannot be understood goes to the quarantine.
    Raises TemDataError if there is no table at all.
    """
    found = files_by_stem(images)
    results = sorted(Path(folder).glob("*_results.csv"))
    if not results:
        raise TemDataError(f"{folder}: expected Fiji tables NAME_results.csv with logs NAME_log.txt; there are none")
    tables = []
    for path in results:
        stem = path.name.removesuffix("_results.csv")
        file_name = found[stem][0].name if stem in found else stem
        try:
            rows = read_table(path, list(FIJI_COLUMNS.values()))
            numbers = _log(path.with_name(f"{stem}_log.txt"), rows)
        except (OSError, ValueError, TemDataError) as error:
            quarantine.add(file_name, path.name, "unreadable table", "set aside", str(error))
            continue
        tables.append(LabelTable(file_name, tuple(_fiji_labels(file_name, rows, numbers, class_numbers, quarantine))))
    return tables


def _log(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[int, list[int]]:
    text = path.read_text(encoding="utf-8-sig") if rows or path.exists() else ""
    numbers = parse_log(text) if rows or text.strip() else {}
    if any(numbers.values()) and not rows:
        raise ValueError(f"{path.name} lists rows, and the table has none")
    return numbers


def parse_log(text: str) -> dict[int, list[int]]:
    """Row numbers by class number: two numbers are the first and the last row of a range, more are a list.

    Blank lines separate the classes. Raises ValueError where a block is not a
    class number and at most one line of row numbers.
    """
    rows: dict[int, list[int]] = {}
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.split("\n")
        if not re.fullmatch(r"\s*\d+\s*", lines[0]) or len(lines) > 2 or re.search(r"[^\d\s,;]", block):
            raise ValueError(f"expected a class number and a line of row numbers between blank lines, not {block!r}")
        given = [int(n) for n in re.findall(r"\d+", lines[1])] if len(lines) == 2 else []
        rows.setdefault(int(lines[0]), []).extend(range(given[0], given[1] + 1) if len(given) == 2 else given)
    return rows


def _fiji_labels(
    file_name: str,
    rows: list[dict[str, str]],
    numbers: Mapping[int, list[int]],
    class_numbers: Mapping[int, str],
    quarantine: Quarantine,
) -> list[Label]:
    names: dict[int, set[str]] = {row: set() for row in range(1, len(rows) + 1)}
    for class_number, listed in numbers.items():
        for row in listed:
            if row not in names:
                detail = f"class {class_number} lists a row that the table does not have"
                quarantine.add(file_name, f"row {row}", "missing row", "set aside", detail)
                continue
            names[row].add(class_numbers.get(class_number, f"class number {class_number}"))
    labels = []
    for row, values in enumerate(rows, 1):
        if len(names[row]) > 1:
            quarantine.add(file_name, f"row {row}", "conflicting class", "set aside", " and ".join(sorted(names[row])))
            continue
        labels.append(Label(f"row {row}", "".join(names[row]), _ellipse(values, FIJI_COLUMNS)))
    return labels


def _ellipse(row: Mapping[str, str], columns: Mapping[str, str]) -> Ellipse:
    return Ellipse(*(number(row[columns[name]]) for name in ("x", "y", "major", "minor", "angle")))
