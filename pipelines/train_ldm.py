"""Train the mask-conditioned denoiser on the latents of the training patches."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import is_main_process, work_folder, write_table
from tem_data.core.places import Cell
from tem_data.diffusion.autoencoder import load_autoencoder
from tem_data.diffusion.datasets import ldm_for, save_ldm

COLUMNS = ("step", "loss", "val_loss", "memorisation_ratio", "stopped")


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, settings = Cell(args.split, args.size, args.run), read_params()["ldm"]
    patches, frozen = cell.data / "patches", cell.data / "autoencoder"
    with work_folder(cell.folder / "ldm", settings, patches, frozen) as work:
        pipeline, history = ldm_for(patches, load_autoencoder(frozen), settings, cell.seed, work)
        if is_main_process():
            save_ldm(pipeline, work, cell.folder / "ldm")
            write_table(cell.results / "ldm_loss.csv", history, COLUMNS)


if __name__ == "__main__":
    stage(main)
