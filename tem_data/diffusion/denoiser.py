"""The denoiser of the latent diffusion model, and its training."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ConfigMixin, DDPMScheduler, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from tem_data.core.errors import SettingError
from tem_data.diffusion.autoencoder import Autoencoder
from tem_data.diffusion.conditioning import (
    NO_MASK,
    Conditioning,
    ImageMaskPairs,
    condition_channels,
    mask_condition,
    pixel_size_code,
)
from tem_data.diffusion.settings import LDMSettings
from tem_data.training.averaged import evenly_spaced, fit_averaged
from tem_data.training.checkpoints import History

PYRAMID_WIDTH = 64
VALIDATION_BATCH = 16


class MaskDenoiser(ModelMixin, ConfigMixin):
    """A UNet2DModel that is told the mask, by concatenation with the latents and at every scale.

    With `conditioning` "concat" the mask enters with the latents only, as in the
    paper; with "spade" it also sets the scale and shift of every normalisation
    of the residual layers (Park et al. 2019, SPADE), at the resolution that the
    layer has. `pixel_size`: the network is told nm per px.

    At times above `blind_above`, of 1,000, it is not told the mask. There the
    grey level of the whole picture is decided, and of few micrographs the mask
    would only give away which one it is of.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int,
        n_classes: int,
        block_out_channels: Sequence[int] = (64, 128, 192),
        attention: Sequence[bool] = (False, False, True),
        layers_per_block: int = 1,
        conditioning: str = "spade",
        blind_above: int = 930,
        pixel_size: bool = False,
    ):
        super().__init__()
        channels = condition_channels(n_classes)
        self.unet = UNet2DModel(
            in_channels=latent_channels + channels,
            out_channels=latent_channels,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            down_block_types=tuple("AttnDownBlock2D" if wanted else "DownBlock2D" for wanted in attention),
            up_block_types=tuple("AttnUpBlock2D" if wanted else "UpBlock2D" for wanted in attention[::-1]),
            norm_num_groups=math.gcd(32, *block_out_channels),
            class_embed_type="timestep" if pixel_size else None,
        )
        if pixel_size:
            self.unet.class_embedding.register_forward_pre_hook(_in_dtype_of_weights)
        self.pyramid = nn.ModuleList()
        if conditioning == "spade":
            self.pyramid = _pyramid(channels, len(block_out_channels))
            for layer in [module for module in self.unet.modules() if isinstance(module, ResnetBlock2D)]:
                layer.norm1, layer.norm2 = SpatialNorm(layer.norm1), SpatialNorm(layer.norm2)

    @property
    def stride(self) -> int:
        """What the sides of the latents must be multiples of."""
        return 2 ** (len(self.config.block_out_channels) - 1)

    def forward(
        self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor, nm_per_px: torch.Tensor
    ) -> torch.Tensor:
        """The velocity (N, C, h, w) of noisy latents at `times` (N,) under `mask_condition` and `nm_per_px` (N,)."""
        condition = torch.where(times.reshape(-1, 1, 1, 1) > self.config.blind_above, NO_MASK, condition)
        scales, features = {}, condition
        for layer in self.pyramid:
            features = layer(features)
            scales[features.shape[-2:]] = features
        for module in self.unet.modules():
            if isinstance(module, SpatialNorm):
                module.scales = scales
        sizes = pixel_size_code(nm_per_px) if self.config.pixel_size else None
        velocity = self.unet(torch.cat([latents, condition], 1), times, class_labels=sizes).sample
        scales.clear()
        return velocity


def _in_dtype_of_weights(embedding: TimestepEmbedding, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """UNet2DModel casts what embeds the times to its dtype, but not what embeds the pixel sizes."""
    return (inputs[0].to(embedding.linear_1.weight.dtype),)


class SpatialNorm(nn.Module):
    """A normalisation whose scale and shift follow the mask at each place; at first it is `norm` itself."""

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.norm = norm
        self.modulation = nn.Conv2d(PYRAMID_WIDTH, 2 * norm.num_channels, 1)
        for weights in self.modulation.parameters():
            nn.init.zeros_(weights)
        self.scales: dict[torch.Size, torch.Tensor] = {}

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulation(self.scales[features.shape[-2:]]).chunk(2, dim=1)
        return self.norm(features) * (1 + scale) + shift


def _pyramid(channels: int, levels: int) -> nn.ModuleList:
    """Features of the mask at the resolution of each level of the U-Net, each from the one above."""
    layers = [nn.Conv2d(channels, PYRAMID_WIDTH, 3, padding=1)]
    layers += [nn.Conv2d(PYRAMID_WIDTH, PYRAMID_WIDTH, 3, stride=2, padding=1) for _ in range(levels - 1)]
    return nn.ModuleList(nn.Sequential(layer, nn.SiLU()) for layer in layers)


def build_denoiser(
    settings: LDMSettings, latent_channels: int, n_classes: int, side: int, pixel_size: bool, seed: int
) -> MaskDenoiser:
    """A MaskDenoiser with random weights, for latents of `side` px.

    Raises SettingError if `attention` and `block_out_channels` differ in length,
    or the latents cannot be halved as often as the levels ask.
    """
    levels = len(settings.block_out_channels)
    if len(settings.attention) != levels or side % 2 ** (levels - 1):
        problem = (
            f"{levels} levels; expected as many entries in attention (it has {len(settings.attention)}) and latents "
            f"({side} px) that can be halved {levels - 1} times"
        )
        raise SettingError("ldm", "block_out_channels", problem)
    shape = settings.block_out_channels, settings.attention, settings.layers_per_block
    told = settings.conditioning, settings.blind_above, pixel_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser = MaskDenoiser(latent_channels, n_classes, *shape, *told)
    return denoiser.to(memory_format=torch.channels_last)


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
    """The mean squared error of the predicted velocity, on cached latents and what was asked for them."""

    latents: torch.Tensor
    conditioning: Conditioning
    n_classes: int
    factor: int
    scheduler: DDPMScheduler

    def __call__(
        self, model: nn.Module, chosen: np.ndarray, noise: np.ndarray, times: np.ndarray, dropped: np.ndarray
    ) -> torch.Tensor:
        """Mean loss of the patches `chosen`, noised by `noise` (n, C, h, w) at `times` (n,), `dropped` without mask."""
        device = next(model.parameters()).device
        latents = self.latents[torch.from_numpy(chosen)].to(device)
        noise_, times_ = torch.from_numpy(noise).to(device), torch.from_numpy(times).to(device)
        conditioning = self.conditioning.take(chosen)
        condition = mask_condition(conditioning.masks, conditioning.edges, self.n_classes, self.factor, device)
        condition[torch.from_numpy(dropped).to(device)] = NO_MASK
        noisy = self.scheduler.add_noise(latents, noise_, times_)
        velocity = self.scheduler.get_velocity(latents, noise_, times_)
        predicted = model(noisy, times_, condition, torch.from_numpy(conditioning.nm_per_px).to(device))
        return nn.functional.mse_loss(predicted.float(), velocity)

    def draw(self, rng: np.random.Generator, chosen: np.ndarray, dropout: float) -> tuple[np.ndarray, ...]:
        """Noise, timesteps and which masks to withhold, for the patches `chosen`."""
        n = len(chosen)
        noise = rng.standard_normal((n, *self.latents.shape[1:]), dtype=np.float32)
        return noise, rng.integers(0, self.scheduler.config.num_train_timesteps, n), rng.random(n) < dropout


def train_ldm(
    autoencoder: Autoencoder,
    train: ImageMaskPairs,
    validation: ImageMaskPairs,
    n_classes: int,
    settings: LDMSettings,
    workdir: str | os.PathLike,
    seed: int,
    sample: Callable[[MaskDenoiser, int, torch.Tensor], dict[str, float]] | None = None,
    start: MaskDenoiser | None = None,
) -> tuple[MaskDenoiser, History]:
    """Train the denoiser, a new one or `start`, on the latents of `train`, resuming in `workdir`.

    `sample(denoiser, step, latents)`, the
    latents being those of `train`, looks at the averaged weights now and then, as `fit_averaged` says. Returns the
    denoiser with averaged weights and the history: step, loss, and `val_loss` of the patches
    of other micrographs at fixed noise. It is told the pixel size where that of
    the training patches is known and differs.
    """

    def loss_on(pairs: ImageMaskPairs) -> DenoisingLoss:
        latents = autoencoder.encode(pairs.images)
        return DenoisingLoss(latents, pairs.conditioning, n_classes, autoencoder.factor, noise_scheduler())

    loss = loss_on(train)
    val_loss = loss_on(validation.take(evenly_spaced(len(validation.images), settings.validation_patches)))

    def batch_loss(model: nn.Module, rng: np.random.Generator, step: int, part: slice) -> dict[str, torch.Tensor]:
        chosen = rng.integers(0, len(loss.latents), settings.batch_size)
        drawn = loss.draw(rng, chosen, settings.mask_dropout)
        return {"loss": loss(model, chosen[part], *(values[part] for values in drawn))}

    def validate(model: MaskDenoiser) -> dict[str, float]:
        rng, losses, n = np.random.default_rng(seed), [], len(val_loss.latents)
        for i in range(0, n, VALIDATION_BATCH):
            chosen = np.arange(i, min(i + VALIDATION_BATCH, n))
            losses += [val_loss(model, chosen, *val_loss.draw(rng, chosen, 0.0)).item()] * len(chosen)
        return {"val_loss": float(np.mean(losses))}

    pixel_size = sizes_differ(train.conditioning.nm_per_px)
    side = train.images.shape[1] // autoencoder.factor
    network = start or build_denoiser(settings, autoencoder.latent_channels, n_classes, side, pixel_size, seed)
    look = (lambda model, step: sample(model, step, loss.latents)) if sample else None
    return fit_averaged(network, batch_loss, validate, settings, workdir, seed, section="ldm", sample=look)


def sizes_differ(nm_per_px: np.ndarray) -> bool:
    """Whether all pixel sizes are known, and some differ by more than one percent."""
    return bool(np.isfinite(nm_per_px).all() and nm_per_px.max() > 1.01 * nm_per_px.min())
