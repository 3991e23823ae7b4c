"""A published latent diffusion model as the start of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from tem_data.core.errors import SettingError
from tem_data.diffusion.autoencoder import Autoencoder
from tem_data.diffusion.denoiser import MaskDenoiser
from tem_data.diffusion.steps import load_pipeline

QUARTERS = 4
# The layers that the condition enters, and how many of their input channels come before it: the latents, or none.
ENTRIES = {"unet.conv_in.weight": "latent_channels", "pyramid.0.0.weight": None}


class Start(NamedTuple):
    """A pretrained denoiser, the classes that it knows, and the autoencoder of its latents."""

    denoiser: MaskDenoiser
    classes: tuple[str, ...]
    autoencoder: Autoencoder

    def for_classes(self, classes: Sequence[str], side: int, sizes_known: bool) -> MaskDenoiser:
        """The denoiser told other `classes`: of one that it knows its own weights, of a new one the mean of all.

        Raises SettingError where it wants pixel sizes and not all are known, or patches of `side` px do not fit it.
        """
        config = dict(self.denoiser.config)
        if config["pixel_size"] and not sizes_known:
            problem = "this model is told the pixel size, which not all training patches have; give import.calibration"
            raise SettingError("ldm", "pretrained", problem)
        if side % (multiple := self.autoencoder.factor * self.denoiser.stride):
            problem = f"patches of {side} px; this model needs a multiple of {multiple} px: set patch.size"
            raise SettingError("ldm", "pretrained", problem)
        shape = {name: value for name, value in config.items() if not name.startswith("_")}
        denoiser = MaskDenoiser(**shape | {"n_classes": len(classes)})
        weights = self.denoiser.state_dict()
        for name, before in ENTRIES.items():
            if name in weights:
                weights[name] = _told(weights[name], config[before] if before else 0, self.classes, classes)
        denoiser.load_state_dict(weights)
        return denoiser.to(memory_format=torch.channels_last)


def pretrained_ldm(name: str, autoencoder: Autoencoder) -> Start:
    """The model `name`, a folder or `org/name[@revision]`, verified, on the latents that it was trained on.

    The grain is that of `autoencoder`, which was fitted on the training patches.
    Raises SettingError where this is not the model's own, and TemDataError as
    `load_pipeline` does.
    """
    pipeline, checkpoint = load_pipeline(name)
    own, given = (model.state_dict() for model in (pipeline.vae, autoencoder.model))
    if own.keys() != given.keys() or not all(torch.equal(own[key], given[key].to(own[key])) for key in own):
        problem = f"{name} was trained on the latents of its own autoencoder; set autoencoder.pretrained to it, too"
        raise SettingError("ldm", "pretrained", problem)
    print(f"denoiser: starts as {checkpoint}, which knows {', '.join(pipeline.config.class_names)}")
    config = pipeline.config
    standard = Autoencoder(autoencoder.model, config.latent_mean, config.latent_std, autoencoder.grain)
    return Start(pipeline.unet, tuple(config.class_names), standard)


def _told(weight: torch.Tensor, before: int, known: Sequence[str], classes: Sequence[str]) -> torch.Tensor:
    """A convolution's weight (out, `before` + 4 a class + 8, …) with the inputs of `classes` in place of those `known`.

    The condition has four channels a class, then four of ignored defects and four of edges.
    """
    latents, condition = weight[:, :before], weight[:, before:]
    of_class = condition[:, : QUARTERS * len(known)].unflatten(1, (len(known), QUARTERS))
    mean = of_class.mean(1)
    parts = [of_class[:, known.index(name)] if name in known else mean for name in classes]
    return torch.cat([latents, *parts, condition[:, QUARTERS * len(known) :]], 1)
