"""Draw the masks that the generated patches will be painted on."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.places import Cell
from tem_data.masks.settings import MaskSettings
from tem_data.masks.steps import sample_dataset
from tem_data.patches.settings import PatchSettings


def main(cell: Cell, settings: MaskSettings, patch: PatchSettings) -> None:
    shapes, patches = cell.data / "shapes.json", cell.data / "patches"
    sample_dataset(shapes, cell.folder / "masks", settings, patch.min_area_px, cell.seed, patches)


if __name__ == "__main__":
    stage(main)
