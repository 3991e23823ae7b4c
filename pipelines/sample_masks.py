"""Draw the masks that the generated patches will be painted on."""

from __future__ import annotations

from pipelines.common import Cell, parse_cell, read_params, stage
from tem_data.importing import classes_of
from tem_data.patches import ignore_slivers
from tem_data.sampler import sample_mask
from tem_data.schema import count_rows, write_dataset
from tem_data.shapes import load_shapes


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    settings, size, least = params["masks"], params["patch"]["size"], params["patch"]["min_area_px"]
    shapes = load_shapes(cell.data / "shapes.json")
    count = round(settings["per_patch"] * count_rows(cell.data / "patches", "train"))
    drawn = (sample_mask(shapes, size, cell.seed, i, settings["overlap"]) for i in range(count))
    masks = (ignore_slivers(mask, least) for mask in drawn)
    write_dataset(cell.folder / "masks", {"train": masks}, classes_of(params), "Simulated masks (SIM).")


if __name__ == "__main__":
    stage(main)
