"""The steps of the latent diffusion model from dataset folder to dataset folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, fingerprint, is_main_process
from tem_data.core.micrograph import Micrograph, class_mask, instance_map
from tem_data.core.schema import count_rows, read_classes, read_dataset, write_readme, write_shard
from tem_data.core.settings import read_settings
from tem_data.diffusion.autoencoder import Autoencoder, load_autoencoder, train_autoencoder
from tem_data.diffusion.conditioning import Conditioning, ImageMaskPairs, instance_edges
from tem_data.diffusion.denoiser import train_ldm
from tem_data.diffusion.generation import GenerationRequest, GenerationSettings, generate
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.diffusion.samples import SampleSheets
from tem_data.training.loop import History
from tem_data.training.tracking import TRACKERS

SAMPLES = "samples"


def read_pairs(patches: str | os.PathLike, split: str) -> ImageMaskPairs:
    """The images of a split and what they show.

    Raises TemDataError if the split is absent or one of its patches has no image.
    """
    names, images, conditioning = read_classes(patches).names, [], []
    for patch in read_dataset(patches, split):
        if patch.image is None:
            raise TemDataError(
                f"{patches}, split {split!r}, row {len(images)} ({patch.micrograph_id!r}): it has no image; "
                "expected labelled patches, not bare masks"
            )
        images.append(patch.image)
        conditioning.append(conditioning_of(patch, names))
    if not images:
        raise TemDataError(
            f"{patches}: it has no patches in the split {split!r}; expected data/{split}-*.parquet with some: "
            "cut patches of a larger split"
        )
    return ImageMaskPairs(np.stack(images), Conditioning(*map(np.stack, zip(*conditioning, strict=True))))


def conditioning_of(patch: Micrograph, names: Sequence[str]) -> Conditioning:
    """What the denoiser is told of a patch, without the first axis; of its defects those that are not to be ignored."""
    shown = [defect for defect in patch.defects if not defect.ignore]
    edges = instance_edges(instance_map(shown, patch.shape))
    return Conditioning(class_mask(shown, names, patch.shape), edges, np.float32(patch.nm_per_px or np.nan))


def autoencoder_for(
    patches: str | os.PathLike, settings: Mapping[str, Any], seed: int, work: str | os.PathLike
) -> Autoencoder:
    """The autoencoder that `settings.pretrained` names, or one trained on the training patches.

    `settings` are `pretrained`, `revision` and the keys of AutoencoderSettings.
    """
    settings = dict(settings)
    pretrained, revision = settings.pop("pretrained"), settings.pop("revision")
    images = read_pairs(patches, "train").images
    if pretrained:
        return load_autoencoder(pretrained, revision).measured(images, seed)
    return train_autoencoder(images, read_pairs(patches, "validation").images, settings, work, seed)[0]


def ldm_for(
    patches: str | os.PathLike,
    autoencoder: Autoencoder,
    settings: Mapping[str, Any],
    seed: int,
    work: str | os.PathLike,
) -> tuple[MaskToMicrographPipeline, History]:
    """The pipeline of a denoiser trained on the training patches, and its losses.

    `settings` as LDMSettings. Sample sheets are kept in `work`.
    """
    names = read_classes(patches).names
    train, validation = read_pairs(patches, "train"), read_pairs(patches, "validation")
    sizes = train.conditioning.nm_per_px
    nm_per_px = float(np.median(sizes)) if np.isfinite(sizes).all() else None
    sheets = SampleSheets(autoencoder, validation, names, nm_per_px, Path(work, SAMPLES))
    unet, history = train_ldm(autoencoder, train, validation, len(names), settings, work, seed, sheets)
    return MaskToMicrographPipeline.assemble(unet, autoencoder, names, nm_per_px), history


def save_ldm(pipeline: MaskToMicrographPipeline, work: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Write the pipeline as diffusers does, and to `{folder}_training` what its training left in `work`.

    Sample sheets show real micrographs and logs name the machine: they are not
    part of the model that is published.
    """
    with atomic_write(folder) as draft:
        pipeline.save_pretrained(draft)
    with atomic_write(f"{folder}_training") as draft:
        draft.mkdir()
        for name in (SAMPLES, *TRACKERS):
            if Path(work, name).is_dir():
                shutil.copytree(Path(work, name), draft / name)


def find_ldm(ldm: str | os.PathLike) -> tuple[Path, str]:
    """The folder of a model, and what tells its weights: a fingerprint of them, or `org/name@commit`.

    `ldm` is a folder, or `org/name[@revision]` on the Hub, which is downloaded.
    Raises TemDataError where there is none, or it is not what was published.
    """
    if Path(ldm).is_dir():
        return Path(ldm), fingerprint(None, *sorted(Path(ldm).glob("*/*.safetensors")))
    try:
        folder = Path(MaskToMicrographPipeline.download(str(ldm)))
    except TemDataError as error:
        raise TemDataError(f"latent diffusion model {ldm}: {error}") from error
    return folder, f"{str(ldm).partition('@')[0]}@{folder.name}"


def load_pipeline(ldm: str | os.PathLike) -> tuple[MaskToMicrographPipeline, str]:
    """The model that `find_ldm` finds, and what tells its weights.

    Raises TemDataError where there is none.
    """
    folder, checkpoint = find_ldm(ldm)
    try:
        return MaskToMicrographPipeline.from_pretrained(folder), checkpoint
    except (OSError, ValueError, TemDataError) as error:
        line = str(error).split("\n")[0]
        raise TemDataError(
            f"latent diffusion model {ldm}: {line} Expected a folder or the Hub name of a "
            "MaskToMicrographPipeline; check the name or train one"
        ) from error


def generate_pairs(
    ldm: str | os.PathLike, masks: str | os.PathLike, settings: Mapping[str, Any], seed: int, folder: str | os.PathLike
) -> None:
    """Paint a micrograph on every mask of the dataset `masks`: a dataset of generated pairs (GEN) in `folder`.

    `ldm` is a folder or `org/name[@revision]`. Pair i has a seed of its own, which follows
    from `(seed, i)`; shards that lie in `folder` already are kept. Raises
    TemDataError where there is no such model or dataset, and where the masks
    show classes that the model does not know.
    """
    classes = read_classes(masks)
    pipeline, checkpoint = load_pipeline(ldm)
    # in the model's order, which may be another than that of the masks
    names = tuple(pipeline.config.class_names) or classes.names
    if unknown := [name for name in classes.names if name not in names]:
        raise TemDataError(
            f"{masks}: {', '.join(unknown)} is none of the classes {list(names)} that {ldm} paints; sample masks with "
            "the classes that it was trained on"
        )
    options = read_settings(GenerationSettings, settings, "generate")
    made_by = {
        "origin": "gen",
        "checkpoint": checkpoint,
        "guidance_scale": options.guidance_scale,
        "num_inference_steps": options.num_inference_steps,
    }

    def requests() -> Iterator[GenerationRequest]:
        for number, mask in enumerate(read_dataset(masks)):
            item_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            yield GenerationRequest(replace(mask, seed=item_seed), conditioning_of(mask, names), item_seed)

    def write(path: Path, drawn: Sequence[Micrograph], images: np.ndarray) -> None:
        write_shard(
            path, [replace(mask, image=image, **made_by) for mask, image in zip(drawn, images, strict=True)], classes
        )

    generate(pipeline, requests(), write, Path(folder, "data"), settings, total=count_rows(masks))
    if is_main_process():
        write_readme(folder, classes, f"Generated pairs (GEN) of checkpoint {checkpoint}.")
    PartialState().wait_for_everyone()
