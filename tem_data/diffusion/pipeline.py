"""From class masks to micrographs: the trained model as a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, ModelMixin, SchedulerMixin, UNet2DModel

from tem_data.diffusion.autoencoder import Autoencoder
from tem_data.diffusion.conditioning import NO_MASK, mask_condition
from tem_data.diffusion.denoiser import noise_scheduler
from tem_data.errors import TemDataError


class MaskToMicrographPipeline(DiffusionPipeline):
    """Paints a grey micrograph under each class mask.

    Components: `unet` (the denoiser), `scheduler` (DPM-Solver++ or DDIM), `vae` (any
    diffusers autoencoder). Configuration: `class_names` in the order of the mask
    values from 1 on; `latent_mean` and `latent_std` of the autoencoder's latents,
    one value per channel; `nm_per_px` of the training patches, None if they vary.

    Load with `MaskToMicrographPipeline.from_pretrained(folder or Hub name)`.
    """

    model_cpu_offload_seq = "unet->vae"

    def __init__(
        self,
        unet: UNet2DModel,
        scheduler: SchedulerMixin,
        vae: ModelMixin,
        class_names: list[str] | tuple[str, ...] = (),
        latent_mean: list[float] | tuple[float, ...] = (),
        latent_std: list[float] | tuple[float, ...] = (),
        nm_per_px: float | None = None,
    ):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler, vae=vae)
        self.register_to_config(
            class_names=list(class_names),
            latent_mean=list(latent_mean),
            latent_std=list(latent_std),
            nm_per_px=nm_per_px,
        )

    @classmethod
    def assemble(
        cls, unet: UNet2DModel, autoencoder: Autoencoder, class_names: Sequence[str], nm_per_px: float | None = None
    ) -> MaskToMicrographPipeline:
        """The pipeline of a trained denoiser and the autoencoder that it was trained with."""
        scheduler = DPMSolverMultistepScheduler.from_config(noise_scheduler().config, euler_at_final=True)
        statistics = autoencoder.latent_mean, autoencoder.latent_std
        return cls(unet, scheduler, autoencoder.model, class_names, *statistics, nm_per_px)

    @property
    def autoencoder(self) -> Autoencoder:
        return Autoencoder(self.vae, self.config.latent_mean, self.config.latent_std)

    @torch.no_grad()
    def __call__(
        self,
        masks: np.ndarray,
        seeds: Sequence[int],
        num_inference_steps: int = 20,
        guidance_scale: float = 1.0,
        batch_size: int = 16,
        callback: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Micrographs (N, H, W) uint8 for `masks` (N, H, W) uint8, 0 background, k + 1 for `class_names[k]`.

        Image i depends on mask i and `seeds[i]` alone. A `guidance_scale` of 1 is
        no guidance (Ho and Salimans 2022). `callback(n)` runs after each batch of n.
        Raises TemDataError if masks and seeds differ in number or a mask does not suit.
        """
        if len(masks) != len(seeds):
            raise TemDataError(f"{len(masks)} masks but {len(seeds)} seeds; give one seed for each mask")
        images = np.empty(masks.shape, np.uint8)
        with self.progress_bar(total=len(masks)) as bar:
            for i in range(0, len(masks), batch_size):
                batch = slice(i, i + batch_size)
                images[batch] = self._paint(masks[batch], seeds[batch], num_inference_steps, guidance_scale)
                bar.update(len(seeds[batch]))
                if callback:
                    callback(len(seeds[batch]))
        return images

    def _paint(self, masks: np.ndarray, seeds: Sequence[int], steps: int, guidance_scale: float) -> np.ndarray:
        device, dtype, autoencoder = self.unet.device, self.unet.dtype, self.autoencoder
        condition = mask_condition(masks, len(self.config.class_names), autoencoder.factor, device)
        latents = _noise(seeds, (autoencoder.latent_channels, *condition.shape[2:])).to(device)
        self.scheduler.set_timesteps(steps, device=device)
        latents = latents * self.scheduler.init_noise_sigma
        for time in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(latents, time)
            velocity = self._velocity(scaled.to(dtype), condition.to(dtype), time, guidance_scale)
            latents = self.scheduler.step(velocity.float(), time, latents).prev_sample
        return autoencoder.decode(latents)

    def _velocity(
        self, latents: torch.Tensor, condition: torch.Tensor, time: torch.Tensor, guidance_scale: float
    ) -> torch.Tensor:
        if guidance_scale == 1:
            return self.unet(torch.cat([latents, condition], 1), time).sample
        both = torch.cat([condition, torch.full_like(condition, NO_MASK)])
        guided, free = self.unet(torch.cat([latents.repeat(2, 1, 1, 1), both], 1), time).sample.chunk(2)
        return free + guidance_scale * (guided - free)


def _noise(seeds: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Normal noise (N, *shape), each item from its own seed and on the CPU, so that devices and batches agree."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds])
