"""Train a small autoencoder on the training patches, or take a pretrained one as it is."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import is_main_process, write_json
from tem_data.core.places import Cell
from tem_data.diffusion.settings import AutoencoderSettings
from tem_data.diffusion.steps import train_autoencoder_on, validation_psnr


def main(cell: Cell, settings: AutoencoderSettings) -> None:
    patches, out = cell.data / "patches", cell.data / "autoencoder"
    train_autoencoder_on(patches, out, settings, cell.seed)
    if is_main_process():
        report = {"validation_psnr_db": validation_psnr(out, patches)}
        write_json(cell.data_results / "autoencoder.json", report)


if __name__ == "__main__":
    stage(main)
