"""Tables of ellipses measured in Fiji ("Fit ellipse"), or written in columns of any name.

A Fiji table does not say its unit. It is in px where the scale was removed before measuring (Analyze > Set Scale >
Click to Remove Scale), else in the unit of the image: `importing.units` tells which.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.files import read_table
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
SUMMARIZED = {"Mean", "SD", "Min", "Max"}  # what Fiji's Summarize writes below the rows
FIJI_CLASSES = ("Class", "Type", "Category", "Group")
TABLES = (".csv", ".tsv", ".xls", ".txt")
ROUND = 0.9  # least share of the minor axis in the major one from which an ellipse without an angle is taken for round


def read_ellipses(path: str | os.PathLike, columns: Mapping[str, str] | None = None) -> list[LabelTable]:
    """One table for all images, one ellipse a row; `columns` renames those of `COLUMNS`.

    Without a column of classes the labels have the name "", and without angles only round ones have a shape. Raises
    TemDataError as `read_table` does.
    """
    columns = COLUMNS | dict(columns or {})
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise SettingError("import", "columns", f"{sorted(unknown)} is not one of {sorted(COLUMNS)}")
    needed = [columns[name] for name in ("file_name", "x", "y", "major", "minor")]
    tables: dict[str, list[Label]] = {}
    # the header is row 1, as a spreadsheet numbers them
    for row, values in enumerate(read_table(path, needed), 2):
        label = Label(f"row {row}", values.get(columns["class"], "").strip(), _ellipse(values, columns))
        tables.setdefault(values[columns["file_name"]], []).append(label)
    return [LabelTable(file_name, tuple(labels)) for file_name, labels in tables.items()]


def is_results(path: Path) -> bool:
    """Whether a file is a Results table of Fiji's with ellipses, by its suffix and header."""
    if path.suffix.lower() not in TABLES or path.stem.endswith("_log"):
        return False
    header: set[str] = set()

    def noted(cell: str) -> str:
        header.add(_column(cell))
        return cell

    with suppress(TemDataError):  # where it has a header, reading it says what is wrong
        read_table(path, (), noted)
    return {"Major", "Minor"} <= header or ("Area" in header and bool({"X", "XM", "BX", "Mean"} & header))


def _read(path: Path) -> list[dict[str, str]]:
    """The rows of labels of a Results table: without those of Summarize, and headers of tables appended to it.

    Raises TemDataError as `read_table` does.
    """
    try:
        rows = read_table(path, [FIJI_COLUMNS[name] for name in ("x", "y", "major", "minor")], _column)
    except TemDataError as error:
        if "missing: " not in str(error):
            raise
        raise TemDataError(f"{error}; tick Centroid and Fit ellipse in Set Measurements, and measure again") from error
    return [
        row for row in rows if _column(row["Major"]) != "Major" and not SUMMARIZED & {row.get("Label"), row.get("")}
    ]


def _column(cell: str) -> str:
    """`X (px)` as X."""
    return re.sub(r"\s*[(\[].*[)\]]$", "", cell.strip())


def read_fiji(
    path: str | os.PathLike, class_numbers: Mapping[int, str] | None, classes: Sequence[str], quarantine: Quarantine
) -> list[LabelTable]:
    """Results tables: a folder with one an image, or one file of all images, whose column Label names them.

    The table of an image `STEM.*` is `STEM.csv` or `STEM_results.csv` (or .tsv, .xls, .txt). A class stands in a
    column Class, Type, Category or Group, or in a log `STEM_log.txt`, whose numbers `class_numbers` explains; where
    `classes` is only one, it needs neither. A row that has no class has the name "". A table without rows is an image
    without defects. What cannot be understood goes to the quarantine. Raises TemDataError if there is no table at all,
    and SettingError where a log needs `class_numbers`.
    """
    single = Path(path).is_file()
    results = [Path(path)] if single else sorted(p for p in Path(path).glob("*") if _is_table(p))
    if not results:
        raise TemDataError(f"{path}: expected Results tables of Fiji, NAME_results.csv or NAME.csv; there are none")
    tables = []
    for file in results:
        stem = _stem(file)
        log = file.with_name(f"{stem}_log.txt")
        try:
            rows = _read(file)
            names = _names(stem, log, rows, class_numbers, classes, quarantine)
        except (OSError, ValueError, TemDataError) as error:
            if isinstance(error, SettingError):
                raise
            quarantine.add(stem, file.name, "unreadable table", "set aside", str(error))
            continue
        labels = list(_labels(stem, rows, names, quarantine))
        if rows and re.fullmatch("(?i)results?", stem) and not any(_image_name(row) for row in rows):
            detail = "it does not say of which image; name it NAME_results.csv, or tick Display label in Fiji"
            quarantine.add(stem, file.name, "unreadable table", "set aside", detail)
            continue
        if not single and not any(_image_name(row) for row in rows):
            tables.append(LabelTable(stem, tuple(label for _, label in labels), measured=True))
            continue
        by_image: dict[str, list[Label]] = {}
        for row, label in labels:
            by_image.setdefault(_image_name(row) or stem, []).append(label)
        tables += [LabelTable(name, tuple(held), measured=True) for name, held in by_image.items()]
    return tables


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLES and (path.stem.endswith("_results") or is_results(path))


def _stem(path: Path) -> str:
    return re.sub(r"(?i)(^results?[ _-]|[ _-]results?$)", "", path.stem) or path.stem


def _image_name(row: Mapping[str, str]) -> str:
    """What Fiji's column Label says of the image: `a.tif` of `a.tif`, `a.tif:0001-0123` and `a.tif:loop:2`."""
    label = re.sub(r"^[A-Za-z]:(?=[\\/])", "", row.get("Label", "").strip())
    name = PurePosixPath(label.split(":")[0].strip().replace("\\", "/")).name
    return "" if re.fullmatch(r"\d{4}-\d{4}(-\d{4})?", name) else name  # of a ROI that has no name


def _names(
    stem: str,
    log: Path,
    rows: list[dict[str, str]],
    class_numbers: Mapping[int, str] | None,
    classes: Sequence[str],
    quarantine: Quarantine,
) -> list[set[str]]:
    """The classes, at best one, of each row."""
    if log.exists() and (class_numbers or len(classes) != 1):
        numbers = _log(log, rows)
        if class_numbers is None and numbers and rows:
            problem = f"missing; name the class of each number in the logs: {', '.join(map(str, sorted(numbers)))}"
            raise SettingError("import", "class_numbers", problem)
        return _logged(stem, rows, numbers, class_numbers or {}, quarantine)
    column = next((name for name in FIJI_CLASSES if rows and name in rows[0]), None)
    if column:
        return [{row[column].strip()} - {""} for row in rows]
    if len(classes) == 1:
        return [{classes[0]} for _ in rows]
    if rows:
        raise ValueError(f"expected the classes in {log.name} or in a column {', '.join(FIJI_CLASSES)}")
    return []


def _log(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[int, list[int]]:
    text = path.read_text(encoding="utf-8-sig")
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


def _logged(
    stem: str,
    rows: list[dict[str, str]],
    numbers: Mapping[int, list[int]],
    class_numbers: Mapping[int, str],
    quarantine: Quarantine,
) -> list[set[str]]:
    names: list[set[str]] = [set() for _ in rows]
    for class_number, listed in numbers.items():
        for row in listed:
            if not 1 <= row <= len(rows):
                detail = f"class {class_number} lists a row that the table does not have"
                quarantine.add(stem, f"row {row}", "missing row", "set aside", detail)
                continue
            names[row - 1].add(class_numbers.get(class_number, f"class number {class_number}"))
    return names


def _labels(
    stem: str, rows: list[dict[str, str]], names: Sequence[set[str]], quarantine: Quarantine
) -> Iterator[tuple[dict[str, str], Label]]:
    for number_, (row, given) in enumerate(zip(rows, names, strict=True), 1):
        if len(given) > 1:
            quarantine.add(stem, f"row {number_}", "conflicting class", "set aside", " and ".join(sorted(given)))
            continue
        yield row, Label(f"row {number_}", "".join(given), _ellipse(row, FIJI_COLUMNS))


def _ellipse(row: Mapping[str, str], columns: Mapping[str, str]) -> Ellipse:
    x, y, major, minor = (number(row[columns[name]]) for name in ("x", "y", "major", "minor"))
    angle = number(row.get(columns["angle"]))
    return Ellipse(x, y, major, minor, 0.0 if angle != angle and minor >= ROUND * major else angle)
