"""What every stage needs: its parameters, the places of its cell, and an end for errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tem_data.errors import TemDataError
from tem_data.importing import classes_of
from tem_data.schema import Classes

MICROGRAPHS = Path("data/micrographs")
RESULTS = Path("results")
SPLITS = RESULTS / "splits.csv"


@dataclass(frozen=True)
class Cell:
    """One split and training size, and one independent run of it.

    Datasets and models, which DVC keeps, lie in `data` and `folder`; tables and
    figures, which git keeps, in `data_results` and `results`.
    """

    split: int
    size: int
    run: int = 0

    @property
    def data(self) -> Path:
        return Path("data", f"{self.split}-{self.size}")

    @property
    def folder(self) -> Path:
        return Path("runs", f"{self.split}-{self.size}-{self.run}")

    @property
    def data_results(self) -> Path:
        return RESULTS / self.data.name

    @property
    def results(self) -> Path:
        return RESULTS / self.folder.name

    @property
    def seed(self) -> int:
        """Independent runs differ in everything that is drawn; so do splits and sizes."""
        return self.run * 1_000_000 + self.split * 10_000 + self.size


def read_params() -> dict[str, Any]:
    return yaml.safe_load(Path("params.yaml").read_text())


def classes_in_force(params: dict[str, Any]) -> Classes:
    return classes_of(params)


def parse_cell(*names: str) -> argparse.Namespace:
    """The command line of a stage under `matrix`: `--split`, `--size`, and `--run` and `--arm` where they are named."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(f"--{name}", type=str if name == "arm" else int, required=True)
    return parser.parse_args()


def stage(main: Callable[[], None]) -> None:
    """Runs a stage; an error that its user can mend is one line."""
    try:
        main()
    except TemDataError as error:
        sys.exit(f"error: {error}")
