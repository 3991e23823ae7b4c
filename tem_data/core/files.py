"""Outputs are written beside their place under a temporary name and moved in when whole."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tem_data.core.errors import TemDataError

PACKAGE = Path(__file__).parents[1]


@contextmanager
def atomic_write(target: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path for a file or folder; on success it replaces `target`, on error it goes.

    Raises TemDataError where `target` has no name of its own.
    """
    target = Path(target)
    if target.name in ("", ".."):
        raise TemDataError(f"{target}: expected the name of a new file or folder; give one within it")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.partial")
    _remove(draft)
    try:
        yield draft
        move(draft, target)
    finally:
        _remove(draft)


def move(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Put a whole file or folder in the place of `target`, of which at no moment half is there."""
    target = Path(target)
    if not target.is_dir() or target.is_symlink():
        os.replace(source, target)
        return
    old = target.with_name(f".{target.name}.old")
    _remove(old)
    os.replace(target, old)
    os.replace(source, target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, content: Any) -> None:
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Raises TemDataError where there is no such file or it is not JSON in UTF-8."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TemDataError(f"{path}: cannot be read ({error.strerror}); give the path of a JSON file") from error
    except (ValueError, RecursionError) as error:
        raise TemDataError(f"{path}: not a JSON file this can read ({error})") from error


def write_table(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A CSV file with a header, also when there are no rows."""
    with atomic_write(path) as draft, open(draft, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: str | os.PathLike, columns: Collection[str] = ()) -> list[dict[str, str]]:
    """The rows, maybe none, of a CSV file that has at least `columns`; blank lines are skipped.

    Raises TemDataError where there is no such file, it is not a CSV table in
    UTF-8, a column is missing or named twice, or a row has more or fewer cells
    than there are columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise TemDataError(f"{path}: expected a CSV file in UTF-8 ({error}); give the path of one") from error
    if missing := [name for name in columns if name not in header]:
        raise TemDataError(f"{path}: expected the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    if twice := [name for name, count in Counter(header).items() if count > 1 and name.strip()]:
        raise TemDataError(f"{path}: two columns are named {twice[0]!r}; give each its own name")
    rows = []
    for row, cells in enumerate(lines, 2):
        if len(cells) < len(header) and not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise TemDataError(
                f"{path} row {row}: expected a cell for each of the {len(header)} columns, found {len(cells)}; fill in "
                "the missing ones, and put what holds a comma in quotes (write numbers with a point)"
            )
        rows.append(dict(zip(header, cells, strict=True)))
    return rows


def read_numbers(path: str | os.PathLike, text: Collection[str]) -> list[dict[str, Any]]:
    """A table of numbers, None where a cell is empty; the columns named in `text` stay as they are.

    Raises TemDataError as `read_table` does, and for a cell that is no number.
    """

    def value(column: str, cell: str, row: int) -> Any:
        try:
            return cell if column in text else float(cell) if cell else None
        except ValueError as error:
            raise TemDataError(
                f"{path} row {row}: {column}: expected a number, found {cell!r}; make it anew"
            ) from error

    return [
        {column: value(column, cell, row) for column, cell in line.items()}
        for row, line in enumerate(read_table(path), 2)
    ]


def fingerprint(settings: Any, *paths: str | os.PathLike) -> str:
    """A hash of settings and of the contents of files and folders: the same work has the same fingerprint.

    Raises TemDataError where a path is missing.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in map(Path, paths):
        if not path.exists():
            raise TemDataError(f"{path}: no such file or folder")
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(path)).encode())
            with open(file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def is_main_process() -> bool:
    """False in all but one of the processes that `accelerate launch` starts."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def work_folder(target: str | os.PathLike, settings: Any, *inputs: str | os.PathLike) -> Iterator[Path]:
    """A folder for what a step needs to go on after it was killed; it goes when `target` is done.

    It lies in `.{target}.work` and belongs to these settings, the contents of
    these inputs, and this version of the package: what an earlier run with
    others left behind is thrown away.
    """
    target = Path(target)
    folder = target.with_name(f".{target.name}.work") / fingerprint(settings, *inputs, *sorted(PACKAGE.rglob("*.py")))
    for other in folder.parent.glob("*") if is_main_process() else ():
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if is_main_process():
        shutil.rmtree(folder.parent)
