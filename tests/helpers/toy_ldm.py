"""A tiny latent diffusion model of dark squares on a bright noisy ground, for several test files."""

from functools import cache
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch

from tem_data.core.micrograph import Micrograph, defect_from_mask
from tem_data.diffusion import Autoencoder, MaskToMicrographPipeline, grain, train_autoencoder, train_ldm
from tem_data.diffusion.autoencoder import build_autoencoder
from tem_data.diffusion.conditioning import Conditioning, ImageMaskPairs, instance_edges
from tem_data.diffusion.denoiser import build_denoiser
from tem_data.diffusion.grain import Grain
from tem_data.diffusion.settings import AutoencoderSettings, LDMSettings
from tem_data.training.checkpoints import History

AUTOENCODER = dict(
    steps=60,
    batch_size=16,
    factor=4,
    latent_channels=4,
    width=16,
    gradient_weight=0.0,
    latent_noise=0.1,
    learning_rate=2e-3,
    warmup_steps=10,
    ema_decay=0.9,
)
LDM = dict(
    steps=120,
    batch_size=16,
    block_out_channels=(16, 32),
    attention=(False, False),
    layers_per_block=1,
    conditioning="spade",
    learning_rate=5e-3,
    warmup_steps=10,
    ema_decay=0.95,
    validation_steps=60,
)


def toy(n: int, seed: int, height: int = 32, width: int = 32) -> ImageMaskPairs:
    """One square of 12 px on each picture."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, height, width), np.uint8)
    for mask, (y, x) in zip(masks, rng.integers(0, (height - 12, width - 12), (n, 2)), strict=True):
        mask[y : y + 12, x : x + 12] = 1
    images = np.where(masks, 60, 190) + rng.normal(0, 5, masks.shape)
    return ImageMaskPairs(images.clip(0, 255).astype(np.uint8), conditioning(masks))


def conditioning(masks: np.ndarray) -> Conditioning:
    return Conditioning(masks, instance_edges(masks), np.full(len(masks), 0.5, np.float32))


def mask_micrographs(n: int) -> list[Micrograph]:
    """Their masks, without a picture."""
    return [
        Micrograph(f"m{i}", None, (defect_from_mask("square", mask > 0),), mask.shape, nm_per_px=0.5, origin="sim")
        for i, mask in enumerate(toy(n, 3).conditioning.masks)
    ]


@cache
def trained() -> tuple[Autoencoder, MaskToMicrographPipeline, History, History]:
    """The autoencoder, the pipeline and their histories."""
    train, validation = toy(64, 0), toy(16, 1)
    with TemporaryDirectory() as work, patch.object(grain, "STEPS", 40):
        autoencoder, history = train_autoencoder(
            train.images, validation.images, AutoencoderSettings(**AUTOENCODER), f"{work}/ae", 0
        )
        unet, ldm_history = train_ldm(autoencoder, train, validation, 1, LDMSettings(**LDM), f"{work}/ldm", 2)
    return autoencoder, MaskToMicrographPipeline.assemble(unet, autoencoder, ["square"], 0.5), history, ldm_history


def untrained_autoencoder(latent_channels: int = 2) -> Autoencoder:
    settings = AutoencoderSettings(steps=1, width=8, factor=4, latent_channels=latent_channels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        grain = Grain(latent_channels, 4, width=8)
    return Autoencoder(build_autoencoder(settings, 0), grain=grain)


def untrained(pixel_size: bool = False, **changes) -> MaskToMicrographPipeline:
    """A pipeline for one class, whose latents have two channels."""
    settings = LDMSettings(**(LDM | changes))
    unet = build_denoiser(settings, 2, 1, 8, pixel_size, 0).eval()
    return MaskToMicrographPipeline.assemble(unet, untrained_autoencoder(), ["square"], 0.5)
