"""What a study gave, as the tables of its cards: every number is one of a metrics file, or a mean over runs of such."""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, read_numbers
from tem_data.core.places import Cell
from tem_data.figures import F1_NAMES
from tem_data.reports.page import cell as shown
from tem_data.study.arms import ARMS, BASELINE

Rows = Sequence[Mapping[str, Any]]

MOST_NAMED = 6
SIGNIFICANT = 0.05  # p of the paired t-test
TRAINED_ON = {
    "exp": "labelled patches alone",
    "exp_gen": "and generated pairs",
    "exp_paint": "and the same patches with new defects painted in",
    "exp_copypaste": "and pairs of copied and pasted defects, the control",
}


def read_study(results: str | os.PathLike, study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry for each split and size: its counts, its autoencoder, and of each run metrics, masks and pictures.

    All that is of runs is by run; the metrics of a run are by arm.

    Raises TemDataError where a run has no metrics yet.
    """
    cells = []
    for key in study["cells"]:
        cell, folder = Cell.named(key), Path(results, "cells", key)
        of_run = {run: Path(results, "runs", f"{key}-{run}") for run in study["runs"]}
        entry = {"split": cell.split, "size": cell.size, "patches": read_json(folder / "patches.json")}
        entry["runs"] = {run: _metrics(held, study["arms"]) for run, held in of_run.items()}
        if study["models"]:
            entry["autoencoder"] = read_json(folder / "autoencoder.json")
            entry["masks"] = {run: read_json(held / "masks.json") for run, held in of_run.items()}
        if study["generated"]:
            entry["fidelity"] = {run: read_json(held / "fidelity.json") for run, held in of_run.items()}
        if study["painted"]:
            entry["paint"] = {run: read_json(held / "paint.json") for run, held in of_run.items()}
        cells.append(entry)
    return cells


def _metrics(run: Path, arms: Sequence[str]) -> dict[str, Any]:
    paths = {arm: run / arm / "metrics.json" for arm in arms}
    for path in paths.values():
        if not path.is_file():
            raise TemDataError(f"{path} is missing; run `dvc repro` to its end first")
    return {arm: read_json(path) for arm, path in paths.items()}


def read_gains(results: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of `study.gains`, as the stage study wrote them."""
    rows = read_numbers(Path(results, "study", "gains.csv"), ("split", "size", "baseline", "arm", "score"))
    return [row | {"pairs": int(row["pairs"])} for row in rows]


def spread(values: Sequence[float | None]) -> str:
    """`mean ± standard deviation` (n − 1) to three places; the mean alone of a single value; – where one is missing."""
    if None in values:
        return shown(None)
    known = cast("Sequence[float]", values)
    mean = f"{statistics.fmean(known):.3f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.3f}"


def glance_rows(cells: Rows, gains: Rows) -> list[dict[str, Any]]:
    """Whether added pairs help, in F1_HM over all splits and runs: one line for each training size and arm."""
    whole = {(row["size"], row["arm"]): row for row in gains if row["split"] == "all" and row["score"] == "f1_hm"}
    rows = []
    for size in dict.fromkeys(cell["size"] for cell in cells):
        runs = [run for cell in cells if cell["size"] == size for run in cell["runs"].values()]
        for arm in runs[0]:
            row = {"n": size, "arm": ARMS[arm], "trained on": TRAINED_ON[arm], "runs": len(runs)}
            row["F1_HM"] = spread([run[arm]["f1_hm"] for run in runs])
            if arm != BASELINE:
                row |= _gain(whole[str(size), ARMS[arm]])
            rows.append(row)
    return rows


def _gain(row: Mapping[str, Any]) -> dict[str, str]:
    """The gain, and what may be said of it: that other micrographs would show it, and that new trainings would."""
    gain, low, high = row["gain_mean"], row["gain_low"], row["gain_high"]
    if low is None:
        return {"gain over EXP": f"{gain:+.3f}", "so it": "cannot be told from so few scenes"}
    reading = "hurts" if high < 0 else "helps" if low > 0 else "may help or hurt"
    if row["pairs"] == 1 and not low <= 0 <= high:
        reading += " in this run"
    elif not low <= 0 <= high and (row["p"] is None or row["p"] >= SIGNIFICANT):
        reading += " here; new trainings may not show it"
    return {"gain over EXP": f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]", "so it": reading}


def score_rows(cells: Rows) -> list[dict[str, Any]]:
    """The lines of the score table: split, size, arm, number of runs, and each score with its spread."""
    rows = []
    for cell in cells:
        of_runs = list(cell["runs"].values())
        for arm in of_runs[0]:
            runs = [run[arm] for run in of_runs]
            row = {"split": cell["split"], "n": cell["size"], "arm": ARMS[arm], "runs": len(runs)}
            row |= {label: spread([run[key] for run in runs]) for key, label in F1_NAMES.items()}
            for category in dict.fromkeys(name for run in runs for name in run["f1_by_class"]):
                found = [run["f1_by_class"][category] for run in runs if category in run["f1_by_class"]]
                row[f"F1 {category}"] = spread(found)
            row["AP"] = spread([run["ap"] for run in runs])
            row["best on test"] = spread([run["best_on_test"]["f1_hm"] for run in runs])
            rows.append(row)
    return rows


def detector_rows(cells: Rows) -> list[dict[str, Any]]:
    """One line a detector: the confidence threshold to use it with, and its own scores."""
    rows = []
    for cell in cells:
        for run, arms in cell["runs"].items():
            for arm, found in arms.items():
                low, high = found["interval"].get("f1_hm", (None, None))
                row = {"split": cell["split"], "n": cell["size"], "run": run, "arm": ARMS[arm]}
                row |= {"threshold": f"{found['threshold_from_validation']:g}", "precision": found["precision"]}
                row |= {"recall": found["recall"], "F1_HM": found["f1_hm"]}
                rows.append(row | {"95 % interval": "–" if low is None else f"[{low:.3f}, {high:.3f}]"})
    return rows


def mask_rows(cells: Rows) -> list[dict[str, Any]]:
    """One line a run: how many distances of its simulated masks are inside, and the classifier's AUC."""
    rows = []
    for cell in cells:
        for run, summary in cell.get("masks", {}).items():
            found, outside = summary["classifier"], summary["outside"]
            low, high = found["real_interval"] or (None, None)
            row = {"split": cell["split"], "n": cell["size"], "run": run, "inside": summary["inside"]}
            row |= {
                "of": summary["distances"],
                "outside": ", ".join(outside[:MOST_NAMED]) or "none",
                "AUC": found["auc"],
            }
            if len(outside) > MOST_NAMED:
                row["outside"] += ", …"
            rows.append(row | {"real, 2.5 %": low, "real, 97.5 %": high})
    return rows


def fidelity_rows(cells: Rows) -> list[dict[str, Any]]:
    """One line for each split and size: adherence and memorisation of generated pictures."""
    rows = []
    for cell in cells:
        if not (runs := list(cell.get("fidelity", {}).values())):
            continue
        row = {"split": cell["split"], "n": cell["size"], "runs": len(runs)}
        for kind in ("generated", "real", "reconstructed"):
            row[f"F1_HM {kind}"] = spread([run["adherence"][kind]["f1_hm"] for run in runs])
        copied = [run["pictures"]["memorisation"] or {} for run in runs]
        for name, kind in (("memorisation ratio", "generated"), ("of real patches", "real")):
            row[name] = spread([found[kind]["ratio_median"] if found.get(kind) else None for found in copied])
        rows.append(row)
    return rows


def paint_rows(cells: Rows) -> list[dict[str, Any]]:
    """One line for each split, size and class: the share of new defects that judges confirm."""
    rows = []
    for cell in cells:
        runs = list(cell.get("paint", {}).values())
        for name in runs[0]["defects"] if runs else ():
            found = [run["defects"][name] for run in runs]
            row = {"split": cell["split"], "n": cell["size"], "runs": len(runs), "class": name}
            row["kept"] = spread(
                [of_run["kept"] / of_run["requested"] if of_run["requested"] else None for of_run in found]
            )
            rows.append(row)
    return rows


def texture_rows(cells: Rows) -> list[dict[str, Any]]:
    """How generated pictures look beside real ones: one line for each quantity, split and size."""
    rows = []
    for cell in cells:
        pictures = [run["pictures"] for run in cell.get("fidelity", {}).values()]
        where = {"split": cell["split"], "n": cell["size"], "runs": len(pictures)}
        for name, label in DISTANCES.items():
            if found := [held["distances"][name] for held in pictures if name in held["distances"]]:
                values = {"generated": spread([d["generated"] for d in found])}
                values["halves of real patches"] = spread([d["patches"]["median"] for d in found])
                values["other micrographs"] = spread([d["micrographs"]["median"] for d in found])
                rows.append({"quantity": label} | where | values)
        for name in dict.fromkeys(name for held in pictures for name in held["contrast"]):
            ratios = [held["contrast"][name]["inside"]["ratio"] for held in pictures]
            rows.append({"quantity": f"contrast {name} over that of real ones"} | where | {"generated": spread(ratios)})
    return rows


DISTANCES = {
    "spectrum": "difference of the log power spectrum",
    "grey": "distance of grey levels",
    "lines": "scan lines, difference of log power",
    "kid": "KID, in the judges' features",
}


def markdown_table(rows: Rows) -> str:
    """Rows as a Markdown table; a column for every key that any row has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns), *([shown(row.get(c, "")) for c in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def published_rows(cells: Rows, micrographs: int) -> int:
    """How many rows a dataset repository of the study has: of micrographs, patches, masks and all kinds of pairs."""
    patches = sum(counts["patches"] for cell in cells for counts in cell["patches"].values())
    pairs = [run["adherence"]["generated"]["pairs"] for cell in cells for run in cell.get("fidelity", {}).values()]
    painted = [run for cell in cells for run in cell.get("paint", {}).values()]
    masks = sum(pairs) or sum(run["masks"] for run in painted)
    return micrographs + patches + masks + sum(pairs) + sum(run["patches"] for run in painted)


def size_category(rows: int) -> str:
    """The Hub's `size_categories` of so many rows."""
    bounds = [(10**k, f"{10 ** (k % 3)}{'KMBT'[k // 3 - 1]}") for k in range(3, 13)]
    if rows < bounds[0][0]:
        return f"n<{bounds[0][1]}"
    for (_, low), (most, high) in itertools.pairwise(bounds):
        if rows < most:
            return f"{low}<n<{high}"
    return f"n>{bounds[-1][1]}"
