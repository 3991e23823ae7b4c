"""The filter: generated pairs that show their masks worse than all but the worst real pairs do are dropped.

Two things would make it prefer some masks to others. Masks that ask for one or
two defects have an adherence of 0, 0.5 or 1, and many real ones have 0; so
pairs are ranked by `smoothed`, which tells one missed defect from that and five
false ones. And the more defects, the less it scatters; so the floor is that of
real patches that ask for about as many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_numbers
from tem_data.core.micrograph import Micrograph, count_by_class
from tem_data.core.schema import read_classes, read_dataset, write_dataset
from tem_data.fidelity.settings import FilterSettings

if TYPE_CHECKING:  # its judges need detectron2, the filter does not
    from tem_data.fidelity.adherence import Adherence

COLUMNS = ("kind", "pair", "micrograph_id", "requested", "found", "right", "adherence")
LEAST_REAL = 20


class Judged(NamedTuple):
    """Of n pairs, (n,) float each, means over judges: defects requested, found, and found right; adherence."""

    requested: np.ndarray
    found: np.ndarray
    right: np.ndarray
    adherence: np.ndarray


class Floor(NamedTuple):
    """The least smoothed adherence of a pair that is kept, by how many defects its mask asks for.

    Stratum k is of masks that ask for `least[k]` (s,) defects or more, but
    fewer than `least[k + 1]`; `floors` (s,) float rest on `real` (s,) patches.
    """

    least: np.ndarray
    floors: np.ndarray
    real: np.ndarray


def adherence_rows(kind: str, pairs: Sequence[Micrograph], judged: Adherence) -> Iterator[dict[str, Any]]:
    """The rows, with `COLUMNS`, of the pairs of one kind (real, generated …) in adherence.csv."""
    numbers = zip(judged.requested, judged.found, judged.right, judged.of_pair, strict=True)
    for number, (pair, of_pair) in enumerate(zip(pairs, numbers, strict=True)):
        rounded = (round(float(value), 6) for value in of_pair)
        yield dict(zip(COLUMNS, (kind, number, pair.micrograph_id, *rounded), strict=True))


def read_adherence(path: str | os.PathLike, kind: str) -> Judged:
    """The pairs of one kind of an adherence.csv, in order.

    Raises TemDataError where it has no row of that kind, lacks a column, or as `read_numbers` does.
    """
    table = read_numbers(path, text=("kind", "micrograph_id"))
    rows = [row for row in table if row.get("kind") == kind]
    missing = [name for name in COLUMNS if rows and rows[0].get(name) is None]
    if not rows or missing:
        found = f"without {', '.join(missing)}" if rows else "none"
        raise TemDataError(f"{path}: expected rows of kind {kind!r}, found {found}; run the stage fidelity again")
    return Judged(*(np.array([row[name] for row in rows]) for name in Judged._fields))


def smoothed(judged: Judged) -> np.ndarray:
    """(2·right + 1)/(requested + found + 1), (n,) float: adherence with half a right defect more in each.

    1 where all is right, as adherence; of pairs with nothing right, lower the more is wrong.
    """
    return (2 * judged.right + 1) / (judged.requested + judged.found + 1)


def floor_of(real: Judged, quantile: float) -> Floor:
    """The floor from real patches, each judged by judges that have not seen it.

    Strata begin at 0, 1, 2, 4, 8, … defects, those with fewer than `LEAST_REAL`
    real patches being joined. A floor is a value that occurred: at least
    1 − `quantile` of the real patches of its stratum lie there or above. The
    adherence of a generated pair, the mean of several judges, scatters less, so
    of pairs as good as real ones somewhat fewer than `quantile` are dropped.
    """
    least = _strata(real.requested)
    stratum, score = _stratum(least, real.requested), smoothed(real)
    members = [score[stratum == k] for k in range(len(least))]
    floors = [np.quantile(of_stratum, quantile, method="lower") for of_stratum in members]
    return Floor(least, np.array(floors), np.array([len(m) for m in members]))


def filter_pairs(pairs: Sequence[Micrograph], judged: Judged, floor: Floor) -> tuple[list[Micrograph], dict[str, Any]]:
    """The generated pairs at or above the floor, in order, and what was dropped, counted, JSON-ready.

    Counted are pairs, defects by class, and pairs by stratum. `mean_requested`
    before and after would show a filter that prefers sparse masks. Raises
    TemDataError where `judged` is not of these pairs.
    """
    requested = np.array([sum(not d.ignore for d in pair.defects) for pair in pairs])
    if not np.array_equal(requested, judged.requested):
        raise TemDataError(
            f"the {len(pairs)} pairs are not the {len(judged.requested)} that were judged; run the stage fidelity again"
        )
    stratum = _stratum(floor.least, requested)
    keep = smoothed(judged) >= floor.floors[stratum] - 1e-5  # adherence.csv is rounded
    kept = [pair for pair, good in zip(pairs, keep, strict=True) if good]
    before, after = count_by_class(pairs), count_by_class(kept)
    return kept, {
        "pairs": _counted(len(pairs), len(kept)),
        "defects": {name: _counted(number, after.get(name, 0)) for name, number in before.items()},
        "strata": [
            {"least_requested": int(least), "floor": float(low), "real": int(real)}
            | _counted((stratum == k).sum(), keep[stratum == k].sum())
            for k, (least, low, real) in enumerate(zip(*floor, strict=True))
        ],
        "mean_requested": {"all": _mean(requested), "kept": _mean(requested[keep])},
        "mean_adherence": {"all": _mean(judged.adherence), "kept": _mean(judged.adherence[keep])},
    }


def write_filtered(
    pairs: str | os.PathLike, fidelity: str | os.PathLike, out: str | os.PathLike, settings: FilterSettings
) -> dict[str, Any]:
    """Write the dataset `pairs` without the poor ones to `out`; returns what was dropped, as `filter_pairs`.

    `fidelity` is the folder that `measure_fidelity` wrote of these pairs. Raises
    as `read_adherence` and `filter_pairs` do.
    """
    table, classes, generated = Path(fidelity, "adherence.csv"), read_classes(pairs), list(read_dataset(pairs, "train"))
    floor = floor_of(read_adherence(table, "real"), settings.quantile)
    kept, report = filter_pairs(generated, read_adherence(table, "generated"), floor)
    write_dataset(out, {"train": kept}, classes, "Generated pairs (GEN) without the poor ones.")
    print(f"{out}: kept {report['pairs']['kept']} of {report['pairs']['all']} pairs")
    return report


def _strata(requested: np.ndarray) -> np.ndarray:
    least, start = [0], 1
    while start <= requested.max():
        if min((requested >= start).sum(), ((requested >= least[-1]) & (requested < start)).sum()) >= LEAST_REAL:
            least.append(start)
        start *= 2
    return np.array(least)


def _stratum(least: np.ndarray, requested: np.ndarray) -> np.ndarray:
    return np.searchsorted(least, requested, side="right") - 1


def _counted(all_of_them: int, kept: int) -> dict[str, int]:
    return {"all": int(all_of_them), "kept": int(kept), "dropped": int(all_of_them - kept)}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
