"""Outputs are written beside their place under a temporary name and moved in when whole."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tem_data.core.errors import TemDataError

PACKAGE = Path(__file__).parents[1]
PATIENCE_S = 1.0
DRAFT_ID = 8
LEFT_BEHIND = re.compile(rf"\..+\.(lock|old|[0-9a-f]{{{DRAFT_ID}}}\.partial)", re.DOTALL)
# What decides the result of work that can be half done: trainings and the generation of pictures.
WORKERS = ("core", "detection", "diffusion", "judges", "painting", "patches", "scoring", "training")


@contextmanager
def locked(target: str | os.PathLike) -> Iterator[None]:
    """Nobody else writes `target` meanwhile; what a killed process left beside it is put right first.

    The same thread may lock it again. The operating system ends the lock with the process that holds it.
    Raises TemDataError where another process is writing it, or it has no name of its own.
    """
    target = Path(target)
    if target.name in ("", ".."):
        raise TemDataError(f"{target}: expected the name of a new file or folder; give one within it")
    target.parent.mkdir(parents=True, exist_ok=True)
    file = target.parent.resolve() / f".{target.name}.lock"
    lock = FileLock(file, timeout=PATIENCE_S, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise TemDataError(
            f"{target}: another process is writing it; wait until that has ended, or give another name"
        ) from error
    try:
        if lock.lock_counter == 1:
            _recover(target)
        yield
    finally:
        if lock.lock_counter == 1:
            file.unlink(missing_ok=True)  # while it is held: who waits for it sees that, and makes a new one
        lock.release()


@contextmanager
def atomic_write(target: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path for a file or folder; on success it replaces `target`, on error it goes.

    Raises TemDataError as `locked` does.
    """
    target = Path(target)
    with locked(target):
        draft = target.with_name(f".{target.name}.{secrets.token_hex(DRAFT_ID // 2)}.partial")
        try:
            yield draft
            move(draft, target)
        finally:
            _remove(draft)


def move(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Put a whole file or folder in the place of `target`, with the permissions that the umask gives.

    It is on the disk before it gets the name, and what was there comes back where it cannot have it. Raises
    TemDataError as `locked` does.
    """
    target = Path(target)
    with locked(target):
        _settle(Path(source))
        if target.is_dir() and not target.is_symlink():
            try:
                os.replace(target, _former(target))
                os.replace(source, target)
            finally:
                _restore(target)
        else:
            os.replace(source, target)
        _flush(target.parent)


def _recover(target: Path) -> None:
    _restore(target)
    for draft in target.parent.glob(f".{glob.escape(target.name)}.{'?' * DRAFT_ID}.partial"):
        _remove(draft)


def _former(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _restore(target: Path) -> None:
    """The former result comes back where nothing took its place; else it goes."""
    if os.path.lexists(target):
        _remove(_former(target))
    elif _former(target).exists():
        os.replace(_former(target), target)


def _settle(source: Path) -> None:
    """What killed writers left in it goes; the rest gets the permissions of the umask, and is brought to the disk.

    Some libraries write their files for the owner alone.
    """
    for left in [path for path in source.rglob(".*") if LEFT_BEHIND.fullmatch(path.name)]:
        _remove(left)
    umask = os.umask(0o077)
    os.umask(umask)
    for path in (source, *source.rglob("*")):
        if not path.is_symlink():
            inherited = path.stat().st_mode & stat.S_ISGID  # of a folder that a group shares
            path.chmod((0o777 if path.is_dir() else 0o666) & ~umask | inherited)
            _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # not every file system can flush a folder
            raise
    finally:
        os.close(descriptor)


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


def read_table(
    path: str | os.PathLike, columns: Collection[str] = (), named: Callable[[str], str] = str.strip
) -> list[dict[str, str]]:
    """The rows, maybe none, of a CSV file that has at least `columns`; blank lines are skipped.

    Cells may be separated by semicolons or tabs, too, whichever the first line
    has most of, or what a line `sep=` before it says. `named` gives a column its name. Raises TemDataError where there
    is no such file, it is not a CSV table, a column is missing or named twice, or a row has more or fewer cells
    than there are columns.
    """
    try:
        (_, first), *lines = _cells(Path(path).read_bytes()) or [(1, [])]
    except (OSError, ValueError, csv.Error) as error:
        raise TemDataError(f"{path}: expected a CSV file in UTF-8 ({error}); give the path of one") from error
    header = [named(cell) for cell in first]
    if missing := [name for name in columns if name not in header]:
        there = f"; it has {', '.join(filter(None, header))[:200]}" if any(header) else ""
        raise TemDataError(f"{path}: expected the columns {', '.join(columns)}; missing: {', '.join(missing)}{there}")
    if twice := [name for name, count in Counter(header).items() if count > 1 and name.strip()]:
        raise TemDataError(f"{path}: two columns are named {twice[0]!r}; give each its own name")
    rows = []
    for row, cells in lines:
        if len(cells) < len(header) and not any(map(str.strip, cells)):
            continue
        if len(cells) != len(header):
            raise TemDataError(
                f"{path} row {row}: expected a cell for each of the {len(header)} columns, found {len(cells)}; fill in "
                "the missing ones, and put what holds a comma in quotes (write numbers with a point)"
            )
        rows.append(dict(zip(header, cells, strict=True)))
    return rows


def decoded(content: bytes) -> str:
    """Text as programs save it: UTF-8, UTF-16 as Excel has it, else Windows' western letters. Raises ValueError."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if b"\0" in content[:100]:
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _cells(content: bytes) -> list[tuple[int, list[str]]]:
    """Rows with their numbers, from the first with text on.

    Raises ValueError or csv.Error where this is no text, or not a table.
    """
    if content.startswith((b"\xd0\xcf\x11\xe0", b"PK\x03\x04")):
        raise ValueError("it is a spreadsheet; save it as CSV")
    text = decoded(content)
    first = next((line for line in text.splitlines() if line.strip()), "")
    given = re.fullmatch(r"(?i)sep=(.)", first)
    between = given[1] if given else max(",;\t", key=first.count)
    rows = list(enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=between), 1))
    is_header = (any(map(str.strip, cells)) and not (given and "".join(cells).lower() == "sep=") for _, cells in rows)
    return rows[next((place for place, found in enumerate(is_header) if found), len(rows)) :]


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
    these inputs, and the code of WORKERS as it is: what an earlier run with
    others left behind is thrown away. `target` is locked meanwhile; the
    processes of one `accelerate launch` share the folder, and the main one
    holds the lock.
    """
    target = Path(target)
    with locked(target) if is_main_process() else nullcontext():
        code = [path for name in WORKERS for path in sorted((PACKAGE / name).rglob("*.py"))]
        folder = target.with_name(f".{target.name}.work") / fingerprint(settings, *inputs, *code)
        for other in folder.parent.glob("*") if is_main_process() else ():
            if other != folder:
                shutil.rmtree(other)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        if is_main_process():
            shutil.rmtree(folder.parent)
