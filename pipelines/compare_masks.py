"""Compare the drawn masks with the experimental ones: can they be told apart?"""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import atomic_write, write_json, write_table
from tem_data.core.places import MICROGRAPHS, SPLIT_TABLE, Cell
from tem_data.core.schema import read_dataset
from tem_data.importing.micrographs import classes_of
from tem_data.mask_comparison import COLUMNS, MaskFeatures, compare_masks, measure_masks
from tem_data.mask_comparison.figures import mask_histograms
from tem_data.patches.cutting import tiles
from tem_data.splits.table import members, read_splits

CLASSIFIER_REPEATS = 40


def main() -> None:
    args, params = parse_cell("split", "size", "run"), read_params()
    cell, classes = Cell(args.split, args.size, args.run), classes_of(params).names
    drawn = measure_masks(read_dataset(cell.folder / "masks", "train"), classes, "simulated masks")
    compared = compare_masks(
        experimental_tiles(cell, params, classes), drawn, classifier_repeats=CLASSIFIER_REPEATS, seed=cell.seed
    )
    write_json(cell.results / "masks.json", compared.summary)
    write_table(cell.results / "masks.csv", compared.rows, COLUMNS)
    with atomic_write(cell.folder / "masks_compared") as draft:
        draft.mkdir()
        mask_histograms(draft / "histograms", compared)
    print(f"{compared.summary['inside']} of {compared.summary['distances']} distances inside")


def experimental_tiles(cell: Cell, params: dict, classes: tuple[str, ...]) -> MaskFeatures:
    """The tiles of the cell's training and validation micrographs, all that is learnt from."""
    by_role = members(read_splits(SPLIT_TABLE), cell.split, cell.size)
    learnt_from = {*by_role["train"], *by_role["validation"]}
    micrographs = (m for m in read_dataset(MICROGRAPHS) if m.micrograph_id in learnt_from)
    settings = params["patch"]
    return measure_masks(tiles(micrographs, settings["size"], settings["min_area_px"]), classes, "experimental masks")


if __name__ == "__main__":
    stage(main)
