"""Paint a micrograph on every drawn mask."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import is_main_process, move, work_folder
from tem_data.core.places import Cell
from tem_data.diffusion.datasets import generate_pairs


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, settings = Cell(args.split, args.size, args.run), read_params()["generate"]
    masks, ldm = cell.folder / "masks", cell.folder / "ldm"
    pairs = cell.folder / "pairs" / "exp_gen"
    with work_folder(pairs, settings, masks, ldm) as work:
        generate_pairs(ldm, masks, settings, cell.seed, work)
        if is_main_process():
            move(work, pairs)


if __name__ == "__main__":
    stage(main)
