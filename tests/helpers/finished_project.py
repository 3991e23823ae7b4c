"""A small project as `dvc repro` leaves it, without what made it, and what tests of publishing do with it."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from dvc.repo import Repo
from huggingface_hub import HfApi

from tem_data.core.files import write_json, write_table
from tem_data.core.micrograph import Micrograph, defect_from_ellipse
from tem_data.core.places import CARDS, MICROGRAPHS, SPLIT_TABLE, Cell
from tem_data.core.schema import Classes, write_dataset, write_micrographs
from tem_data.hub.contents import DETECTOR_FILES, dataset_contents
from tem_data.hub.publishing import Plan, plan_version, publish

REPO = "org/defects"
CELL = Cell(1, 4, 1)
CLASSES = Classes(("111", "bdot"), ("ambiguous",))
ROLES = ("train",) * 4 + ("validation",) + ("test",) * 2
STUDY = {
    "cells": ["1-4"],
    "runs": [1],
    "arms": ["exp", "exp_gen", "exp_paint"],
    "added": ["exp_gen", "exp_paint"],
    "models": ["ldm"],
    "generated": ["exp_gen"],
    "painted": ["exp_paint"],
    "copy_paste": [],
}
PARAMS = {
    "profile": "toy",
    "study": STUDY,
    "import": {"source": "builtin"},
    "cards": {"license": None, "dataset": None},
}
CARD = "---\ntags:\n- tem\n---\n\n# A {kind}\n\nF1_HM 0.5.\n\n<!-- figures -->\n\n<!-- version --><!-- /version -->\n"
ON_VALIDATION = {"micrographs": 1, "f1_detect": 0.6, "f1_class": 0.5, "f1_hm": 0.545, "by_class": {}}
SCORES = {"threshold": 0.3, "validation": ON_VALIDATION}
OUTS = {
    "import": [MICROGRAPHS],
    "split": [SPLIT_TABLE],
    "patch": [CELL.data / "patches"],
    "fit_shapes": [CELL.data / "shapes.json"],
    "sample_masks": [CELL.folder / "masks"],
    "generate": [CELL.folder / "pairs/exp_gen"],
    "paint": [CELL.folder / "pairs/exp_paint"],
    "cards": [CARDS],
}


def picture(name: str, look: int, side: int = 32, **rest) -> Micrograph:
    rng = np.random.default_rng(look)
    image = rng.integers(90, 160, (side, side), dtype=np.uint8)
    shapes = [(*rng.uniform(8, side - 8, 2), *rng.uniform(5, 9, 2), rng.uniform(0, 180)) for _ in CLASSES.labels]
    drawn = [
        defect_from_ellipse(label, *shape, image.shape) for label, shape in zip(CLASSES.labels, shapes, strict=True)
    ]
    defects = tuple(replace(d, ignore=d.category in CLASSES.ignored) for d in drawn if d is not None)
    return Micrograph(name, image, defects, image.shape, nm_per_px=0.5, scene=f"scene-{name}", **rest)


def finished_project(folder: Path, pairs: int = 6, source: str = "builtin", side: int = 32) -> Path:
    """A git and DVC project with the data of one cell, committed."""
    micrographs = [picture(f"m{i}", i, 48, origin="exp" if source != "builtin" else "builtin") for i in range(7)]
    write_micrographs(folder / MICROGRAPHS, micrographs, CLASSES, "Whole micrographs.")
    write_table(
        folder / SPLIT_TABLE,
        [
            {"micrograph_id": m.micrograph_id, "scene": m.scene, "split1_role": role, "split1_rank": rank}
            for rank, (m, role) in enumerate(zip(micrographs, ROLES, strict=True), 1)
        ],
        ["micrograph_id", "scene", "split1_role", "split1_rank"],
    )
    patches = {role: [picture(m.micrograph_id, 10 + i) for i, m in enumerate(micrographs[:2])] for role in set(ROLES)}
    write_dataset(folder / CELL.data / "patches", patches, CLASSES, "Patches of 32 px.")
    write_json(folder / CELL.data / "shapes.json", {"classes": list(CLASSES.names)})
    write_pairs(folder, range(pairs), side)
    for kind in ("dataset", "ldm", "detector"):
        path = folder / CARDS / f"{kind}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CARD.format(kind=kind))
    params = PARAMS | {"import": {"source": source}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    _write_stages(folder, OUTS)
    (folder / ".gitignore").write_text("/data/\n/runs/\n")
    git(folder, "init", "-q", "-b", "main")
    Repo.init(str(folder)).close()
    commit(folder)
    return folder


def write_pairs(folder: Path, seeds: Sequence[int], side: int = 32) -> None:
    """Masks, generated pairs and painted patches, one for each seed."""
    pairs = [picture(f"sim-{seed}", 100 + seed, side, origin="gen", seed=seed, checkpoint="c0ffee") for seed in seeds]
    masks = [replace(pair, image=None, origin="sim", checkpoint="") for pair in pairs]
    write_dataset(folder / CELL.folder / "masks", {"train": masks}, CLASSES, "Simulated masks (SIM).")
    write_dataset(folder / CELL.folder / "pairs/exp_gen", {"train": pairs}, CLASSES, "Generated pairs (GEN).")
    painted = [replace(pair, origin="paint") for pair in pairs]
    write_dataset(folder / CELL.folder / "pairs/exp_paint", {"train": painted}, CLASSES, "Painted patches.")


def add_models(folder: Path) -> None:
    """A diffusion model and a detector, neither of them trained."""
    from tests.detection.test_detection import SHORT
    from tests.helpers import toy_detector, toy_ldm

    ldm, detector = CELL.folder / "ldm", CELL.folder / "exp_gen"
    toy_ldm.untrained().save_pretrained(folder / ldm)
    toy_detector.untrained(SHORT, CLASSES.names).save_pretrained(folder / detector)
    write_json(folder / detector / "scores.json", SCORES)
    trained = [detector / name for name in DETECTOR_FILES if name != "scores.json"]
    stages = {"train_ldm": [ldm], "train_detector": trained, "evaluate": [detector / "scores.json"]}
    _write_stages(folder, OUTS | stages)
    commit(folder)


def commit(folder: Path) -> None:
    """Record in dvc.lock and git what lies there, as after `dvc repro`."""
    with chdir(folder), Repo() as repo:
        repo.commit(force=True)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "A run")


def git(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *who, *command], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def plan(project: Path, work: Path, name: str = REPO, **options) -> Plan:
    work.mkdir(exist_ok=True)
    params = yaml.safe_load((project / "params.yaml").read_text())
    return plan_version(name, dataset_contents(project, params), params, project, work, **options)


def published(project: Path, work: Path, **options) -> str:
    """Publishes what is there; the version."""
    planned = plan(project, work, **options)
    publish(planned)
    return str(planned.version)


def upload(path: str, content: bytes = b"mine") -> None:
    HfApi().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=REPO, repo_type="dataset")


def clone(project: Path, folder: Path) -> Path:
    """A clone of the project, without what DVC keeps."""
    git(project, "clone", "-q", str(project), str(folder))
    return folder


def _write_stages(folder: Path, outs_of: Mapping[str, Sequence[Path]]) -> None:
    stages = {name: _stage(outs) for name, outs in outs_of.items()}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


def _stage(outs: Sequence[Path]) -> dict:
    stage = {
        "cmd": "true",
        "params": ["profile"],
        "outs": [{str(out): {"cache": out not in (SPLIT_TABLE, CARDS)}} for out in outs],
    }
    return stage if MICROGRAPHS in outs else stage | {"deps": [str(MICROGRAPHS)]}
