"""Grain: the shot noise and scan lines that an autoencoder smooths away, drawn anew on what it decodes.

An autoencoder that is trained on the mean error gives back the mean of all
micrographs that share a latent code: everything but the noise. The noise is
modelled as Gaussian in bands of spatial frequency and direction, whose variance
at each place follows from the latents, fitted to the residuals of the training
patches by maximum likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

STEPS = 400
LEAST_VARIANCE = 1e-6
BATCH = 16
LEARNING_RATE = 3e-3
DIRECTIONS = 4
LINE = 128
# The seed of a picture also starts its diffusion; its grain is to be independent of that.
GRAIN_SEED = 1


class Grain(ModelMixin, ConfigMixin):
    """The variance of the noise of each latent pixel in `bands` half octaves × four directions, from the latents.

    `factor` image pixels make one latent pixel of `latent_channels`.
    """

    @register_to_config
    def __init__(self, latent_channels: int, factor: int, bands: int = 9, width: int = 64):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(latent_channels, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, DIRECTIONS * bands, 1),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Standardised latents (N, C, h, w) to log variances (N, 4 · bands, h, w), in squared grey levels."""
        return self.network(latents)

    @torch.no_grad()
    def draw(self, latents: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Noise (N, h · factor, w · factor) in grey levels for standardised latents, item i from `seeds[i]`."""
        grain = []
        for item, seed in zip(latents, seeds, strict=True):
            generator = torch.Generator().manual_seed(_grain_seed(int(seed)))
            turned = bool(torch.randint(2, (), generator=generator))
            noise = self._along_rows(item.mT if turned else item, generator)
            grain.append(noise.mT if turned else noise)
        return torch.stack(grain)

    def _along_rows(self, latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Noise (h · factor, w · factor) for latents (C, h, w), scan lines along rows rather than columns."""
        height, width = (side * self.config.factor for side in latents.shape[1:])
        windows = frequency_bands(height, width, self.config.bands).to(latents.device)
        # A small picture has no frequencies in the lowest bands.
        share = windows.square().mean((1, 2)).clamp_min(1e-12)[:, None, None]
        white = torch.randn(2, DIRECTIONS, height, width, generator=generator).to(latents.device)
        # Only neighbouring rings overlap, so that every other one may filter the same noise.
        sources = torch.cat([white[ring % 2] for ring in range(self.config.bands)])
        log_variance = self(latents[None].to(self.dtype)).float()
        scale = F.interpolate(log_variance, (height, width), mode="bilinear")[0].exp() / share
        return (in_bands(sources, windows) * scale.sqrt()).sum(0)


def _grain_seed(seed: int) -> int:
    # torch's generator on the CPU takes the lowest 32 bits of a seed only.
    return int(np.random.SeedSequence([seed, GRAIN_SEED]).generate_state(1)[0])


@lru_cache(maxsize=2)
def frequency_bands(height: int, width: int, bands: int) -> torch.Tensor:
    """Windows (4 · bands, height, width) in the frequency plane of `fft2`, whose squares sum to 1 above the lowest.

    Rings are raised cosines of half an octave each, the highest of which keeps
    all from 0.5 cycles a pixel on (Simoncelli and Freeman 1995). Each is divided
    by direction: lines that run along a row, or along a column, for some `LINE`
    px, as scanning leaves them; the cosine and the sine of the direction for the rest.
    """
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
    radius = torch.hypot(fy, fx)
    octaves = 2 * torch.log2(radius.clamp_min(1e-6) / 0.5)
    rings = [torch.cos((octaves + k).clamp(-1, 1) * torch.pi / 2).clamp_min(0) for k in range(bands)]
    rings[0] = torch.where(octaves > 0, 1.0, rings[0])
    rows, columns = (torch.cos((f.abs() * LINE).clamp_max(1) * torch.pi / 2).expand(height, width) for f in (fx, fy))
    rest = (1 - rows**2 - columns**2).clamp_min(0).sqrt() / radius.clamp_min(1e-6)
    directions = rows, columns, rest * fx.abs(), rest * fy.abs()
    return torch.stack([ring * direction for ring in rings for direction in directions])


def in_bands(images: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """Each of (B, H, W) images filtered by its own of (B, H, W) windows."""
    return torch.fft.ifft2(torch.fft.fft2(images) * windows).real


def fit_grain(latents: torch.Tensor, residuals: np.ndarray, factor: int, seed: int) -> Grain:
    """Fit the noise of `residuals` (N, H, W), image minus its reconstruction in grey levels, to latents (N, C, h, w).

    Minimises the negative log-likelihood of independent normal values in each
    band. Training patches lie in all symmetries, but scan lines run one way: what
    has more noise along columns than along rows is turned first, and `draw` turns
    every other picture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        grain = Grain(latents.shape[1], factor)
    windows = frequency_bands(*residuals.shape[1:], grain.config.bands)
    energy = torch.stack([_energy(residual, windows, factor) for residual in tqdm(residuals, "grain", leave=False)])
    latents, energy = _lines_along_rows(latents, energy)
    nn.init.zeros_(grain.network[-1].weight)
    with torch.no_grad():
        grain.network[-1].bias.copy_(energy.mean((0, 2, 3)).log())
    optimizer = torch.optim.Adam(grain.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        chosen = torch.from_numpy(rng.integers(0, len(latents), BATCH))
        log_variance = grain(latents[chosen])
        loss = (log_variance + energy[chosen] * torch.exp(-log_variance)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return grain.requires_grad_(False).eval()


def _energy(residual: np.ndarray, windows: torch.Tensor, factor: int) -> torch.Tensor:
    bands = in_bands(torch.from_numpy(residual).float().expand(len(windows), -1, -1), windows)
    # A band without noise, as the lowest of a small picture, has no finite log variance.
    return F.avg_pool2d(bands.square()[None], factor)[0].clamp_min(LEAST_VARIANCE)


def _lines_along_rows(latents: torch.Tensor, energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turns the (square) patches whose lines along columns are stronger."""
    by_direction = energy.unflatten(1, (-1, DIRECTIONS))
    rows, columns, *_ = by_direction.sum((1, 3, 4)).unbind(1)
    turned = (columns > rows)[:, None, None, None]
    swapped = by_direction[:, :, [1, 0, 3, 2]].flatten(1, 2).mT
    return torch.where(turned, latents.mT, latents), torch.where(turned, swapped, energy)
