"""Pictures of which only regions are painted anew."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, SchedulerMixin
from torch.nn import functional as F

from tem_data.core.errors import TemDataError
from tem_data.diffusion.autoencoder import Autoencoder

# Latent pixels by which a region is grown: a defect shows in the latents beside its own.
GROWN = 1


class KnownPictures(NamedTuple):
    """Pictures (N, H, W) uint8, and the regions (N, H, W) bool of each that are painted anew."""

    images: np.ndarray
    regions: np.ndarray

    def take(self, chosen: np.ndarray | slice) -> KnownPictures:
        return KnownPictures(self.images[chosen], self.regions[chosen])


class Outside(NamedTuple):
    """The latents of pictures that are kept, (N, C, h, w), and where they are not, (N, 1, h, w) in [0, 1]."""

    latents: torch.Tensor
    inside: torch.Tensor

    def velocity(
        self, velocity: torch.Tensor, noisy: torch.Tensor, signal: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Outside that with which any solver ends in the known latents: from x = αx₀ + σε, v = αε − σx₀."""
        known = (signal * noisy - self.latents) / noise
        return self.inside * velocity + (1 - self.inside) * known


def outside_of(known: KnownPictures, autoencoder: Autoencoder, device: torch.device) -> Outside:
    """The latents of known pictures, and their regions at the latent grid, grown."""
    latents = autoencoder.encode(known.images).to(device)
    regions = torch.from_numpy(np.ascontiguousarray(known.regions)).to(device)[:, None].float()
    inside = F.max_pool2d(regions, autoencoder.factor)
    return Outside(latents, F.max_pool2d(inside, 2 * GROWN + 1, stride=1, padding=GROWN))


def signal_and_noise(scheduler: SchedulerMixin, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the solver's step `number` takes the latents for: their standard deviations of picture and noise.

    Raises TemDataError for a scheduler that scales its latents otherwise.
    """
    if isinstance(scheduler, DPMSolverMultistepScheduler):
        return scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[number])
    if hasattr(scheduler, "sigmas"):
        raise TemDataError(
            f"{type(scheduler).__name__} cannot paint into known pictures; take DPMSolverMultistepScheduler or "
            "DDIMScheduler"
        )
    kept = scheduler.alphas_cumprod[scheduler.timesteps[number].cpu()]
    return kept.sqrt(), (1 - kept).sqrt()
