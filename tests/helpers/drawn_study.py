"""A study whose metrics are all drawn at random, so that no number is another's by nature: what cards are tested on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tem_data.cards import render_cards
from tem_data.core.files import write_json, write_table
from tem_data.core.places import Cell
from tem_data.study.arms import ARMS

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("loop", "dot")
TEMPLATES = ROOT / "cards/templates"
ADDED = {"added": [*ARMS][1:], "models": ["ldm"], "generated": ["exp_gen"]}
ADDED |= {"painted": ["exp_paint"], "copy_paste": ["exp_copypaste"]}


def draw_study(results: Path, seed: int, runs: int = 3, **cards: str) -> dict[str, Any]:
    """The metrics of 2 splits × 2 sizes × `runs` × all arms, drawn as well; returns params.yaml of it."""
    rng = np.random.default_rng(seed)
    params = drawn_params(rng, runs) | {"cards": cards}
    study = params["study"]
    for key in study["cells"]:
        cell = results / "cells" / key
        write_json(cell / "patches.json", {role: drawn_role(rng) for role in ("train", "validation", "test")})
        write_json(cell / "autoencoder.json", {"validation_psnr_db": rng.uniform(20, 40)})
        for run in study["runs"]:
            draw_run(results / "runs" / f"{key}-{run}", rng)
    draw_gains(results / "study/gains.csv", study, rng)
    imported = {name: count(rng) for name in ("micrographs", "scenes", "uncalibrated")}
    imported |= {"quarantine": {"clipped": count(rng), "no axes": count(rng)}, "defects": by_class(rng, count)}
    write_json(results / "import.json", imported)
    leaks = {f"by_single_images_{k}": {"test_micrographs_seen": count(rng)} for k in (1, 2)}
    leaks["by_single_images_1"]["test_micrographs"] = count(rng)
    write_json(results / "leaks.json", leaks)
    return params


def render(results: Path, params: dict[str, Any], templates: Path = TEMPLATES) -> dict[str, str]:
    """The cards of a drawn study, whose params are a profile of their own."""
    conf = results / "conf"
    (conf / "profile").mkdir(parents=True, exist_ok=True)
    (conf / "config.yaml").write_text(yaml.safe_dump({"defaults": ["_self_", {"profile": "quick"}]}))
    (conf / "profile/quick.yaml").write_text("# @package _global_\n" + yaml.safe_dump(params))
    return render_cards(results, templates, params, conf)


def drawn_params(rng: np.random.Generator, runs: int) -> dict[str, Any]:
    params = copy.deepcopy(yaml.safe_load((ROOT / "params.yaml").read_text()))
    numbers = ([int(k) for k in rng.choice(np.arange(2, 90), n, replace=False)] for n in (2, 2, runs))
    splits, sizes, numbered = numbers
    cells = [f"{split}-{size}" for split in splits for size in sizes]
    params["study"] = {"cells": cells, "runs": numbered, "arms": [*ARMS]} | ADDED
    params["profile"] = "quick"
    params["import"] |= {"source": "builtin", "classes": {name: [name] for name in CLASSES}}
    params["import"]["ignored"] = {"unsure": ["unsure"]}
    params["evaluate"]["iou"] = round(share(rng), 4)
    params["patch"]["size"] = count(rng)
    return params


def count(rng: np.random.Generator) -> int:
    return int(rng.integers(100_000, 1_000_000))


def share(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.1, 0.9))


def by_class(rng: np.random.Generator, draw: Callable[[np.random.Generator], float]) -> dict[str, float]:
    return {name: draw(rng) for name in CLASSES}


def drawn_role(rng: np.random.Generator) -> dict[str, Any]:
    return {"micrographs": count(rng), "patches": count(rng), "defects": by_class(rng, count)}


def draw_run(folder: Path, rng: np.random.Generator) -> None:
    for arm in ARMS:
        names = ("f1_hm", "f1_detect", "f1_class", "precision", "recall", "threshold_from_validation", "ap")
        scores = {name: round(share(rng), 5) for name in names} | {"f1_by_class": by_class(rng, share)}
        scores |= {"interval": {"f1_hm": [share(rng), share(rng)]}, "best_on_test": {"f1_hm": share(rng)}}
        write_json(folder / arm / "metrics.json", scores)
    auc = {"auc": share(rng), "real_interval": [share(rng), share(rng)]}
    counts = {name: count(rng) for name in ("inside", "distances", "repeats")}
    write_json(folder / "masks.json", counts | {"outside": ["loop major ks"], "classifier": auc})
    pictures = {"distances": {name: drawn_distance(rng) for name in ("spectrum", "grey", "lines", "kid")}}
    pictures["contrast"] = {name: {"inside": {"ratio": share(rng)}} for name in CLASSES}
    pictures["memorisation"] = {kind: {"ratio_median": share(rng)} for kind in ("generated", "real")}
    judged = {kind: {"f1_hm": share(rng), "pairs": count(rng)} for kind in ("real", "reconstructed", "generated")}
    write_json(folder / "fidelity.json", {"adherence": judged, "pictures": pictures})
    placed = {name: {"requested": 10 * count(rng), "kept": count(rng)} for name in CLASSES}
    write_json(folder / "paint.json", {"masks": count(rng), "patches": count(rng), "defects": placed})


def drawn_distance(rng: np.random.Generator) -> dict[str, Any]:
    return {"generated": share(rng), "patches": {"median": share(rng)}, "micrographs": {"median": share(rng)}}


def draw_gains(path: Path, study: dict[str, Any], rng: np.random.Generator) -> None:
    columns = ("baseline_mean", "baseline_sd", "arm_mean", "arm_sd", "gain_mean", "gain_sd", "t", "p")
    columns += ("gain_low", "gain_high", "possible_share", "runs_needed")
    rows = [
        {"split": split, "size": size, "baseline": "EXP", "arm": ARMS[arm], "score": score, "pairs": len(study["runs"])}
        | {name: rng.uniform(-0.9, 0.9) for name in columns}
        for size in dict.fromkeys(Cell.named(key).size for key in study["cells"])
        for split in ("all", *dict.fromkeys(Cell.named(key).split for key in study["cells"]))
        for arm in study["added"]
        for score in ("f1_hm", "f1_detect", "f1_class")
    ]
    write_table(path, rows, list(rows[0]))
