"""Cards rendered from templates: metadata and model-index by huggingface_hub, numbers from the metrics of a study."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCardData, RepoCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.repocard_data import eval_results_to_model_index
from huggingface_hub.utils import validate_repo_id

from tem_data.cards import tables
from tem_data.cards.published import INDEX, licence, markdown_templates, one_blank_line
from tem_data.cards.reproducing import command
from tem_data.cards.settings import CardSettings
from tem_data.core.files import read_json, read_table
from tem_data.core.settings import SettingsFile
from tem_data.figures import F1_NAMES
from tem_data.study.arms import ARMS
from tem_data.study.report import gain_table

BUILTIN = "builtin"
TAGS = ["electron-microscopy", "tem", "materials-science", "defects", "instance-segmentation"]
WITH_HEAD = "---\n{{ card_data }}\n---\n\n{{ body }}"


def render_cards(
    results: str | os.PathLike,
    templates: str | os.PathLike,
    params: Mapping[str, Any],
    conf: str | os.PathLike = "conf",
) -> dict[str, str]:
    """The text of each card by file name, from the metrics in `results` and all of params.yaml, composed from `conf`.

    Raises TemDataError where a run has no metrics yet, for an unknown key of `cards`, and as `command` does.
    """
    content = card_content(Path(results), params) | {"command": command(params, conf)}
    environment = markdown_templates(jinja2.FileSystemLoader(templates))
    environment.filters["counted"] = _counted
    cards = {}
    for kind, data in _heads(content, params["study"]["arms"]).items():
        body = environment.get_template(f"{kind}.md.jinja").render(**content, title=_title(kind, content))
        card = RepoCard.from_template(data, template_str=WITH_HEAD, body=one_blank_line(body))
        cards[f"{kind}.md"] = f"{card}\n"
    return cards


def card_content(results: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """What templates may name: tables in Markdown, what they are made of, and settings."""
    study = params["study"]
    cells, gains = tables.read_study(results, study), tables.read_gains(results)
    settings = SettingsFile(params).read(CardSettings)
    made = {
        "glance": tables.glance_rows(cells, gains),
        "scores": tables.score_rows(cells),
        "detectors": tables.detector_rows(cells),
        "gains": gain_table(gains),
        "masks": tables.mask_rows(cells),
        "fidelity": tables.fidelity_rows(cells),
        "textures": tables.texture_rows(cells),
        "painted_defects": tables.paint_rows(cells),
    }
    return {name: rows and tables.markdown_table(rows) for name, rows in made.items()} | {
        "cells": cells,
        "runs": len(study["runs"]),
        "generated": bool(study["generated"]),
        "painted": bool(study["painted"]),
        "models": bool(study["models"]),
        "simulated": params["import"]["source"] == BUILTIN,
        "source": params["import"]["source"],
        "classes": list(params["import"]["classes"]),
        "ignored": list(params["import"]["ignored"]),
        "patch_px": params["patch"]["size"],
        "profile": params["profile"],
        "rule": params["evaluate"],
        "settings": settings,
        "licence": licence(settings.license),
        "import_report": read_json(results / "import.json"),
        "leaks": read_json(results / "leaks.json"),
        "agreement": _agreement(results),
    }


def _agreement(results: Path) -> dict[str, Any] | None:
    """What `tem-data agree --json` found; None without it, or where it is of other micrographs than the study."""
    path = results / "agreement.json"
    if not path.is_file():
        return None
    found, ours = read_json(path), {row["micrograph_id"] for row in read_table(results / "splits.csv")}
    return found if ours & set(found["images"]) else None


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "nothing"


def _heads(content: Mapping[str, Any], arms: Sequence[str]) -> dict[str, CardData]:
    """The metadata of each card that the study has."""
    heads: dict[str, CardData] = {"dataset": _dataset_head(content)}
    if content["models"]:
        heads["ldm"] = _model_head(content, "diffusers", "image-to-image", ["mask-to-image", "diffusion"])
        results = _ldm_results(content)
        heads["ldm"][INDEX] = eval_results_to_model_index("Mask to micrograph", results)
    heads["detector"] = _model_head(content, "detectron2", "image-segmentation", ["mask-rcnn"])
    heads["detector"][INDEX] = []
    for arm in arms:
        results = _detector_results(content, arm)
        heads["detector"][INDEX] += eval_results_to_model_index(f"Mask R-CNN, {ARMS[arm]}", results)
    return heads


def _dataset_head(content: Mapping[str, Any]) -> DatasetCardData:
    settings, simulated = content["settings"], content["simulated"]
    rows = tables.published_rows(content["cells"], content["import_report"]["micrographs"])
    return DatasetCardData(
        license=settings.license,
        pretty_name=_title("dataset", content),
        task_categories=["object-detection", "image-segmentation"],
        task_ids=["instance-segmentation"],
        size_categories=[tables.size_category(rows)],
        annotations_creators=["machine-generated"] if simulated else None,
        source_datasets=["original"] if simulated else _hub_name(settings.source),
        tags=[*_tags(content), *(["synthetic"] if content["models"] else [])],
    )


def _hub_name(source: str | None) -> list[str] | None:
    """The metadata take datasets of the Hub alone; a DOI stands in the text."""
    try:
        name = source or ""
        validate_repo_id(name)
    except HFValidationError:
        return None
    return [name]


def _model_head(content: Mapping[str, Any], library: str, task: str, tags: Sequence[str]) -> ModelCardData:
    return ModelCardData(
        license=content["settings"].license,
        library_name=library,
        pipeline_tag=task,
        tags=[*_tags(content), *tags],
        datasets=content["settings"].dataset,
        metrics=["f1"],
    )


def _tags(content: Mapping[str, Any]) -> list[str]:
    return [*TAGS, *(["simulated"] if content["simulated"] else [])]


def _title(kind: str, content: Mapping[str, Any]) -> str:
    kinds = {"dataset": "Labelled micrographs", "ldm": "Micrographs from masks", "detector": "Mask R-CNN"}
    of = "simulated defects" if content["simulated"] else content["settings"].material or "defects in micrographs"
    with_pairs = ", with generated pairs" if kind == "dataset" and content["generated"] else ""
    return f"{kinds[kind]}: {of}{with_pairs}"


def _detector_results(content: Mapping[str, Any], arm: str) -> list[EvalResult]:
    """The scores on test micrographs of each split and size."""
    result = partial(_result, content, task="image-segmentation", split="test", model=f", {ARMS[arm]}")
    return [
        result(cell, metric="f1", label=label, values=[run[arm][key] for run in cell["runs"].values()])
        for cell in content["cells"]
        for key, label in F1_NAMES.items()
    ]


def _ldm_results(content: Mapping[str, Any]) -> list[EvalResult]:
    """How far judges find in generated pictures what was requested, and how far these are from real patches."""
    result, results = partial(_result, content, task="image-to-image", split="train"), []
    for cell in content["cells"]:
        if not (runs := cell.get("fidelity", {}).values()):
            continue
        f1 = [run["adherence"]["generated"]["f1_hm"] for run in runs]
        results.append(result(cell, metric="f1", label="F1_HM of judges", values=f1))
        kid = [run["pictures"]["distances"].get("kid", {}).get("generated") for run in runs]
        if None not in kid:
            results.append(result(cell, metric="kid", label="KID in the judges' features", values=kid))
    return results


def _result(
    content: Mapping[str, Any],
    cell: Mapping[str, Any],
    *,
    task: str,
    split: str,
    metric: str,
    label: str,
    values: Sequence[float],
    model: str = "",
) -> EvalResult:
    """The mean over runs; `published_card` finds the results of one model by `split …, n = …, ARM` in the name."""
    where = content["settings"].dataset or content["profile"]
    spread = {"standard_deviation": round(statistics.stdev(values), 4)} if len(values) > 1 else {}
    simulated = ", simulated" if content["simulated"] else ""
    return EvalResult(
        task_type=task,
        dataset_type=where,
        dataset_name=f"{where}{simulated}: split {cell['split']}, n = {cell['size']}{model}",
        dataset_config=f"patches-n{cell['size']}-split{cell['split']}",
        dataset_split=split,
        metric_type=metric,
        metric_name=label,
        metric_value=round(statistics.fmean(values), 4),
        metric_args={"runs": len(values)} | spread,
    )
