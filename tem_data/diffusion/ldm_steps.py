"""The steps that train a latent diffusion model on patches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from tem_data.core.files import atomic_write, is_main_process, work_folder
from tem_data.core.schema import read_classes
from tem_data.diffusion.autoencoder import Autoencoder, load_autoencoder
from tem_data.diffusion.denoiser import train_ldm
from tem_data.diffusion.finetuning import pretrained_ldm
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.diffusion.samples import SampleSheets
from tem_data.diffusion.settings import AutoencoderSettings, LDMSettings
from tem_data.diffusion.steps import read_pairs, train_autoencoder_on
from tem_data.training.checkpoints import History
from tem_data.training.tracking import TRACKERS

SAMPLES = "samples"
Folder = str | os.PathLike


def train_ldm_on(patches: Folder, autoencoder: Folder, out: Folder, settings: LDMSettings, seed: int) -> History:
    """Train a denoiser on the latents of the training patches, and write the pipeline to `out`.

    `autoencoder` is a folder; a model that `settings.pretrained` names has to be
    trained on it. Sample sheets and logs go to `{out}_training`. An interrupted
    training resumes. Returns the losses. Raises TemDataError as `pretrained_ldm`
    and `train_ldm` do.
    """
    with work_folder(out, [settings, seed], patches, autoencoder) as work:
        pipeline, history = ldm_for(patches, load_autoencoder(autoencoder), settings, seed, work)
        if is_main_process():
            save_ldm(pipeline, work, out)
    print(f"{out}: a latent diffusion model of {', '.join(pipeline.class_names)}")
    return history


def train_autoencoder_and_ldm_on(
    patches: Folder, out: Folder, autoencoder: AutoencoderSettings, ldm: LDMSettings, seed: int
) -> History:
    """Train both, one after the other, and write the pipeline, which holds the autoencoder, to `out`."""
    with work_folder(f"{out}.autoencoder", [autoencoder, seed], patches) as work:
        folder = work / "autoencoder"
        if not folder.is_dir():
            train_autoencoder_on(patches, folder, autoencoder, seed)
        return train_ldm_on(patches, folder, out, ldm, seed)


def ldm_for(
    patches: Folder, autoencoder: Autoencoder, settings: LDMSettings, seed: int, work: Folder
) -> tuple[MaskToMicrographPipeline, History]:
    """The pipeline of a denoiser trained on the training patches, and its losses. Sample sheets are kept in `work`."""
    names = read_classes(patches).names
    train, validation = read_pairs(patches, "train"), read_pairs(patches, "validation")
    print(f"denoiser: {settings.steps} steps of {settings.batch_size} of {len(train.images)} patches")
    sizes = train.conditioning.nm_per_px
    nm_per_px = float(np.median(sizes)) if np.isfinite(sizes).all() else None
    start = None
    if settings.pretrained:
        pretrained = pretrained_ldm(settings.pretrained, autoencoder)
        autoencoder, start = (
            pretrained.autoencoder,
            pretrained.for_classes(names, train.images.shape[1], nm_per_px is not None),
        )
    sheets = SampleSheets(autoencoder, validation, names, nm_per_px, Path(work, SAMPLES))
    unet, history = train_ldm(autoencoder, train, validation, len(names), settings, work, seed, sheets, start)
    return MaskToMicrographPipeline.assemble(unet, autoencoder, names, nm_per_px), history


def save_ldm(pipeline: MaskToMicrographPipeline, work: Folder, folder: Folder) -> None:
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
