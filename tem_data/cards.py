"""Model and dataset cards, every number of which is read from a metrics file."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import DatasetCardData, EvalResult, ModelCardData

from tem_data import report
from tem_data.errors import TemDataError
from tem_data.figures import F1_NAMES
from tem_data.files import read_json, read_numbers
from tem_data.study import ARMS
from tem_data.study_report import gain_table

MOST_NAMED = 6


def read_study(results: str | os.PathLike, study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry for each split and size: its counts, its autoencoder, and of each run metrics, masks and pictures.

    The metrics of a run are by arm.

    Raises TemDataError where a run has no metrics yet.
    """
    cells = []
    for split in study["splits"]:
        for size in study["sizes"]:
            folder = Path(results, "cells", f"{split}-{size}")
            entry = {"split": split, "size": size, "patches": read_json(folder / "patches.json"), "runs": []}
            if study["generated"]:
                entry["autoencoder"] = read_json(folder / "autoencoder.json")
                of_run = {run: Path(results, "runs", f"{split}-{size}-{run}") for run in study["runs"]}
                entry["masks"] = {run: read_json(held / "masks.json") for run, held in of_run.items()}
                entry["fidelity"] = {run: read_json(held / "fidelity.json") for run, held in of_run.items()}
                if study["filtered"]:
                    entry["filter"] = {run: read_json(held / "filter.json") for run, held in of_run.items()}
            for run in study["runs"]:
                paths = {
                    arm: Path(results, "runs", f"{split}-{size}-{run}", arm, "metrics.json") for arm in study["arms"]
                }
                for path in paths.values():
                    if not path.is_file():
                        raise TemDataError(f"{path} is missing; run `dvc repro` to its end first")
                entry["runs"].append({arm: read_json(path) for arm, path in paths.items()})
            cells.append(entry)
    return cells


def spread(values: Sequence[float]) -> str:
    """`mean ± standard deviation` to three places; the mean alone of a single value."""
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.3f}"


def score_rows(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the score table: split, size, arm, number of runs, and each score with its spread."""
    rows = []
    for cell in cells:
        for arm in cell["runs"][0]:
            runs = [run[arm] for run in cell["runs"]]
            row = {"split": cell["split"], "n": cell["size"], "arm": ARMS[arm], "runs": len(runs)}
            row |= {label: spread([run[key] for run in runs]) for key, label in F1_NAMES.items()}
            for category in dict.fromkeys(name for run in runs for name in run["f1_by_class"]):
                found = [run["f1_by_class"][category] for run in runs if category in run["f1_by_class"]]
                row[f"F1 {category}"] = spread(found)
            if all(run["ap"] is not None for run in runs):
                row["AP"] = spread([run["ap"] for run in runs])
            row["best on test"] = spread([run["best_on_test"]["f1_hm"] for run in runs])
            rows.append(row)
    return rows


def mask_rows(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
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


def fidelity_rows(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line a run: adherence, texture, contrast and memorisation of its generated pictures, and pairs kept."""
    rows = []
    for cell in cells:
        for run, summary in cell.get("fidelity", {}).items():
            scores, pictures = summary["adherence"], summary["pictures"]
            row = {"split": cell["split"], "n": cell["size"], "run": run}
            row |= {f"F1_HM {kind}": held["f1_hm"] for kind, held in scores.items()}
            for name in ("spectrum", "grey"):
                distance = pictures["distances"][name]
                row |= {name: distance["generated"], f"{name}, halves of real": distance["patches"]["median"]}
            row |= {f"contrast {name}": kinds["inside"]["ratio"] for name, kinds in pictures["contrast"].items()}
            copied = pictures["memorisation"]
            row["memorisation ratio"] = copied and copied["generated"]["ratio_median"]
            row["of real patches"] = copied and copied["real"] and copied["real"]["ratio_median"]
            if kept := cell.get("filter", {}).get(run):
                row |= {"pairs": kept["pairs"]["all"], "kept by the filter": kept["pairs"]["kept"]}
            rows.append(row)
    return rows


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; a column for every key that any row has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns), *([report.cell(row.get(c, "")) for c in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render_cards(results: str | os.PathLike, templates: str | os.PathLike, params: Mapping[str, Any]) -> dict[str, str]:
    """The text of each card by file name, from the metrics in `results` and the settings of `params.yaml`."""
    study, settings, profile = params["study"], params["cards"], params["profile"]
    simulated = params["import"]["source"] == "builtin"
    cells = read_study(results, study)
    names = ("split", "size", "baseline", "arm", "score")
    gained = gain_table(read_numbers(Path(results, "study", "gains.csv"), names))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    content = {
        "profile": profile,
        "simulated": simulated,
        "generated": bool(study["generated"]),
        "rule": params["evaluate"],
        "import_report": read_json(Path(results, "import.json")),
        "leaks": read_json(Path(results, "leaks.json")),
        "cells": cells,
        "scores": markdown_table(score_rows(cells)),
        "masks": markdown_table(mask_rows(cells)),
        "fidelity": markdown_table(fidelity_rows(cells)),
        "gains": markdown_table(gained) if gained else "",
    }
    heads = {
        "dataset": DatasetCardData(
            license=settings["license"],
            task_categories=["object-detection", "image-segmentation"],
            tags=["microscopy", "tem", "defects"],
            pretty_name="TEM defects, experimental and generated" if not simulated else "TEM defects, simulated",
        ),
        "ldm": ModelCardData(
            license=settings["license"],
            library_name="diffusers",
            tags=["microscopy", "mask-to-image"],
            datasets=settings["dataset"],
        ),
        "detector": ModelCardData(
            license=settings["license"],
            library_name="detectron2",
            tags=["microscopy", "mask-rcnn"],
            datasets=settings["dataset"],
            model_name="Mask R-CNN",
            eval_results=_eval_results(cells, settings["dataset"] or profile),
        ),
    }
    if not study["generated"]:
        del heads["ldm"]
    return {
        f"{name}.md": environment.get_template(f"{name}.md.jinja").render(**content, head=head.to_yaml())
        for name, head in heads.items()
    }


def _eval_results(cells: Sequence[Mapping[str, Any]], dataset: str) -> list[EvalResult]:
    """The `model-index`: mean scores of each arm, split and size."""
    return [
        EvalResult(
            task_type="object-detection",
            dataset_type=dataset,
            dataset_name=f"{dataset}, split {cell['split']}, n = {cell['size']}, {ARMS[arm]}",
            dataset_config=f"split{cell['split']}-n{cell['size']}-{arm}",
            dataset_split="test",
            metric_type="f1",
            metric_name=label,
            metric_value=round(statistics.fmean(run[arm][key] for run in cell["runs"]), 4),
        )
        for cell in cells
        for arm in cell["runs"][0]
        for key, label in F1_NAMES.items()
    ]
