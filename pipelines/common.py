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
from tem_data.splits import ALL
from tem_data.study import check_arms

MICROGRAPHS = Path("data/micrographs")
RESULTS = Path("results")
SPLITS = RESULTS / "splits.csv"


@dataclass(frozen=True)
class Cell:
    """One split and training size, and one independent run of it.

    Datasets and models, which DVC keeps, lie in `data` and `folder`; tables and
    figures, which git keeps, in `data_results` and `results`. An arm has a
    folder of its own within `folder`, `results`, `folder / "pairs"` (what it adds
    to the experimental patches) and `folder / "found"` (on test micrographs).
    """

    split: int
    size: int | str
    run: int = 0

    @property
    def data(self) -> Path:
        return Path("data", f"{self.split}-{self.size}")

    @property
    def folder(self) -> Path:
        return Path("runs", f"{self.split}-{self.size}-{self.run}")

    @property
    def data_results(self) -> Path:
        return RESULTS / "cells" / self.data.name

    @property
    def results(self) -> Path:
        return RESULTS / "runs" / self.folder.name

    @property
    def seed(self) -> int:
        """Independent runs differ in everything that is drawn; so do splits and sizes."""
        return self.run * 1_000_000 + self.split * 10_000 + (0 if self.size == ALL else self.size)


def read_params() -> dict[str, Any]:
    params = yaml.safe_load(Path("params.yaml").read_text())
    check_arms(params["study"])
    return params


def parse_cell(*names: str) -> argparse.Namespace:
    """The command line of a stage under `matrix`: `--split`, `--size`, and `--run` and `--arm` where they are named."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(f"--{name}", type={"arm": str, "size": _size}.get(name, int), required=True)
    return parser.parse_args()


def _size(text: str) -> int | str:
    return text if text == ALL else int(text)


def stage(main: Callable[[], None]) -> None:
    """Runs a stage; an error that its user can mend is one line."""
    try:
        main()
    except TemDataError as error:
        sys.exit(f"error: {error}")
