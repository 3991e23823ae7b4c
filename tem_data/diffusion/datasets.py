"""The steps of the latent diffusion model from dataset folder to dataset folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tem_data.diffusion.autoencoder import Autoencoder, load_autoencoder, train_autoencoder
from tem_data.diffusion.denoiser import train_ldm
from tem_data.diffusion.generation import generate
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.diffusion.training import History
from tem_data.files import fingerprint
from tem_data.micrograph import Micrograph, class_mask
from tem_data.schema import read_classes, read_dataset, write_readme, write_shard


def read_pairs(patches: str | os.PathLike, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and class masks of a split, both (N, H, W) uint8."""
    names = read_classes(patches).names
    pairs = [(p.image, class_mask(p.defects, names, p.shape)) for p in read_dataset(patches, split)]
    images, masks = zip(*pairs)
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


def generate_pairs(
    ldm: str | os.PathLike, masks: str | os.PathLike, settings: Mapping[str, Any], seed: int, folder: str | os.PathLike
) -> None:
    """Paint a micrograph on every mask of the dataset `masks`: a dataset of generated pairs (GEN) in `folder`.

    `ldm` is a folder or a Hub name. Pair i has a seed of its own, which follows
    from `(seed, i)`; shards that lie in `folder` already are kept.
    """
    pipeline = MaskToMicrographPipeline.from_pretrained(ldm)
    classes = read_classes(masks)
    checkpoint = fingerprint(None, ldm) if Path(ldm).is_dir() else str(ldm)

    def items() -> Iterator[tuple[Micrograph, np.ndarray, int]]:
        for number, mask in enumerate(read_dataset(masks)):
            item_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            yield replace(mask, seed=item_seed), class_mask(mask.defects, classes.names, mask.shape), item_seed

    def write(path: Path, drawn: Sequence[Micrograph], images: np.ndarray) -> None:
        pairs = [replace(mask, image=image, origin="gen", checkpoint=checkpoint) for mask, image in zip(drawn, images)]
        write_shard(path, pairs, classes)

    generate(pipeline, items(), write, Path(folder, "data"), settings, total=sum(1 for _ in read_dataset(masks)))
    write_readme(folder, classes, f"Generated pairs (GEN) of checkpoint {checkpoint}.")
