"""The denoiser of the latent diffusion model, and its training."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import nn

from tem_data.diffusion.autoencoder import Autoencoder
from tem_data.diffusion.conditioning import NO_MASK, defect_share, mask_condition
from tem_data.diffusion.training import History, TrainingSettings, evenly_spaced, fit
from tem_data.errors import TemDataError
from tem_data.settings import read_settings


@dataclass(frozen=True)
class LDMSettings(TrainingSettings):
    """How to train the denoiser: as TrainingSettings says, and its shape.

    A level of the U-Net for each entry of `block_out_channels`, each half as
    fine as the one before, with `layers_per_block` residual layers and, where
    `attention` says so, self-attention. The loss of a latent pixel weighs
    1 + `foreground_weight` · (share of defects in it). In a share `mask_dropout`
    of the patches the mask is withheld, which guidance needs.
    """

    block_out_channels: Sequence[int] = (64, 128, 192)
    attention: Sequence[bool] = (False, False, True)
    layers_per_block: int = 2
    foreground_weight: float = 3.0
    mask_dropout: float = 0.1


def build_denoiser(
    settings: LDMSettings, autoencoder: Autoencoder, n_classes: int, patch: int, seed: int
) -> UNet2DModel:
    """A UNet2DModel from latents ⊕ condition to latents, with random weights, for patches of `patch` px.

    Raises TemDataError if `attention` and `block_out_channels` differ in length
    or the latents cannot be halved as often as the levels ask.
    """
    levels, side = len(settings.block_out_channels), patch // autoencoder.factor
    if len(settings.attention) != levels or side % 2 ** (levels - 1):
        raise TemDataError(
            f"params.yaml, ldm: block_out_channels has {levels} levels; expected as many entries in attention (it has "
            f"{len(settings.attention)}) and latents ({side} px) that can be halved {levels - 1} times"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DModel(
            sample_size=side,
            in_channels=autoencoder.latent_channels + 4 * n_classes,
            out_channels=autoencoder.latent_channels,
            block_out_channels=tuple(settings.block_out_channels),
            layers_per_block=settings.layers_per_block,
            down_block_types=tuple("AttnDownBlock2D" if wanted else "DownBlock2D" for wanted in settings.attention),
            up_block_types=tuple("AttnUpBlock2D" if wanted else "UpBlock2D" for wanted in settings.attention[::-1]),
            norm_num_groups=math.gcd(32, *settings.block_out_channels),
        )


def noise_scheduler() -> DDPMScheduler:
    """1,000 steps of Rombach et al.'s noise, rescaled to end in pure noise (Lin et al. 2024), v-prediction."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


@dataclass(frozen=True)
class DenoisingLoss:
    """The weighted squared error of the predicted velocity, on cached latents and the masks that go with them."""

    latents: torch.Tensor
    masks: np.ndarray
    n_classes: int
    factor: int
    foreground_weight: float
    scheduler: DDPMScheduler

    def __call__(
        self, model: nn.Module, chosen: np.ndarray, noise: np.ndarray, times: np.ndarray, dropped: np.ndarray
    ) -> torch.Tensor:
        """Mean loss of the patches `chosen`, noised by `noise` (n, C, h, w) at `times` (n,), `dropped` without mask."""
        device = next(model.parameters()).device
        latents = self.latents[torch.from_numpy(chosen)].to(device)
        noise_, times_ = torch.from_numpy(noise).to(device), torch.from_numpy(times).to(device)
        condition = mask_condition(self.masks[chosen], self.n_classes, self.factor, device)
        weight = 1 + self.foreground_weight * defect_share(condition)
        condition[torch.from_numpy(dropped).to(device)] = NO_MASK
        noisy = self.scheduler.add_noise(latents, noise_, times_)
        velocity = self.scheduler.get_velocity(latents, noise_, times_)
        predicted = model(torch.cat([noisy, condition], 1), times_).sample
        return (weight * (predicted.float() - velocity) ** 2).mean()

    def draw(self, rng: np.random.Generator, chosen: np.ndarray, dropout: float) -> tuple[np.ndarray, ...]:
        """Noise, timesteps and which masks to withhold, for the patches `chosen`."""
        n = len(chosen)
        noise = rng.standard_normal((n, *self.latents.shape[1:]), dtype=np.float32)
        return noise, rng.integers(0, self.scheduler.config.num_train_timesteps, n), rng.random(n) < dropout


def train_ldm(
    autoencoder: Autoencoder,
    images: np.ndarray,
    masks: np.ndarray,
    val_images: np.ndarray,
    val_masks: np.ndarray,
    n_classes: int,
    settings: Mapping,
    workdir: str | os.PathLike,
    seed: int,
    callback: Callable[[int], None] | None = None,
) -> tuple[UNet2DModel, History]:
    """Train the denoiser on latents of `images` under `masks`, both (N, H, W) uint8, resuming in `workdir`.

    `settings` are the keys of LDMSettings. Returns the denoiser with averaged
    weights and the history: step, loss, and `val_loss` of patches of other
    micrographs at fixed noise.
    """
    options = read_settings(LDMSettings, settings, "ldm")
    held_out = evenly_spaced(len(val_images), options.validation_patches)

    def loss_on(images: np.ndarray, masks: np.ndarray) -> DenoisingLoss:
        latents = autoencoder.encode(images)
        return DenoisingLoss(
            latents, masks, n_classes, autoencoder.factor, options.foreground_weight, noise_scheduler()
        )

    loss, val_loss = loss_on(images, masks), loss_on(val_images[held_out], val_masks[held_out])

    def batch_loss(model: nn.Module, rng: np.random.Generator, part: slice) -> torch.Tensor:
        chosen = rng.integers(0, len(masks), options.batch_size)
        return loss(model, chosen[part], *(drawn[part] for drawn in loss.draw(rng, chosen, options.mask_dropout)))

    def validate(model: UNet2DModel) -> dict[str, float]:
        rng, losses = np.random.default_rng(seed), []
        for i in range(0, len(held_out), 16):
            chosen = np.arange(i, min(i + 16, len(held_out)))
            losses += [val_loss(model, chosen, *val_loss.draw(rng, chosen, 0.0)).item()] * len(chosen)
        return {"val_loss": float(np.mean(losses))}

    network = build_denoiser(options, autoencoder, n_classes, images.shape[1], seed)
    return fit(network, batch_loss, validate, options, workdir, seed, callback)
