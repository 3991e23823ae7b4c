"""Where a project keeps what its stages make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROLES = ("train", "validation", "test")
ALL = "all"
MICROGRAPHS = Path("data/micrographs")
RESULTS = Path("results")
SPLIT_TABLE = RESULTS / "splits.csv"
CARDS = Path("cards/rendered")


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
