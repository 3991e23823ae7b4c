"""Draw the masks that the generated patches will be painted on."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.places import Cell
from tem_data.core.schema import count_rows, write_dataset
from tem_data.core.settings import read_settings
from tem_data.importing.micrographs import classes_of
from tem_data.masks.sampler import MaskSampler
from tem_data.masks.settings import MaskSettings
from tem_data.masks.shapes import load_shapes
from tem_data.patches.cutting import ignore_slivers


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    asked, least = dict(params["masks"]), params["patch"]["min_area_px"]
    count = round(asked.pop("per_patch") * count_rows(cell.data / "patches", "train"))
    settings = read_settings(MaskSettings, asked | {"size_px": params["patch"]["size"]}, "masks")
    sampler = MaskSampler(load_shapes(cell.data / "shapes.json"), settings)
    masks = (ignore_slivers(mask, least) for mask in sampler.masks(cell.seed, 0, count))
    write_dataset(cell.folder / "masks", {"train": masks}, classes_of(params), "Simulated masks (SIM).")


if __name__ == "__main__":
    stage(main)
