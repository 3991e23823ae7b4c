"""Paint a micrograph on every drawn mask."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.places import Cell
from tem_data.diffusion.settings import GenerationSettings
from tem_data.diffusion.steps import generate_dataset


def main(cell: Cell, settings: GenerationSettings) -> None:
    masks, ldm = cell.folder / "masks", cell.folder / "ldm"
    generate_dataset(ldm, masks, cell.folder / "pairs" / "exp_gen", settings, cell.seed)


if __name__ == "__main__":
    stage(main)
