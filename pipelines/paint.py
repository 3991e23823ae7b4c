"""Paint new defects into experimental patches, where these have room, and keep those that judges confirm."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import write_json
from tem_data.core.places import Cell
from tem_data.diffusion.settings import GenerationSettings
from tem_data.painting.settings import PaintSettings
from tem_data.painting.steps import paint_dataset


def main(cell: Cell, settings: PaintSettings, generation: GenerationSettings) -> None:
    sources = cell.folder / "ldm", cell.data / "patches", cell.folder / "masks"
    pairs, judges = cell.folder / "pairs" / "exp_paint", cell.data / "judges"
    report = paint_dataset(*sources, pairs, settings, generation, cell.seed, judges)
    write_json(cell.results / "paint.json", report)


if __name__ == "__main__":
    stage(main)
