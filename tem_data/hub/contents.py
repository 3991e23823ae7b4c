"""The files of a project that are published as a dataset, a latent diffusion model or a detector."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tem_data.core.errors import TemDataError
from tem_data.core.places import CARDS, MICROGRAPHS, ROLES, SPLIT_TABLE, Cell
from tem_data.core.schema import read_classes
from tem_data.core.settings import SettingsFile
from tem_data.download.manifest import PROVENANCE, README
from tem_data.splits.table import members, read_splits
from tem_data.study.arms import ARMS, StudySettings

INDEX = f"{PROVENANCE}/rows.parquet"
DETECTOR_FILES = ("config.json", "config.yaml", "model.safetensors", "scores.json")
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
FIRST_RUN = 1

FIGURES = {
    "sheet": "Real micrographs, and generated ones with the requested masks",
    "contrast": "Local contrast of defects, generated and real",
    "spectra": "Radial power spectrum, generated and real",
    "grey": "Grey levels, generated and real",
    "copies": "The generated pictures that are nearest to a training patch, with that patch",
}


@dataclass
class Contents:
    """What a version consists of, but for its card, index of rows and manifest.

    `files` and `places` are by the path in the repository: the local file, and where
    it lies in the project, if pulling is to put it there. `texts` are small files of
    the project by place. `outs` are the outputs of DVC stages that pulling brings
    back, `shown` those that only the card shows. `groups` are the Parquet shards by
    the folder that names them in the index of rows; `head` is of the card's metadata,
    `figures` captions of pictures by their path, `card` the rendered card, `about`
    which model of the study this is.
    """

    kind: str
    card: Path
    about: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    outs: list[Path] = field(default_factory=list)
    shown: list[Path] = field(default_factory=lambda: [CARDS])
    groups: dict[str, list[Path]] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)

    def add(self, project: Path, place: Path, path: str) -> None:
        """A file of the project under `path`, to be pulled back into its place. Raises TemDataError if it is absent."""
        if not (project / place).is_file():
            raise TemDataError(f"{project / place}: no such file; run `dvc repro` to its end before you publish")
        if place.suffix in PICKLES:
            raise TemDataError(f"{project / place}: pickled weights are never published; save them as safetensors")
        self.files[path], self.places[path] = project / place, place.as_posix()

    def add_rows(self, project: Path, folder: Path, group: str) -> None:
        """The shards of a dataset folder, each under its own name in `group`."""
        if not (shards := sorted((project / folder / "data").glob("*.parquet"))):
            raise TemDataError(f"{project / folder}: no dataset; run `dvc repro` to its end before you publish")
        for shard in shards:
            self.add(project, folder / "data" / shard.name, f"{group}/{shard.name}")
        self.groups[group] = shards
        self.outs.append(folder)
        read_classes(project / folder)
        self.texts[(folder / README).as_posix()] = (project / folder / README).read_text(encoding="utf-8")

    def add_figure(self, project: Path, place: Path, caption: str) -> None:
        """A picture for the card, where there is one: profiles differ in what they draw."""
        if (project / place).is_file():
            path = "assets/" + "-".join(place.parts[1:])
            self.files[path], self.figures[caption] = project / place, path
            self.shown.append(place.parent)


def dataset_contents(project: str | os.PathLike, params: Mapping[str, Any]) -> Contents:
    """The experimental micrographs, patches, simulated masks and generated pairs of all cells of the study."""
    project = Path(project)
    contents = Contents("dataset", project / CARDS / "dataset.md")
    study = SettingsFile(params).read(StudySettings)
    table = read_splits(project / SPLIT_TABLE)
    contents.add_rows(project, MICROGRAPHS, "experimental")
    contents.add(project, SPLIT_TABLE, "tables/splits.csv")
    contents.outs.append(SPLIT_TABLE)
    shard_of = _shard_of_micrograph(contents.groups["experimental"])
    configs = [_named("experimental", members(table, study.every_run[0].split, "all"), shard_of) | {"default": True}]
    masks = []
    for cell in study.every_run:
        name = cell_name(cell)
        if cell.run == study.runs[0]:
            roles = members(table, cell.split, cell.size)
            configs.append(_named(f"experimental-{name_of(cell.size, cell.split)}", roles, shard_of))
            configs.append(_patches(contents, project, cell))
        if study.models:
            masks.append(_masks(contents, project, cell))
        if study.generated:
            configs.append(_synthetic(contents, project, cell, "exp_gen", f"synthetic-{name}"))
        if study.painted:
            configs.append(_synthetic(contents, project, cell, "exp_paint", f"synthetic-{name}-painted"))
    if masks:
        configs.append({"config_name": "simulated-masks", "data_files": masks})
    classes = read_classes(project / MICROGRAPHS)
    contents.head = {
        "configs": configs,
        "tem_data": {"classes": list(classes.names), "ignored": list(classes.ignored)},
    }
    return contents


def ldm_contents(project: str | os.PathLike, cell: Cell) -> Contents:
    """The diffusers pipeline of one run, with the figures of its fidelity report."""
    project = Path(project)
    contents = Contents("ldm", project / CARDS / "ldm.md", _about(cell))
    _add_folder(contents, project, cell.folder / "ldm")
    for name, caption in FIGURES.items():
        contents.add_figure(project, cell.folder / "fidelity" / f"{name}.png", caption)
    return contents


def detector_contents(project: str | os.PathLike, cell: Cell, arm: str) -> Contents:
    """The Mask R-CNN of one run and arm."""
    project = Path(project)
    contents = Contents("detector", project / CARDS / "detector.md", f"{_about(cell)}, {ARMS[arm]}")
    for name in DETECTOR_FILES:
        contents.add(project, cell.folder / arm / name, name)
        contents.outs.append(cell.folder / arm / name)
    contents.add_figure(project, cell.folder / "figures" / "confusion.png", "Truths and predictions by class")
    return contents


def name_of(size: int | str, split: int) -> str:
    return f"n{size}-split{split}"


def cell_name(cell: Cell) -> str:
    """`n10-split1`; of later runs `n10-split1-run2`."""
    return name_of(cell.size, cell.split) + ("" if cell.run == FIRST_RUN else f"-run{cell.run}")


def _about(cell: Cell) -> str:
    return f"split {cell.split}, n = {cell.size}, run {cell.run}"


def _shard_of_micrograph(shards: Sequence[Path]) -> dict[str, str]:
    from pyarrow import ArrowInvalid, parquet

    shard_of = {}
    for shard in shards:
        try:
            (name,) = parquet.read_table(shard, columns=["micrograph_id"])["micrograph_id"].to_pylist()
        except (ArrowInvalid, ValueError) as error:
            raise TemDataError(f"{shard}: expected one whole micrograph; run `dvc repro import` again") from error
        shard_of[name] = f"experimental/{shard.name}"
    return shard_of


def _named(config: str, roles: Mapping[str, Sequence[str]], shard_of: Mapping[str, str]) -> dict[str, Any]:
    if absent := [name for names in roles.values() for name in names if name not in shard_of]:
        raise TemDataError(f"{SPLIT_TABLE} names {absent[0]!r}, which {MICROGRAPHS} does not hold; run `dvc repro`")
    files = [{"split": role, "path": [shard_of[name] for name in names]} for role, names in roles.items() if names]
    return {"config_name": config, "data_files": files}


def _patches(contents: Contents, project: Path, cell: Cell) -> dict[str, Any]:
    group = f"patches-{name_of(cell.size, cell.split)}"
    contents.add_rows(project, cell.data / "patches", group)
    return {"config_name": group, "data_files": [_glob(role, group) for role in ROLES]}


def _synthetic(contents: Contents, project: Path, cell: Cell, arm: str, config: str) -> dict[str, Any]:
    contents.add_rows(project, cell.folder / "pairs" / arm, config)
    patches = f"patches-{name_of(cell.size, cell.split)}"
    return {"config_name": config, "data_files": [_glob("train", config), *(_glob(r, patches) for r in ROLES[1:])]}


def _masks(contents: Contents, project: Path, cell: Cell) -> dict[str, str]:
    name = cell_name(cell)
    contents.add_rows(project, cell.folder / "masks", f"simulated-masks/{name}")
    shapes = f"shapes/{name_of(cell.size, cell.split)}.json"
    if shapes not in contents.files:
        contents.add(project, cell.data / "shapes.json", shapes)
        contents.outs.append(cell.data / "shapes.json")
    histograms = cell.folder / "masks_compared" / "histograms.png"
    contents.add_figure(project, histograms, f"Simulated and experimental masks, {_about(cell)}")
    return {"split": name.replace("-", "_"), "path": f"simulated-masks/{name}/train-*.parquet"}


def _glob(role: str, group: str) -> dict[str, str]:
    return {"split": role, "path": f"{group}/{role}-*.parquet"}


def _add_folder(contents: Contents, project: Path, folder: Path) -> None:
    files = sorted(path for path in (project / folder).rglob("*") if path.is_file())
    if not files:
        raise TemDataError(f"{project / folder}: no model; run `dvc repro` to its end before you publish")
    for path in files:
        place = path.relative_to(project)
        contents.add(project, place, place.relative_to(folder).as_posix())
    contents.outs.append(folder)
