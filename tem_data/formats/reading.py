"""What the readers of label files share: the files of a folder, the entries of a file, and what is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tem_data.coco.faults import Fault, path_of, shown, text
from tem_data.core.errors import TemDataError
from tem_data.core.rle import whole
from tem_data.importing.labels import Label, LabelTable
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.tables import plain_name

Entry = TypeVar("Entry")
LONGEST_SIDE = 2**20


def label_files(path: str | os.PathLike, suffixes: Sequence[str], expected: str) -> list[Path]:
    """The file `path`, or those of a folder that have one of the suffixes; raises TemDataError if there is none."""
    path = Path(path)
    if path.is_file():
        return [path]
    found = sorted(p for p in path.glob("*") if p.suffix.lower() in suffixes and p.is_file() and p.name[0] != ".")
    if not found:
        raise TemDataError(f"{path}: expected {expected}, or a folder of such files; there is none")
    return found


def read_each(
    files: Iterable[Path], read: Callable[[Path], Iterable[LabelTable]], quarantine: Quarantine
) -> list[LabelTable]:
    """The tables that `read` finds in each file; a file in which it finds a Fault or TemDataError is set aside."""
    tables: list[LabelTable] = []
    for file in files:
        try:
            tables += read(file)
        except (Fault, TemDataError, OSError) as error:
            quarantine.add(file.name, file.name, "unreadable table", "set aside", str(error))
    return tables


def label_table(
    file_name: str,
    entries: Iterable[tuple[str, Entry]],
    read: Callable[[str, Entry], Label],
    quarantine: Quarantine,
    shape: tuple[int, int] | None = None,
) -> LabelTable:
    """The labels that `read` makes of an image's entries, each with the item that says where it stands.

    An entry in which it finds a Fault is lost to the quarantine.
    """
    labels, lost = [], 0
    for item, entry in entries:
        try:
            labels.append(read(item, entry))
        except Fault as fault:
            quarantine.add(file_name, item, fault.reason, "set aside", fault.detail)
            lost += 1
    return LabelTable(file_name, tuple(labels), shape, lost)


def image_tables(
    path: Path,
    entries: Iterable[tuple[str, Entry]],
    read: Callable[[Entry], LabelTable],
    quarantine: Quarantine,
) -> list[LabelTable]:
    """The tables that `read` makes of a file's images; an image in which it finds a Fault is set aside."""
    tables = []
    for item, entry in entries:
        try:
            tables.append(read(entry))
        except Fault as fault:
            quarantine.add(path.name, item, fault.reason, "set aside", fault.detail)
    return tables


def numbered(kind: str, entries: Iterable[Entry]) -> list[tuple[str, Entry]]:
    """Entries with items, as `shape 1`, `shape 2`."""
    return [(f"{kind} {number}", entry) for number, entry in enumerate(entries, 1)]


def parsed(value: Any) -> Any:
    """The JSON in a cell of a table; raises Fault."""
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault("bad entry", f"expected JSON, found {shown(value)}") from error


def an_object(value: Any, what: str) -> dict:
    return _of(dict, value, what, "an object {...}")


def a_list(value: Any, what: str) -> list:
    return _of(list, value, what, "a list")


def _of(kind: type, value: Any, what: str, expected: str) -> Any:
    if isinstance(value, kind):
        return value
    raise Fault("bad entry", f"expected {what} to be {expected}, found {shown(value)}")


def class_name(value: Any) -> str:
    """A class as text, also where it is a whole number; "" where there is none. Raises Fault for anything else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    number = None if isinstance(value, str) else whole(value)
    return text(value if number is None else str(number), "the class").strip()


def image_name(value: Any, field: str) -> str:
    """The name of an image file, with `/` also where Windows wrote it; raises Fault where it is none.

    Of an address it is the path.
    """
    return plain_name(path_of(text(value, field, "the name of an image file")))


def image_shape(height: Any, width: Any) -> tuple[int, int] | None:
    """Height and width where both are sizes of an image; None where they are missing or none."""
    sides = whole(height), whole(width)
    return sides if all(side is not None and 0 < side <= LONGEST_SIDE for side in sides) else None  # type: ignore[return-value]
