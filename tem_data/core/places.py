"""Where a project keeps what its stages make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tem_data.core.errors import TemDataError

ROLES = ("train", "validation", "test")
ALL = "all"
MICROGRAPHS = Path("data/micrographs")
IMPORT_SHEET = Path("runs/import.html")
RESULTS = Path("results")
SPLIT_TABLE = RESULTS / "splits.csv"
CARDS = Path("cards/rendered")


def training_size(text: str) -> int | str:
    """The number of training and validation micrographs, or `all`. Raises TemDataError for any other text."""
    if text != ALL and not text.isdecimal():
        raise TemDataError(f"training size {text!r}: expected a number of micrographs, or {ALL}")
    return ALL if text == ALL else int(text)


@dataclass(frozen=True)
class Cell:
    """One split and training size (`1-10`), and one independent run of it (`1-10-1`).

    Datasets and models, which DVC keeps, lie in `data` and `folder`; tables and
    figures, which git keeps, in `data_results` and `results`. An arm has a
    folder of its own within `folder`, `results`, `folder / "pairs"` (what it adds
    to the experimental patches) and `folder / "found"` (on test micrographs).
    """

    split: int
    size: int | str
    run: int = 0

    @classmethod
    def named(cls, key: str) -> Cell:
        """The cell `SPLIT-SIZE`, or the run `SPLIT-SIZE-RUN` of it. Raises TemDataError for any other text."""
        parts = re.fullmatch(r"(\d+)-(\d+|all)(?:-(\d+))?", key)
        if not parts:
            raise TemDataError(f"{key!r}: expected a cell (split-size, 1-10) or a run of it (split-size-run, 1-10-1)")
        split, size, run = parts.groups()
        return cls(int(split), training_size(size), int(run or 0))

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
        return self.run * 1_000_000 + self.split * 10_000 + (0 if self.size == ALL else int(self.size))
