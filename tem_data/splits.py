"""Split micrographs by whole scenes, before anything else.

A split table has one row a micrograph: `micrograph_id`, `scene`, and for each
split k `split{k}_role` (train, validation or test; empty: left out) and
`split{k}_rank` (1, 2, … within the role). A training size n counts validation
in: the first n/5 of validation and the rest of n from training, so sizes nest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tem_data.errors import TemDataError

ROLES = ("train", "validation", "test")
VALIDATION_SHARE = 0.2


def random_splits(scene: Mapping[str, str], splits: int, test: int, validation: int, seed: int) -> list[dict[str, str]]:
    """A split table of `splits` random splits by whole scenes.

    Whole scenes are dealt in random order to test, until it holds `test`
    micrographs, then to validation, then to training; a scene that would
    overfill a role goes to the next. Raises TemDataError where the scenes do
    not allow it.
    """
    rows = {m: {"micrograph_id": m, "scene": scene[m]} for m in sorted(scene)}
    for k in range(1, splits + 1):
        roles = _deal(scene, {"test": test, "validation": validation}, np.random.default_rng([seed, k]))
        for role in ROLES:
            for rank, member in enumerate(roles[role], 1):
                rows[member] |= {f"split{k}_role": role, f"split{k}_rank": str(rank)}
    return list(rows.values())


def _deal(scene: Mapping[str, str], wanted: Mapping[str, int], rng: np.random.Generator) -> dict[str, list[str]]:
    names = sorted(set(scene.values()))
    members = {name: sorted(m for m in scene if scene[m] == name) for name in names}
    dealt: dict[str, list[str]] = {role: [] for role in ROLES}
    for name in rng.permutation(names).tolist():
        fits = (role for role in wanted if len(dealt[role]) + len(members[name]) <= wanted[role])
        dealt[next(fits, "train")] += members[name]
    for role, count in wanted.items():
        if len(dealt[role]) != count:
            raise TemDataError(
                f"split.{role}: {count} micrographs asked for, but whole scenes give only {len(dealt[role])} of "
                f"{len(scene)} micrographs in {len(names)} scenes; lower split.test or split.validation, or "
                "take another split.seed"
            )
    if not dealt["train"]:
        raise TemDataError(
            f"all {len(scene)} micrographs went to test and validation; lower split.test or split.validation"
        )
    return {role: rng.permutation(dealt[role]).tolist() for role in ROLES}


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
        name, roles_and_ranks = _checked_line(line, where)
        if not any(value in ROLES for value in roles_and_ranks.values()):
            continue
        if name not in rows:
            raise TemDataError(f"{where}: {name!r} is in a split but was not imported; see the quarantine report")
        if len(rows[name]) > 2:
            raise TemDataError(f"{where}: {name!r} is there twice; expected one row a micrograph")
        rows[name] |= roles_and_ranks
    dealt = list(rows.values())
    for split in sorted(
        {c.removeprefix("split").removesuffix("_role") for r in dealt for c in r if c.endswith("_role")}
    ):
        for cut in cut_scenes(dealt, split):
            tied = [f"{r['micrograph_id']} ({r.get(f'split{split}_role')})" for r in dealt if r["scene"] == cut]
            raise TemDataError(
                f"{path}: split {split} cuts a scene, micrographs that show an overlapping field: {', '.join(tied)}; "
                "give them one role (results/overlaps.csv lists what ties them)"
            )
    return dealt


def _checked_line(line: Mapping[str, str], where: str) -> tuple[str, dict[str, str]]:
    line = {column: value or "" for column, value in line.items() if column}
    name = line.get("micrograph_id") or Path(line.get("file_name", "")).stem
    roles = {k: {"val": "validation"}.get(v, v) for k, v in line.items() if k.endswith("_role")}
    for column, role in roles.items():
        if role and role not in ROLES:
            raise TemDataError(f"{where}: {column} is {role!r}; expected one of {ROLES} or nothing")
    ranks = {k: v for k, v in line.items() if k.endswith("_rank")}
    for column, rank in ranks.items():
        if rank and not rank.isdecimal():
            raise TemDataError(f"{where}: {column} is {rank!r}; expected 1, 2, … or nothing")
    return name, roles | ranks


def cut_scenes(rows: Sequence[Mapping[str, str]], split: int | str) -> list[str]:
    """The scenes that lie in more than one role of a split: none, in a split that does not leak."""
    roles: dict[str, set[str]] = {}
    for row in rows:
        if row.get(f"split{split}_role"):
            roles.setdefault(row["scene"], set()).add(row[f"split{split}_role"])
    return sorted(scene for scene, held in roles.items() if len(held) > 1)


def members(rows: Sequence[Mapping[str, str]], split: int, size: int) -> dict[str, list[str]]:
    """The micrographs of each role of a split at training size `size`, by rank; `test` is always all of it.

    Raises TemDataError where the table does not hold that split, or not that many micrographs.
    """
    column = f"split{split}_role"
    if size < 2:
        raise TemDataError(f"study size {size}; expected at least 2, as validation takes one micrograph")
    if not any(column in row for row in rows):
        raise TemDataError(f"the split table has no {column}; raise split.count or lower study.splits in params.yaml")
    by_role = {
        role: sorted((r for r in rows if r.get(column) == role), key=lambda r: int(r.get(f"split{split}_rank") or 0))
        for role in ROLES
    }
    if not by_role["test"]:
        raise TemDataError(f"split {split} of the split table has no test micrograph; give some the role test")
    take = {"validation": max(1, round(size * VALIDATION_SHARE))}
    take["train"] = size - take["validation"]
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
