"""Paste experimental defects onto experimental patches: the control that generated pairs are measured against."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.places import Cell
from tem_data.patches.settings import CopyPasteSettings
from tem_data.patches.steps import copy_paste_dataset


def main(cell: Cell, settings: CopyPasteSettings) -> None:
    copy_paste_dataset(cell.data / "patches", cell.folder / "pairs" / "exp_copypaste", settings, cell.seed)


if __name__ == "__main__":
    stage(main)
