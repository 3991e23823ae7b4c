"""Cut the micrographs of a split into patches: windows in eight symmetries for training, tiles for the rest."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.coco.writing import coco_truth
from tem_data.core.files import write_json
from tem_data.core.places import MICROGRAPHS, SPLIT_TABLE, Cell
from tem_data.core.schema import read_classes
from tem_data.patches.settings import PatchSettings
from tem_data.patches.steps import cut_dataset


def main(cell: Cell, settings: PatchSettings) -> None:
    out = cell.data / "patches"
    patches, report = cut_dataset(MICROGRAPHS, SPLIT_TABLE, out, settings, cell.split, cell.size, cell.seed)
    write_json(cell.data / "truth.json", coco_truth(patches["test"], read_classes(out)))
    write_json(cell.data_results / "patches.json", report)


if __name__ == "__main__":
    stage(main)
