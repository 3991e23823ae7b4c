"""Train the mask-conditioned denoiser on the latents of the training patches."""

from __future__ import annotations

import numpy as np

from pipelines.common import Cell, classes_in_force, is_main_process, parse_cell, read_params, stage, work_folder
from tem_data.diffusion.autoencoder import load_autoencoder
from tem_data.diffusion.denoiser import train_ldm
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.files import whole, write_table
from tem_data.micrograph import class_mask
from tem_data.schema import read_dataset

COLUMNS = ("step", "loss", "val_loss")


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    names = classes_in_force(params).names
    patches, frozen = cell.data / "patches", cell.data / "autoencoder"
    arrays = []
    for split in ("train", "validation"):
        pairs = [(p.image, class_mask(p.defects, names, p.shape)) for p in read_dataset(patches, split)]
        arrays += [np.stack(side) for side in zip(*pairs)]
    scales = {p.nm_per_px for p in read_dataset(patches, "train")}
    autoencoder = load_autoencoder(frozen)
    with work_folder(f"ldm-{cell.folder.name}", params["ldm"], patches, frozen) as work:
        unet, history = train_ldm(autoencoder, *arrays, len(names), params["ldm"], work, cell.seed)
        if is_main_process():
            nm_per_px = scales.pop() if len(scales) == 1 else None
            pipeline = MaskToMicrographPipeline.assemble(unet, autoencoder, names, nm_per_px)
            with whole(cell.folder / "ldm") as draft:
                pipeline.save_pretrained(draft)
            write_table(cell.results / "ldm_loss.csv", history, COLUMNS)


if __name__ == "__main__":
    stage(main)
