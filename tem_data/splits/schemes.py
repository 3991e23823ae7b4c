"""Deal micrographs to splits by whole scenes: at random, k-fold, leave out a percentage or a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, cast

import numpy as np
from pydantic import Field

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.files import read_table
from tem_data.core.micrograph import Micrograph
from tem_data.core.places import ROLES
from tem_data.core.settings import section, setting
from tem_data.splits.table import VALIDATION_SHARE, check_splits, given_splits, micrograph_named, numbers_of_splits

GROUPS = ("specimen", "nm_per_px", "thickness_nm", "origin")


@section("split")
class SplitSettings:
    """How micrographs are dealt to training, validation and test, always by whole scenes."""

    scheme: Literal["random", "table", "k_fold", "leave_out_percent", "leave_one_group_out"] = setting(
        "random",
        "random: `test` micrographs. table: the roles of `table`. k_fold: every scene is test once. leave_out_percent: "
        "`percents` of the micrographs are test. leave_one_group_out: each group in turn is.",
    )
    table: str | None = setting(
        None,
        "table: file_name, split1_role, split1_rank, … leave_one_group_out: file_name and the column of groups; the "
        "calibration table will do.",
    )
    group: str = setting(
        "specimen",
        "leave_one_group_out: a column of `table`, or without one specimen, nm_per_px, thickness_nm or origin.",
    )
    percents: Sequence[Annotated[float, Field(gt=0, lt=100)]] = setting(
        (10, 25, 50, 75, 90), "leave_out_percent: test shares, %.", min_length=1
    )
    count: int = setting(1, "random: splits. k_fold: folds. leave_out_percent: splits for each percentage.", ge=1)
    test: int = setting(8, "random: test micrographs.", ge=1)
    validation: int = setting(
        2,
        "Validation micrographs, which choose thresholds. Except at random, as near as scenes allow, and at most a "
        "fifth of what is not test.",
        ge=0,
    )
    seed: int = setting(0, "The same seed gives the same splits.", ge=0)
    watch: str = setting(
        "data/micrographs", "Name `table` here too, and DVC splits again when it changes.", stage_only=True
    )


def make_splits(settings: SplitSettings, micrographs: Iterable[Micrograph]) -> list[dict[str, str]]:
    """The split table (`tem_data.splits.table`) of a scheme, checked: no scene is cut.

    Raises TemDataError for an unknown scheme, a table that the scheme misses or
    does not use, a fault of that table, and scenes that do not allow the scheme.
    """
    scheme, validation, seed = settings.scheme, settings.validation, settings.seed
    _check_scheme(settings)
    micrographs = list(micrographs)
    scene = {m.micrograph_id: m.scene for m in micrographs}
    if scheme == "random":
        return random_splits(scene, settings.count, settings.test, validation, seed)
    if scheme == "table":
        table = cast(str, settings.table)  # `_check_scheme` asks for it
        return given_splits(read_table(table), scene, table)
    if scheme == "k_fold":
        return k_fold_splits(scene, settings.count, validation, seed)
    if scheme == "leave_out_percent":
        return leave_out_percent_splits(scene, settings.percents, settings.count, validation, seed)
    return leave_one_group_out_splits(scene, groups_of(micrographs, settings.group, settings.table), validation, seed)


def _check_scheme(settings: SplitSettings) -> None:
    scheme = settings.scheme
    if scheme == "table" and not settings.table:
        raise SettingError("split", "table", "missing; the scheme `table` needs the path of a split table")
    if settings.table and scheme not in ("table", "leave_one_group_out"):
        raise SettingError("split", "table", f"the scheme `{scheme}` does not use {settings.table}; leave it out")
    if scheme not in ("random", "table") and settings.validation < 1:
        raise SettingError("split", "validation", "expected 1 or more micrographs, which choose the threshold, found 0")


def random_splits(scene: Mapping[str, str], splits: int, test: int, validation: int, seed: int) -> list[dict[str, str]]:
    """A split table of `splits` random splits by whole scenes.

    Whole scenes are dealt in random order to test, until it holds `test`
    micrographs, then to validation, then to training; a scene that would
    overfill a role goes to the next. Raises TemDataError where the scenes do
    not allow it.
    """
    wanted = {"test": test, "validation": validation}
    return _table(scene, [_deal(scene, wanted, np.random.default_rng([seed, k])) for k in range(1, splits + 1)])


def k_fold_splits(scene: Mapping[str, str], folds: int, validation: int, seed: int) -> list[dict[str, str]]:
    """A split table of `folds` splits: every scene is test in exactly one, folds are as equal as scenes allow.

    The largest scenes are dealt first, each to the fold that holds least.
    Validation is drawn anew for each fold, as in `leave_out_percent_splits`.
    Raises TemDataError where there are fewer scenes than folds, or fewer folds than 2.
    """
    sizes = _sizes(scene)
    if not 2 <= folds <= len(sizes):
        raise SettingError(
            "split", "count", f"{folds} folds of {len(sizes)} scenes; expected at least 2 and at most as many as scenes"
        )
    held: list[list[str]] = [[] for _ in range(folds)]
    order = np.random.default_rng([seed, 0]).permutation(list(sizes)).tolist()
    for name in sorted(order, key=lambda name: -sizes[name]):
        min(held, key=lambda fold: sum(sizes[other] for other in fold)).append(name)
    deals = [
        _around(scene, fold, validation, f"fold {k}", np.random.default_rng([seed, k]))
        for k, fold in enumerate(held, 1)
    ]
    return _table(scene, deals)


def leave_out_percent_splits(
    scene: Mapping[str, str], percents: Sequence[float], count: int, validation: int, seed: int
) -> list[dict[str, str]]:
    """A split table of `count` splits for each percentage of the micrographs that is test (2022 paper, Table 5).

    Test comes as near to its percentage as whole scenes allow; `split{k}_left_out`
    holds the percentage. Validation comes as near to `validation` micrographs, or
    to a fifth of those that are not test where that is less, as no training size
    uses more. Raises TemDataError for a percentage outside (0, 100), and where
    fewer than two scenes are left for training and validation.
    """
    deals: list[dict[str, list[str]]] = []
    left_out = []
    sizes = _sizes(scene)
    for percent in percents:
        if not 0 < percent < 100:
            raise SettingError("split", "percents", f"expected numbers between 0 and 100, found {percent}")
        for _ in range(count):
            rng = np.random.default_rng([seed, len(deals) + 1])
            test = _nearest_scenes(sizes, percent / 100 * len(scene), 2, rng)
            deals.append(_around(scene, test, validation, f"{percent:g} % left out", rng))
            left_out.append(f"{percent:g} %")
    return _table(scene, deals, left_out)


def leave_one_group_out_splits(
    scene: Mapping[str, str], group: Mapping[str, str], validation: int, seed: int
) -> list[dict[str, str]]:
    """A split table of one split for each group, in the order of their names: its micrographs are test.

    A scene that holds a micrograph of the group is test whole, also where it
    holds others: nothing that shows what is tested is trained on. `group` holds
    each micrograph's group, `split{k}_left_out` the one that is left out.
    Validation is as in `leave_out_percent_splits`. Raises TemDataError where
    there is one group only, a micrograph without one, or where fewer than two
    scenes are left for training and validation.
    """
    _check_groups(scene, group)
    names = sorted({group[m] for m in scene})
    deals = []
    for k, name in enumerate(names, 1):
        test = sorted({scene[m] for m in scene if group[m] == name})
        deals.append(_around(scene, test, validation, f"group {name!r} left out", np.random.default_rng([seed, k])))
    return [row | {"group": group[row["micrograph_id"]]} for row in _table(scene, deals, names)]


def _check_groups(scene: Mapping[str, str], group: Mapping[str, str]) -> None:
    without = sorted(m for m in scene if not group.get(m))
    if without:
        raise SettingError(
            "split",
            "group",
            f"{len(without)} of {len(scene)} micrographs have none, as {without[0]!r}; "
            "fill in the column, so that none of a group that is left out is trained on",
        )
    if len(set(group[m] for m in scene)) < 2:
        raise SettingError("split", "group", "all micrographs are of one group; name a column of two values or more")


def groups_of(micrographs: Iterable[Micrograph], column: str, table: str | None = None) -> dict[str, str]:
    """The group of each micrograph: a column of `table`, or without one a column of the micrographs, as text.

    Empty where it is not known. Raises TemDataError for a column that is not
    there and a micrograph that has two rows with different values.
    """
    micrographs = list(micrographs)
    if table is None:
        if column not in GROUPS:
            raise SettingError(
                "split",
                "group",
                f"the micrographs have {', '.join(GROUPS)}, no {column!r}; "
                "name a table that has it in split.table, as the calibration table",
            )
        values = {m.micrograph_id: getattr(m, column) for m in micrographs}
        return {name: "" if value is None else str(value) for name, value in values.items()}
    group = {m.micrograph_id: "" for m in micrographs}
    for number, line in enumerate(read_table(table), 2):
        if column not in line:
            raise TemDataError(f"{table}: no column {column!r}; expected it beside file_name or micrograph_id")
        name, value = micrograph_named(line, group), (line[column] or "").strip()
        if name in group and group[name] not in ("", value):
            raise TemDataError(f"{table} row {number}: {name!r} is {value!r}, and {group[name]!r} above; keep one")
        if name in group:
            group[name] = value
    return group


def describe_splits(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """A line a split: how many micrographs of each role, what was left out, and who is test for its scene's sake."""
    for split in numbers_of_splits(rows):
        held = {role: [r for r in rows if r.get(f"split{split}_role") == role] for role in ROLES}
        counts = ", ".join(f"{len(members)} {role}" for role, members in held.items())
        unused = len(rows) - sum(map(len, held.values()))
        line = f"split {split}: {counts}" + (f", {unused} in no role" if unused else "")
        left_out = next((r[f"split{split}_left_out"] for r in rows if f"split{split}_left_out" in r), None)
        if left_out is not None:
            line += f"; left out: {left_out} (test is {100 * len(held['test']) / len(rows):.1f} %)"
        tied = sum(r["group"] != left_out for r in held["test"] if "group" in r)
        yield line + (f"; {tied} test micrographs of other groups share a scene with it" if tied else "")


def _sizes(scene: Mapping[str, str]) -> dict[str, int]:
    """How many micrographs each scene has, scenes by name."""
    return dict(sorted(Counter(scene.values()).items()))


def _table(
    scene: Mapping[str, str], deals: Sequence[Mapping[str, Sequence[str]]], left_out: Sequence[str] = ()
) -> list[dict[str, str]]:
    """The split table of deals, each the micrographs of every role in the order of their rank; checked."""
    rows = {m: {"micrograph_id": m, "scene": scene[m]} for m in sorted(scene)}
    for k, roles in enumerate(deals, 1):
        for role in ROLES:
            for rank, member in enumerate(roles[role], 1):
                rows[member] |= {f"split{k}_role": role, f"split{k}_rank": str(rank)}
    for k, what in enumerate(left_out, 1):
        for row in rows.values():
            row[f"split{k}_left_out"] = what
    return check_splits(list(rows.values()), "split")


def _deal(scene: Mapping[str, str], wanted: Mapping[str, int], rng: np.random.Generator) -> dict[str, list[str]]:
    names = sorted(set(scene.values()))
    members = {name: sorted(m for m in scene if scene[m] == name) for name in names}
    dealt: dict[str, list[str]] = {role: [] for role in ROLES}
    for name in rng.permutation(names).tolist():
        fits = (role for role in wanted if len(dealt[role]) + len(members[name]) <= wanted[role])
        dealt[next(fits, "train")] += members[name]
    for role, count in wanted.items():
        if len(dealt[role]) != count:
            raise SettingError(
                "split",
                role,
                f"{count} micrographs asked for, but whole scenes give only {len(dealt[role])} of "
                f"{len(scene)} micrographs in {len(names)} scenes; lower split.test or split.validation, or "
                "take another split.seed",
            )
    if not dealt["train"]:
        raise TemDataError(
            f"all {len(scene)} micrographs went to test and validation; lower split.test or split.validation"
        )
    return {role: rng.permutation(dealt[role]).tolist() for role in ROLES}


def _around(
    scene: Mapping[str, str], test: Sequence[str], validation: int, what: str, rng: np.random.Generator
) -> dict[str, list[str]]:
    """The roles around the scenes that are test; validation is drawn from the others."""
    sizes = {name: size for name, size in _sizes(scene).items() if name not in test}
    if not test or len(sizes) < 2:
        raise TemDataError(
            f"split: {what}: {len(test)} scenes are test, {len(sizes)} are left; test needs one, training and "
            "validation one each; leave out less, or import more micrographs"
        )
    fifth = max(1, round(VALIDATION_SHARE * sum(sizes.values())))
    chosen = dict.fromkeys(test, "test")
    chosen |= dict.fromkeys(_nearest_scenes(sizes, min(validation, fifth), 1, rng), "validation")
    role = {m: chosen.get(scene[m], "train") for m in sorted(scene)}
    return {r: rng.permutation([m for m in role if role[m] == r]).tolist() for r in ROLES}


def _nearest_scenes(sizes: Mapping[str, int], target: float, leave: int, rng: np.random.Generator) -> list[str]:
    """Scenes, at least one, that hold about `target` micrographs, and leave `leave` scenes or more.

    Scenes are added in random order to every sum reached so far, and the first
    that reach a sum make it; the sum nearest to `target` is taken, of two the lower.
    """
    reached: dict[int, tuple[str, ...]] = {0: ()}
    for name in rng.permutation(list(sizes)).tolist():
        for held, names in list(reached.items()):
            if held + sizes[name] not in reached and len(names) < len(sizes) - leave:
                reached[held + sizes[name]] = (*names, name)
    sums = [held for held in reached if held]
    return list(reached[min(sums, key=lambda held: (abs(held - target), held))]) if sums else []
