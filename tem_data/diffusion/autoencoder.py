"""Between 8-bit grey micrographs and standardised latents.

The autoencoder is any of diffusers' that is named, or a small one trained here.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, AutoModel, VQModel
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, read_json, write_json
from tem_data.diffusion.grain import Grain, fit_grain
from tem_data.diffusion.settings import AutoencoderSettings
from tem_data.download.fetching import split_name
from tem_data.training.averaged import evenly_spaced, fit_averaged
from tem_data.training.checkpoints import History
from tem_data.training.device import own_device

BATCH = 16
MEASURED = 256
LATENTS = "latents.json"
GRAIN = "grain"


def _is_news(record: logging.LogRecord) -> bool:
    known = r"The config attributes \{'block_out_channels': \[[\d, ]+\]\} were passed to AutoencoderTiny, but are not"
    return not re.match(known, record.getMessage())


# AutoencoderTiny saves `block_out_channels` of its own accord and warns of it each time it is loaded.
logging.getLogger("diffusers.configuration_utils").addFilter(_is_news)


class Autoencoder:
    """A frozen diffusers autoencoder with latents of zero mean and unit standard deviation in each channel.

    `latent_mean` and `latent_std`, one value per channel, are those of the
    model's own latents, `grain` is the noise that it smooths away; `measured`
    finds them.
    """

    def __init__(
        self,
        model: AutoencoderKL | VQModel | AutoencoderTiny,
        latent_mean: Sequence[float] = (),
        latent_std: Sequence[float] = (),
        grain: Grain | None = None,
    ):
        self.model = model.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        self.grain = grain
        self.latent_mean = list(latent_mean) or [0.0] * self.latent_channels
        self.latent_std = list(latent_std) or [1.0] * self.latent_channels

    @property
    def latent_channels(self) -> int:
        return self.model.config.latent_channels

    @property
    def factor(self) -> int:
        """Side of a latent pixel in image pixels."""
        return 2 ** (len(self.model.config.block_out_channels) - 1)

    def measured(self, images: np.ndarray, seed: int) -> Autoencoder:
        """The same autoencoder, latents standardised and grain fitted on evenly spaced `images` (N, H, W) uint8."""
        images = images[evenly_spaced(len(images), MEASURED)]
        latents = Autoencoder(self.model).encode(images).double()
        mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3)).clamp_min(1e-6)
        standard = Autoencoder(self.model, mean.tolist(), std.tolist())
        latents = standard.encode(images)
        residuals = images.astype(np.float32) - standard.decode(latents)
        grain = fit_grain(latents, residuals, self.factor, seed).to(self.model.device)
        return Autoencoder(self.model, standard.latent_mean, standard.latent_std, grain)

    def encode(self, images: np.ndarray) -> torch.Tensor:
        """(N, H, W) uint8 to (N, C, H / factor, W / factor) float32, on the CPU.

        Raises TemDataError if the sides are no multiples of `factor`.
        """
        if any(side % self.factor for side in images.shape[1:]):
            raise TemDataError(
                f"patches of {images.shape[1]}×{images.shape[2]} px: this autoencoder needs sides that are multiples "
                f"of {self.factor} px; cut patches of another size"
            )
        return torch.cat([self._encode(images[i : i + BATCH]) for i in _batches(len(images), "encode")])

    def decode(self, latents: torch.Tensor, seeds: Sequence[int] | None = None) -> np.ndarray:
        """(N, C, h, w) standardised latents to (N, h · factor, w · factor) uint8, item i with grain of `seeds[i]`.

        Without seeds there is no grain.
        """
        parts = [slice(i, i + BATCH) for i in _batches(len(latents), "decode")]
        return np.concatenate([self._decode(latents[p], None if seeds is None else seeds[p]) for p in parts])

    def _statistics(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = (like.new_tensor(values).view(1, -1, 1, 1) for values in (self.latent_mean, self.latent_std))
        return mean, std

    @torch.no_grad()
    def _encode(self, images: np.ndarray) -> torch.Tensor:
        grey = to_unit(images, self.model.device).to(self.model.dtype)
        code = self.model.encode(grey.expand(-1, self.model.config.in_channels, -1, -1))
        latents = (code.latent_dist.mode() if hasattr(code, "latent_dist") else code.latents).float()
        mean, std = self._statistics(latents)
        return ((latents - mean) / std).cpu()

    @torch.no_grad()
    def _decode(self, latents: torch.Tensor, seeds: Sequence[int] | None) -> np.ndarray:
        latents = latents.to(self.model.device, torch.float32)
        mean, std = self._statistics(latents)
        decoded = self.model.decode((latents * std + mean).to(self.model.dtype)).sample
        grey = (decoded.float().mean(1) + 1) * 127.5
        if seeds is not None and self.grain:
            grey = grey + self.grain.draw(latents, seeds)
        return grey.round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _batches(n: int, name: str) -> tqdm:
    return tqdm(range(0, n, BATCH), desc=name, disable=n <= 20 * BATCH, leave=False)


def to_unit(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """(N, H, W) uint8 to (N, 1, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device)[:, None].float() / 127.5 - 1


def psnr(images: np.ndarray, others: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit images: 10 log10(255² / mean squared difference)."""
    error = np.mean((images.astype(np.float64) - others) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def load_autoencoder(name_or_folder: str | os.PathLike) -> Autoencoder:
    """An AutoencoderKL, VQModel or AutoencoderTiny of a folder or of `org/name[@revision]`, there or in `vae`, `vqvae`.

    It lies on `own_device()`. Raises TemDataError where there is none.
    """
    problems, name, revision = [], str(name_or_folder), None
    if not Path(name_or_folder).is_dir():
        name, revision = split_name(name)
    for subfolder in (None, "vae", "vqvae"):
        try:
            model = AutoModel.from_pretrained(name, subfolder=subfolder, revision=revision)
        except (OSError, ValueError) as error:
            problems.append(str(error).split("\n")[0])
            continue
        if isinstance(model, (AutoencoderKL, VQModel, AutoencoderTiny)):
            model.to(own_device())
            if not Path(name_or_folder, LATENTS).is_file():
                return Autoencoder(model)
            return Autoencoder(model, **read_json(Path(name_or_folder, LATENTS)), grain=_load_grain(name_or_folder))
        problems.append(f"it holds a {type(model).__name__}")
    raise TemDataError(
        f"autoencoder {name_or_folder}: {problems[0]} Expected the config.json and weights of an "
        "AutoencoderKL, VQModel or AutoencoderTiny, there or in vae/ or vqvae/; check the name"
    )


def _load_grain(folder: str | os.PathLike) -> Grain:
    try:
        return Grain.from_pretrained(Path(folder, GRAIN)).to(own_device())
    except (OSError, ValueError) as error:
        line = str(error).split("\n")[0]
        raise TemDataError(f"{Path(folder, GRAIN)}: {line} Train the autoencoder in {folder} again") from error


def save_autoencoder(autoencoder: Autoencoder, folder: str | os.PathLike) -> None:
    """As diffusers does; beside it `latents.json` (mean and standard deviation of each channel) and `grain`."""
    with atomic_write(folder) as draft:
        autoencoder.model.save_pretrained(draft)
        statistics = {"latent_mean": autoencoder.latent_mean, "latent_std": autoencoder.latent_std}
        write_json(draft / LATENTS, statistics)
        cast(Grain, autoencoder.grain).save_pretrained(draft / GRAIN)


class _Reconstruction(nn.Module):
    """AutoencoderTiny without its rounding of the latents to bytes, which has no gradient, but with `noise` on them."""

    def __init__(self, autoencoder: AutoencoderTiny):
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images: torch.Tensor, noise: torch.Tensor | float = 0.0) -> torch.Tensor:
        latents = self.autoencoder.encode(images).latents
        noise = noise * latents.detach().std((0, 2, 3), keepdim=True)
        return self.autoencoder.decode(latents + noise).sample


def build_autoencoder(settings: AutoencoderSettings, seed: int) -> AutoencoderTiny:
    """A grey AutoencoderTiny with random weights."""
    levels = settings.factor.bit_length()
    model = AutoencoderTiny(
        in_channels=1,
        out_channels=1,
        encoder_block_out_channels=(settings.width,) * levels,
        decoder_block_out_channels=(settings.width,) * levels,
        num_encoder_blocks=(1,) + (3,) * (levels - 1),
        num_decoder_blocks=(3,) * (levels - 1) + (1,),
        latent_channels=settings.latent_channels,
    )
    _initialise(model, seed)
    return model.to(memory_format=torch.channels_last)


def _initialise(model: AutoencoderTiny, seed: int) -> None:
    """Weights that keep the signal's size (He et al. 2015), residual blocks that start as the identity.

    torch's own shrink it layer by layer: after 80 steps on micrographs they gave 24 dB where these gave 29.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, AutoencoderTinyBlock):
            nn.init.zeros_(module.conv[-1].weight)


def reconstruction_loss(images: torch.Tensor, others: torch.Tensor, gradient_weight: float) -> torch.Tensor:
    """Mean absolute error of (N, 1, H, W) images plus `gradient_weight` times that of their differences."""
    gradients = sum(F.l1_loss(images.diff(dim=axis), others.diff(dim=axis)) for axis in (-1, -2))
    return F.l1_loss(images, others) + gradient_weight * gradients


def train_autoencoder(
    images: np.ndarray,
    val_images: np.ndarray,
    settings: AutoencoderSettings,
    workdir: str | os.PathLike,
    seed: int,
) -> tuple[Autoencoder, History]:
    """Train a grey AutoencoderTiny from scratch on `images` (N, H, W) uint8, resuming in `workdir`.

    Returns the autoencoder with latents and grain measured on `images`, and the history: step, loss and `val_psnr`
    in dB, of the validation images after rounding to 8 bits.
    """
    held_out = val_images[evenly_spaced(len(val_images), settings.validation_patches)]

    side = images.shape[1] // settings.factor
    latent_shape = settings.batch_size, settings.latent_channels, side, side

    def batch_loss(model: nn.Module, rng: np.random.Generator, step: int, part: slice) -> dict[str, torch.Tensor]:
        chosen = rng.integers(0, len(images), settings.batch_size)[part]
        noise = rng.standard_normal(latent_shape, dtype=np.float32)[part] * settings.latent_noise
        batch = to_unit(images[chosen], next(model.parameters()).device)
        decoded = model(batch, torch.from_numpy(noise).to(batch))
        return {"loss": reconstruction_loss(decoded, batch, settings.gradient_weight)}

    def validate(model: _Reconstruction) -> dict[str, float]:
        device = model.autoencoder.device
        decoded = [model(to_unit(held_out[i : i + BATCH], device)) for i in range(0, len(held_out), BATCH)]
        grey = (torch.cat(decoded)[:, 0].clamp(-1, 1).cpu().numpy() + 1) * 127.5
        return {"val_psnr": psnr(held_out, grey.round())}

    network = _Reconstruction(build_autoencoder(settings, seed))
    trained, history = fit_averaged(network, batch_loss, validate, settings, workdir, seed, section="autoencoder")
    return Autoencoder(trained.autoencoder).measured(images, seed), history
