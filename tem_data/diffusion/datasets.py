"""The steps of the latent diffusion model from dataset folder to dataset folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from tem_data.diffusion.autoencoder import Autoencoder, load_autoencoder, train_autoencoder
from tem_data.diffusion.denoiser import train_ldm
from tem_data.diffusion.generation import generate
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.diffusion.training import History
from tem_data.errors import TemDataError
from tem_data.files import fingerprint, is_main_process
from tem_data.micrograph import Micrograph, class_mask
from tem_data.schema import count_rows, read_classes, read_dataset, write_readme, write_shard


def read_pairs(patches: str | os.PathLike, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and class masks of a split, both (N, H, W) uint8.

    Raises TemDataError if the split is absent or one of its patches has no image.
    """
    names, images, masks = read_classes(patches).names, [], []
    for patch in read_dataset(patches, split):
        if patch.image is None:
            raise TemDataError(
                f"{patches}, split {split!r}, row {len(images)} ({patch.micrograph_id!r}): it has no image; "
                "expected labelled patches, not bare masks"
            )
        images.append(patch.image)
        masks.append(class_mask(patch.defects, names, patch.shape))
    if not images:
        raise TemDataError(
            f"{patches}: it has no patches in the split {split!r}; expected data/{split}-*.parquet with some: "
            "cut patches of a larger split"
        )
    return np.stack(images), np.stack(masks)


def autoencoder_for(
    patches: str | os.PathLike, settings: Mapping[str, Any], seed: int, work: str | os.PathLike
) -> Autoencoder:
    """The autoencoder that `settings.pretrained` names, or one trained on the training patches.

    `settings` are `pretrained`, `revision` and the keys of AutoencoderSettings.
    """
    settings = dict(settings)
    pretrained, revision = settings.pop("pretrained"), settings.pop("revision")
    images, _ = read_pairs(patches, "train")
    if pretrained:
        return load_autoencoder(pretrained, revision).measured(images)
    return train_autoencoder(images, read_pairs(patches, "validation")[0], settings, work, seed)[0]


def ldm_for(
    patches: str | os.PathLike,
    autoencoder: Autoencoder,
    settings: Mapping[str, Any],
    seed: int,
    work: str | os.PathLike,
) -> tuple[MaskToMicrographPipeline, History]:
    """The pipeline of a denoiser trained on the training patches, and its losses. `settings` as LDMSettings."""
    names = read_classes(patches).names
    train, validation = read_pairs(patches, "train"), read_pairs(patches, "validation")
    unet, history = train_ldm(autoencoder, *train, *validation, len(names), settings, work, seed)
    scales = {p.nm_per_px for p in read_dataset(patches, "train")}
    nm_per_px = scales.pop() if len(scales) == 1 else None
    return MaskToMicrographPipeline.assemble(unet, autoencoder, names, nm_per_px), history


def _pipeline(ldm: str | os.PathLike) -> MaskToMicrographPipeline:
    try:
        return MaskToMicrographPipeline.from_pretrained(str(ldm))
    except (OSError, ValueError) as error:
        line = str(error).split("\n")[0]
        raise TemDataError(
            f"latent diffusion model {ldm}: {line} Expected a folder or the Hub name of a "
            "MaskToMicrographPipeline; check the name or train one"
        ) from error


def generate_pairs(
    ldm: str | os.PathLike, masks: str | os.PathLike, settings: Mapping[str, Any], seed: int, folder: str | os.PathLike
) -> None:
    """Paint a micrograph on every mask of the dataset `masks`: a dataset of generated pairs (GEN) in `folder`.

    `ldm` is a folder or a Hub name. Pair i has a seed of its own, which follows
    from `(seed, i)`; shards that lie in `folder` already are kept. Raises
    TemDataError where there is no such model or dataset.
    """
    classes = read_classes(masks)
    pipeline = _pipeline(ldm)
    checkpoint = fingerprint(None, ldm) if Path(ldm).is_dir() else str(ldm)

    def items() -> Iterator[tuple[Micrograph, np.ndarray, int]]:
        for number, mask in enumerate(read_dataset(masks)):
            item_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            yield replace(mask, seed=item_seed), class_mask(mask.defects, classes.names, mask.shape), item_seed

    def write(path: Path, drawn: Sequence[Micrograph], images: np.ndarray) -> None:
        pairs = [replace(mask, image=image, origin="gen", checkpoint=checkpoint) for mask, image in zip(drawn, images)]
        write_shard(path, pairs, classes)

    generate(pipeline, items(), write, Path(folder, "data"), settings, total=count_rows(masks))
    if is_main_process():
        write_readme(folder, classes, f"Generated pairs (GEN) of checkpoint {checkpoint}.")
    PartialState().wait_for_everyone()
