"""Train a small autoencoder on the training patches, or take a pretrained one as it is."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import is_main_process, work_folder, write_json
from tem_data.core.places import Cell
from tem_data.diffusion.autoencoder import psnr, save_autoencoder
from tem_data.diffusion.datasets import autoencoder_for, read_pairs


def main() -> None:
    args = parse_cell("split", "size")
    cell, settings = Cell(args.split, args.size), read_params()["autoencoder"]
    patches = cell.data / "patches"
    with work_folder(cell.data / "autoencoder", settings, patches) as work:
        autoencoder = autoencoder_for(patches, settings, cell.seed, work)
        if is_main_process():
            save_autoencoder(autoencoder, cell.data / "autoencoder")
            images = read_pairs(patches, "validation").images
            back = autoencoder.decode(autoencoder.encode(images))
            write_json(cell.data_results / "autoencoder.json", {"validation_psnr_db": psnr(images, back)})


if __name__ == "__main__":
    stage(main)
