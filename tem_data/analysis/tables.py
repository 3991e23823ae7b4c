"""What a run found on all micrographs, as tables and one COCO file; memory holds one micrograph's share at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tem_data.analysis.measuring import DEFECT_COLUMNS, MICROGRAPH_COLUMNS
from tem_data.core.files import atomic_write, write_table

Record = Mapping[str, Any]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
QUARANTINE_COLUMNS = ("file", "item", "reason", "action", "detail")


def write_defects(path: Path, records: Iterable[Record]) -> None:
    write_table(path, map(plain, (row for record in records for row in record["defects"])), DEFECT_COLUMNS)


def write_micrographs(path: Path, records: Iterable[Record]) -> None:
    write_table(path, map(plain, (row for record in records for row in record["micrograph"])), MICROGRAPH_COLUMNS)


def write_quarantine(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    write_table(path, map(plain, rows), QUARANTINE_COLUMNS)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a spreadsheet: numbers to six digits, and no text that it takes for a formula.

    An apostrophe stands before texts that begin like one.
    """
    return {column: _plain(value) for column, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def write_found(path: Path, records: Iterable[Record]) -> None:
    """One COCO file of the COCO files of each micrograph, of which there is at least one."""
    images: list[dict[str, Any]] = []
    part, count, comma = {}, 0, "\n"
    with atomic_write(path) as draft, open(draft, "w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for record in records:
            part = record["coco"]
            images.append(part["images"][0] | {"id": len(images) + 1})
            for annotation in part["annotations"]:
                count += 1
                file.write(comma + _json(annotation | {"id": count, "image_id": len(images)}))
                comma = ",\n"
        file.write("\n]")
        for key, value in (part | {"images": images}).items():
            if key != "annotations":
                file.write(f",\n{_json(key)}: {_json(value)}")
        file.write("}\n")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
