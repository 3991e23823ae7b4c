"""The steps of the latent diffusion model from dataset folder to dataset folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from tem_data.core.errors import TemDataError
from tem_data.core.files import fingerprint, is_main_process, move, work_folder
from tem_data.core.micrograph import Micrograph, class_mask, instance_map
from tem_data.core.schema import count_rows, read_classes, read_dataset, write_readme, write_shard
from tem_data.diffusion.autoencoder import load_autoencoder, psnr, save_autoencoder, train_autoencoder
from tem_data.diffusion.conditioning import Conditioning, ImageMaskPairs, instance_edges
from tem_data.diffusion.generation import GenerationRequest, generate
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.diffusion.settings import AutoencoderSettings, GenerationSettings

Folder = str | os.PathLike


def read_pairs(patches: Folder, split: str) -> ImageMaskPairs:
    """The images of a split and what they show.

    Raises TemDataError if the split is absent or one of its patches has no image.
    """
    names = read_classes(patches).names
    images: list[np.ndarray] = []
    conditioning: list[Conditioning] = []
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
    """What the denoiser is told of a patch, without the first axis; ignored defects as such, under all others."""
    masks = class_mask([d for d in patch.defects if not d.ignore], names, patch.shape)
    ignored = instance_map([d for d in patch.defects if d.ignore], patch.shape) > 0
    masks[ignored & (masks == 0)] = len(names) + 1
    edges = instance_edges(instance_map(patch.defects, patch.shape))
    return Conditioning(masks, edges, np.array(patch.nm_per_px or np.nan, np.float32))


def train_autoencoder_on(patches: Folder, out: Folder, settings: AutoencoderSettings, seed: int) -> None:
    """Write to `out` the autoencoder that `settings.pretrained` names, or one trained on the training patches.

    Latents are standardised and grain is fitted on the training patches. An
    interrupted training resumes. Raises TemDataError as `load_autoencoder` and
    `train_autoencoder` do.
    """
    with work_folder(out, [settings, seed], patches) as work:
        images = read_pairs(patches, "train").images
        if settings.pretrained:
            autoencoder = load_autoencoder(settings.pretrained).measured(images, seed)
        else:
            print(f"autoencoder: {settings.steps} steps of {settings.batch_size} of {len(images)} patches")
            held_out = read_pairs(patches, "validation").images
            autoencoder, _ = train_autoencoder(images, held_out, settings, work, seed)
        if is_main_process():
            save_autoencoder(autoencoder, out)
    print(f"{out}: an autoencoder, {autoencoder.factor} px a latent px, {autoencoder.latent_channels} channels")


def validation_psnr(autoencoder: Folder, patches: Folder) -> float:
    """Of the validation patches through the autoencoder in a folder, dB."""
    model, images = load_autoencoder(autoencoder), read_pairs(patches, "validation").images
    return psnr(images, model.decode(model.encode(images)))


def find_ldm(ldm: Folder) -> tuple[Path, str]:
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


def load_pipeline(ldm: Folder) -> tuple[MaskToMicrographPipeline, str]:
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


def generate_dataset(ldm: Folder, masks: Folder, out: Folder, settings: GenerationSettings, seed: int) -> None:
    """Paint a micrograph on every mask of the dataset `masks`: a dataset of generated pairs (GEN) in `out`.

    `ldm` is a folder or `org/name[@revision]`. Pair i has a seed of its own, which
    follows from `(seed, i)`. An interrupted run resumes after its last shard.
    Raises TemDataError where there is no such model or dataset.
    """
    _, checkpoint = find_ldm(ldm)
    # By its commit, as a branch may have moved when an interrupted run resumes.
    model = ldm if Path(ldm).is_dir() else checkpoint
    count = count_rows(masks)
    print(f"{count} masks, {settings.num_inference_steps} steps of {settings.scheduler or 'the scheduler'} each")
    with work_folder(out, [checkpoint, settings, seed], masks) as work:
        generate_pairs(model, masks, settings, seed, work)
        if is_main_process():
            move(work, out)
    print(f"{out}: {count} generated pairs of {checkpoint}")


def generate_pairs(ldm: Folder, masks: Folder, settings: GenerationSettings, seed: int, folder: Folder) -> None:
    """Paint a micrograph on every mask of the dataset `masks`: a dataset of generated pairs (GEN) in `folder`.

    `ldm` is a folder or `org/name[@revision]`. Pair i has a seed of its own, which follows
    from `(seed, i)`; shards that lie in `folder` already are kept. Raises
    TemDataError where there is no such model or dataset, and where the masks
    show classes that the model does not know.
    """
    classes = read_classes(masks)
    pipeline, checkpoint = load_pipeline(ldm)
    names = painted_classes(pipeline, ldm, masks)
    origin = made_by("gen", checkpoint, settings)

    def requests() -> Iterator[GenerationRequest]:
        for number, mask in enumerate(read_dataset(masks)):
            item_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            yield GenerationRequest(replace(mask, seed=item_seed), conditioning_of(mask, names), item_seed)

    def write(path: Path, drawn: Sequence[Micrograph], images: np.ndarray) -> None:
        write_shard(
            path, [replace(mask, image=image, **origin) for mask, image in zip(drawn, images, strict=True)], classes
        )

    generate(pipeline, requests(), write, Path(folder, "data"), settings, total=count_rows(masks))
    if is_main_process():
        write_readme(folder, classes, f"Generated pairs (GEN) of checkpoint {checkpoint}.")
    PartialState().wait_for_everyone()


def painted_classes(pipeline: MaskToMicrographPipeline, ldm: Folder, masks: Folder) -> tuple[str, ...]:
    """The classes that the model `ldm` paints, in its order, which may be another than that of the masks.

    Raises TemDataError where the masks show classes that it does not know.
    """
    known = read_classes(masks).names
    names = tuple(pipeline.config.class_names) or known
    if unknown := [name for name in known if name not in names]:
        raise TemDataError(
            f"{masks}: {', '.join(unknown)} is none of the classes {list(names)} that {ldm} paints; sample masks with "
            "the classes that it was trained on"
        )
    return names


def made_by(origin: str, checkpoint: str, settings: GenerationSettings) -> dict[str, Any]:
    """The fields of a Micrograph that say how it was painted."""
    solver = dict(guidance_scale=settings.guidance_scale, num_inference_steps=settings.num_inference_steps)
    return {"origin": origin, "checkpoint": checkpoint, **solver}
