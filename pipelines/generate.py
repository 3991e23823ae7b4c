"""Paint a micrograph on every drawn mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Sequence

import numpy as np

from pipelines.common import Cell, classes_in_force, is_main_process, parse_cell, read_params, stage, work_folder
from tem_data.diffusion.generation import generate
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.files import fingerprint, whole
from tem_data.micrograph import Micrograph, class_mask
from tem_data.schema import Classes, read_dataset, write_readme, write_shard


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    masks, ldm = cell.folder / "masks", cell.folder / "ldm"
    with work_folder(f"generate-{cell.folder.name}", params["generate"], masks, ldm) as work:
        generate_dataset(masks, ldm, params["generate"], cell.seed, classes_in_force(params), work)
        if is_main_process():
            with whole(cell.folder / "generated") as draft:
                work.rename(draft)


def generate_dataset(
    masks: Path, ldm: Path, settings: dict, seed: int, classes: Classes, folder: Path
) -> None:
    """A dataset of generated pairs (GEN) in `folder`: the drawn masks, their defects, and a picture of each."""
    pipeline = MaskToMicrographPipeline.from_pretrained(ldm)
    checkpoint = fingerprint(None, ldm)

    def items():
        for number, mask in enumerate(read_dataset(masks)):
            item_seed = int(np.random.SeedSequence([seed, 3, number]).generate_state(1)[0])
            yield replace(mask, seed=item_seed), class_mask(mask.defects, classes.names, mask.shape), item_seed

    def write(path: Path, drawn: Sequence[Micrograph], images: np.ndarray) -> None:
        pairs = [
            replace(mask, image=image, origin="gen", checkpoint=checkpoint) for mask, image in zip(drawn, images)
        ]
        write_shard(path, pairs, classes)

    generate(pipeline, items(), write, folder / "data", settings, total=sum(1 for _ in read_dataset(masks)))
    if is_main_process():
        write_readme(folder, classes, f"Generated pairs (GEN) of checkpoint {checkpoint}.")


if __name__ == "__main__":
    stage(main)
