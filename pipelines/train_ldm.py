"""Train the mask-conditioned denoiser on the latents of the training patches."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import is_main_process, write_table
from tem_data.core.places import Cell
from tem_data.diffusion.ldm_steps import train_ldm_on
from tem_data.diffusion.settings import LDMSettings

COLUMNS = ("step", "loss", "val_loss", "memorisation_ratio", "stopped")


def main(cell: Cell, settings: LDMSettings) -> None:
    patches, autoencoder = cell.data / "patches", cell.data / "autoencoder"
    history = train_ldm_on(patches, autoencoder, cell.folder / "ldm", settings, cell.seed)
    if is_main_process():
        write_table(cell.results / "ldm_loss.csv", history, COLUMNS)


if __name__ == "__main__":
    stage(main)
