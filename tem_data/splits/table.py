"""The split table: which micrographs train, validate and test, by whole scenes.

A split table has one row a micrograph: `micrograph_id`, `scene`, and for each
split k `split{k}_role` (train, validation or test; empty: in none) and
`split{k}_rank` (1, 2, … within the role). Where a percentage or a group is left
out, `split{k}_left_out` says which, and `group` the group of each micrograph. A
training size n counts validation in: the first n/5 of validation and the rest
of n from training, so sizes nest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table
from tem_data.core.places import ALL, ROLES

VALIDATION_SHARE = 0.2
WRITE_ANEW = "expected a table that `tem-data split` writes; write it anew"


def read_splits(path: str | os.PathLike) -> list[dict[str, str]]:
    """The rows of a split table, checked.

    Raises TemDataError where it cannot be read, is empty or cut off, misses a column, or holds an unknown role, a rank
    that is no positive whole number, a micrograph twice, or a scene in two roles.
    """
    rows = read_table(path)
    if not rows:
        raise TemDataError(f"{path}: holds no micrograph; {WRITE_ANEW}")
    missing = [column for column in ("micrograph_id", "scene") if column not in rows[0]]
    if not any(re.fullmatch(r"split\d+_role", column or "") for column in rows[0]):
        missing.append("split1_role")
    if missing:
        raise TemDataError(f"{path}: has no column {', '.join(missing)}; {WRITE_ANEW}")
    checked = []
    for number, line in enumerate(rows, 2):
        where = f"{path} row {number}"
        if None in line or None in line.values() or not line["micrograph_id"]:
            raise TemDataError(f"{where}: expected a micrograph_id and a cell for each column; {WRITE_ANEW}")
        checked.append(line | _checked_line(line, where))
    return check_splits(checked, str(path), first_row=2)


def given_splits(table: Sequence[Mapping[str, str]], scene: Mapping[str, str], path: str) -> list[dict[str, str]]:
    """A split table read from a file (`file_name` or `micrograph_id`, `split{k}_role`, `split{k}_rank`), checked.

    `val` is read as `validation`. Micrographs that the table does not name are
    left out of every split; without ranks its order is that of their names.
    Raises TemDataError for an unknown role, a rank that is no number, a
    micrograph that was not imported or is there twice, and a scene that a split
    cuts.
    """
    rows = {m: {"micrograph_id": m, "scene": scene[m]} for m in sorted(scene)}
    for number, line in enumerate(table, 2):
        where = f"{path} row {number}"
        roles_and_ranks = _checked_line(line, where)
        name = micrograph_named(line, rows)
        if not any(value in ROLES for value in roles_and_ranks.values()):
            continue
        if name not in rows:
            raise TemDataError(f"{where}: {name!r} is in a split but was not imported; see the quarantine report")
        if len(rows[name]) > 2:
            raise TemDataError(f"{where}: {name!r} is there twice; expected one row a micrograph")
        rows[name] |= roles_and_ranks
    if not numbers_of_splits(list(rows.values())):
        raise TemDataError(f"{path}: gives no micrograph a role; expected train, validation or test in split1_role, …")
    return check_splits(list(rows.values()), path)


def check_splits(rows: list[dict[str, str]], path: str, first_row: int | None = None) -> list[dict[str, str]]:
    """The rows of a split table as they are. Raises TemDataError for a micrograph that is there twice, a cut scene.

    The error names the row of a table that was read from a file, where its rows begin with `first_row`.
    """
    seen: set[str] = set()
    for number, row in enumerate(rows, first_row or 0):
        if row["micrograph_id"] in seen:
            where = path if first_row is None else f"{path} row {number}"
            raise TemDataError(f"{where}: {row['micrograph_id']!r} is there twice; expected one row a micrograph")
        seen.add(row["micrograph_id"])
    for split in numbers_of_splits(rows):
        for cut in cut_scenes(rows, split):
            tied = [f"{r['micrograph_id']} ({r.get(f'split{split}_role')})" for r in rows if r["scene"] == cut]
            raise TemDataError(
                f"{path}: split {split} cuts a scene, micrographs that show an overlapping field: {', '.join(tied)}; "
                "give them one role (results/overlaps.csv lists what ties them)"
            )
    return rows


def numbers_of_splits(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The `k` of all `split{k}_role`, in ascending order."""
    columns = {column for row in rows for column in row if column.endswith("_role")}
    return sorted((c.removeprefix("split").removesuffix("_role") for c in columns), key=lambda k: (len(k), k))


def micrograph_named(line: Mapping[str, str], known: Container[str]) -> str:
    """The id of the micrograph that a row names by `micrograph_id` or `file_name`, made as importing makes it."""
    file_name = line.get("file_name") or ""
    with_folder = file_name.replace("/", "_")
    return line.get("micrograph_id") or (with_folder if with_folder in known else Path(file_name).stem)


def _checked_line(line: Mapping[str, str], where: str) -> dict[str, str]:
    line = {column: value or "" for column, value in line.items() if column}
    roles = {k: {"val": "validation"}.get(v, v) for k, v in line.items() if k.endswith("_role")}
    for column, role in roles.items():
        if role and role not in ROLES:
            raise TemDataError(f"{where}: {column} is {role!r}; expected one of {ROLES} or nothing")
    ranks = {k: v for k, v in line.items() if k.endswith("_rank")}
    for column, rank in ranks.items():
        if rank and not (rank.isdecimal() and int(rank)):
            raise TemDataError(f"{where}: {column} is {rank!r}; expected 1, 2, … or nothing")
    return roles | ranks


def cut_scenes(rows: Sequence[Mapping[str, str]], split: int | str) -> list[str]:
    """The scenes that lie in more than one role of a split: none, in a split that does not leak."""
    roles: dict[str, set[str]] = {}
    for row in rows:
        if row.get(f"split{split}_role"):
            roles.setdefault(row["scene"], set()).add(row[f"split{split}_role"])
    return sorted(scene for scene, held in roles.items() if len(held) > 1)


def members(rows: Sequence[Mapping[str, str]], split: int, size: int | str) -> dict[str, list[str]]:
    """The micrographs of each role of a split at training size `size`, by rank; `test` is always all of it.

    Size `all` takes all that the split has, as where splits leave out more and more.

    Raises TemDataError where the table does not hold that split, or not that many micrographs.
    """
    column = f"split{split}_role"
    if size != ALL and cast(int, size) < 2:
        raise TemDataError(f"study size {size}; expected at least 2, as validation takes one micrograph")
    if not any(column in row for row in rows):
        raise TemDataError(f"the split table has no {column}; make more splits, or take another one")
    by_role = {
        role: sorted((r for r in rows if r.get(column) == role), key=lambda r: int(r.get(f"split{split}_rank") or 0))
        for role in ROLES
    }
    if not by_role["test"]:
        raise TemDataError(f"split {split} of the split table has no test micrograph; give some the role test")
    if size == ALL:
        return {role: [row["micrograph_id"] for row in by_role[role]] for role in ROLES}
    number = cast(int, size)
    take = {"validation": max(1, round(number * VALIDATION_SHARE))}
    take["train"] = number - take["validation"]
    for role, count in take.items():
        if count > len(by_role[role]):
            raise TemDataError(
                f"study size {size} asks for {count} {role} micrographs; split {split} has {len(by_role[role])}"
            )
        by_role[role] = by_role[role][:count]
    return {role: [row["micrograph_id"] for row in by_role[role]] for role in ROLES}


def random_image_split(micrographs: Sequence[str], test: int, seed: int) -> dict[str, str]:
    """The roles of a split by single images, as in both papers: what ours are compared with, never used to train."""
    order = np.random.default_rng(seed).permutation(sorted(micrographs)).tolist()
    return {m: "test" if place < test else "train" for place, m in enumerate(order)}
