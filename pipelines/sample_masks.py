"""Draw the masks that the generated patches will be painted on."""

from __future__ import annotations

from tqdm import trange

from pipelines.common import Cell, classes_in_force, parse_cell, read_params, stage
from tem_data.sampler import sample_mask
from tem_data.schema import write_dataset
from tem_data.shapes import load_shapes


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    shapes = load_shapes(cell.data / "shapes.json")
    count = round(params["masks"]["per_patch"] * params["patch"]["count"])
    masks = (sample_mask(shapes, params["patch"]["size"], cell.seed, i) for i in trange(count, desc="masks"))
    write_dataset(cell.folder / "masks", {"train": masks}, classes_in_force(params), "Simulated masks (SIM).")


if __name__ == "__main__":
    stage(main)
