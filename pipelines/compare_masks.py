"""Compare the drawn masks with the experimental ones: can they be told apart?"""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import write_json, write_table
from tem_data.core.places import MICROGRAPHS, SPLIT_TABLE, Cell
from tem_data.core.schema import read_classes, read_dataset
from tem_data.mask_comparison.comparison import COLUMNS, compare_masks
from tem_data.mask_comparison.features import measure_masks
from tem_data.mask_comparison.steps import write_comparison
from tem_data.patches.cutting import tiles
from tem_data.patches.settings import PatchSettings
from tem_data.splits.table import members, read_splits

CLASSIFIER_REPEATS = 40


def main(cell: Cell, patch: PatchSettings) -> None:
    classes = read_classes(MICROGRAPHS).names
    by_role = members(read_splits(SPLIT_TABLE), cell.split, cell.size)
    known = {*by_role["train"], *by_role["validation"]}
    micrographs = (m for m in read_dataset(MICROGRAPHS) if m.micrograph_id in known)
    experimental = measure_masks(tiles(micrographs, patch.size, patch.min_area_px), classes, "experimental masks")
    drawn = measure_masks(read_dataset(cell.folder / "masks", "train"), classes, "simulated masks")
    compared = compare_masks(experimental, drawn, classifier_repeats=CLASSIFIER_REPEATS, seed=cell.seed)
    write_comparison(cell.folder / "masks_compared", compared)
    write_json(cell.results / "masks.json", compared.summary)
    write_table(cell.results / "masks.csv", compared.rows, COLUMNS)


if __name__ == "__main__":
    stage(main)
