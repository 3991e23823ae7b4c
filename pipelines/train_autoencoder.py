"""Train a small autoencoder on the training patches, or take a pretrained one as it is."""

from __future__ import annotations

import numpy as np

from pipelines.common import Cell, is_main_process, parse_cell, read_params, stage, work_folder
from tem_data.diffusion.autoencoder import Autoencoder, load_autoencoder, psnr, save_autoencoder, train_autoencoder
from tem_data.files import write_json
from tem_data.schema import read_dataset


def main() -> None:
    args = parse_cell("split", "size")
    cell = Cell(args.split, args.size)
    settings = read_params()["autoencoder"]
    pretrained, revision = settings.pop("pretrained"), settings.pop("revision")
    folder = cell.data / "patches"
    images, held_out = (
        np.stack([p.image for p in read_dataset(folder, split)]) for split in ("train", "validation")
    )
    with work_folder(f"autoencoder-{cell.data.name}", [settings, pretrained, revision], folder) as work:
        if pretrained:
            autoencoder = load_autoencoder(pretrained, revision).measured(images)
        else:
            autoencoder, _ = train_autoencoder(images, held_out, settings, work, cell.seed)
        if is_main_process():
            save_autoencoder(autoencoder, cell.data / "autoencoder")
            write_json(cell.data_results / "autoencoder.json", quality(autoencoder, held_out))


def quality(autoencoder: Autoencoder, images: np.ndarray) -> dict[str, float]:
    """How well patches of other micrographs come back, dB."""
    return {"validation_psnr_db": psnr(images, autoencoder.decode(autoencoder.encode(images)))}


if __name__ == "__main__":
    stage(main)
