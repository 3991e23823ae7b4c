"""From class masks to micrographs: the trained model as a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from accelerate.utils.memory import release_memory, should_reduce_batch_size
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, ModelMixin, SchedulerMixin
from torch.nn import functional as F

from tem_data.core.errors import TemDataError
from tem_data.diffusion.autoencoder import Autoencoder
from tem_data.diffusion.conditioning import NO_MASK, Conditioning, instance_edges, mask_condition, unknown_class
from tem_data.diffusion.denoiser import MaskDenoiser, noise_scheduler
from tem_data.diffusion.grain import Grain

# Pixels of a batch where memory is not asked: as many as 16 pictures of 256 px on a CPU, 256 of them on a GPU.
BATCH_PIXELS = {"cpu": 16 * 256**2, "cuda": 256 * 256**2}
# Times, of 1,000, at which guidance begins (Kynkäänniemi et al. 2024); earlier it would shift the picture's grey level.
GUIDED_FROM = 800


# Latent pixels by which a region is grown: a defect shows in the latents beside its own.
GROWN = 1


class KnownPictures(NamedTuple):
    """Pictures (N, H, W) uint8, and the regions (N, H, W) bool of each that are painted anew."""

    images: np.ndarray
    regions: np.ndarray

    def take(self, chosen: np.ndarray | slice) -> KnownPictures:
        return KnownPictures(self.images[chosen], self.regions[chosen])


class MaskToMicrographPipeline(DiffusionPipeline):
    """Paints a grey micrograph under each class mask.

    Components: `unet` (the denoiser), `scheduler` (DPM-Solver++ in Lu et al.'s steps, or DDIM), `vae` (any
    diffusers autoencoder), `grain` (the noise that it smooths away). Configuration:
    `class_names` in the order of the mask values from 1 on; `latent_mean` and
    `latent_std` of the autoencoder's latents, one value per channel; `nm_per_px`,
    the median of the training patches, None if it is not known.

    Load with `MaskToMicrographPipeline.from_pretrained(folder or Hub name)`.
    Raises TemDataError where `unet` is another network, or denoiser and autoencoder do not belong together.
    """

    model_cpu_offload_seq = "unet->grain->vae"
    _optional_components = ["grain"]

    def __init__(
        self,
        unet: MaskDenoiser,
        scheduler: SchedulerMixin,
        vae: ModelMixin,
        grain: Grain | None = None,
        class_names: list[str] | tuple[str, ...] = (),
        latent_mean: list[float] | tuple[float, ...] = (),
        latent_std: list[float] | tuple[float, ...] = (),
        nm_per_px: float | None = None,
    ):
        super().__init__()
        if not isinstance(unet, MaskDenoiser):
            raise TemDataError(
                f"its unet is a {type(unet).__name__}, not a MaskDenoiser; train a model with this version of tem_data."
            )
        if unet.config.latent_channels != vae.config.latent_channels:
            raise TemDataError(
                f"the denoiser was trained on latents of {unet.config.latent_channels} channels, but the autoencoder "
                f"has {vae.config.latent_channels}; use the autoencoder that the denoiser was trained with"
            )
        self.register_modules(
            unet=unet.to(memory_format=torch.channels_last), scheduler=scheduler, vae=vae, grain=grain
        )
        self.register_to_config(
            class_names=list(class_names),
            latent_mean=list(latent_mean),
            latent_std=list(latent_std),
            nm_per_px=nm_per_px,
        )

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs) -> str:
        """The folder of a Hub model in the local cache, verified, whose name is the commit; `kwargs` as of diffusers.

        diffusers' own wants a Python file beside each component that is not of
        diffusers. Raises TemDataError as `tem_data.download.fetching.fetch` does.
        """
        from tem_data.download.fetching import fetch

        revision = kwargs.get("revision")
        name = f"{pretrained_model_name}@{revision}" if revision else pretrained_model_name
        wanted = ("cache_dir", "force_download", "local_files_only", "token")
        options = {option: kwargs[option] for option in wanted if kwargs.get(option) is not None}
        return str(fetch(name, ["model_index.json", "*/*.json", "*/*.safetensors"], **options).folder)

    @classmethod
    def assemble(
        cls, unet: MaskDenoiser, autoencoder: Autoencoder, class_names: Sequence[str], nm_per_px: float | None = None
    ) -> MaskToMicrographPipeline:
        """The pipeline of a trained denoiser and the autoencoder that it was trained with."""
        options = dict(use_lu_lambdas=True, euler_at_final=True)
        scheduler = DPMSolverMultistepScheduler.from_config(noise_scheduler().config, **options)
        statistics = autoencoder.latent_mean, autoencoder.latent_std
        return cls(unet, scheduler, autoencoder.model, autoencoder.grain, tuple(class_names), *statistics, nm_per_px)

    @property
    def autoencoder(self) -> Autoencoder:
        return Autoencoder(self.vae, self.config.latent_mean, self.config.latent_std, self.grain)

    def __call__(
        self,
        masks: np.ndarray,
        seeds: Sequence[int],
        instances: np.ndarray | None = None,
        nm_per_px: Sequence[float | None] | None = None,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.5,
        batch_size: int | None = None,
        callback: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Micrographs (N, H, W) uint8 for `masks` (N, H, W) uint8, 0 background, k + 1 for `class_names[k]`.

        `instances` (N, H, W), an id for each defect, tells touching defects of a
        class apart; `nm_per_px`, one value a mask, is by default that of the
        training patches. Sides may be any multiples of the latent grid, 1024 × 1024
        as well. Image i depends on mask i and `seeds[i]` alone. A `guidance_scale`
        above 1 makes defects plainer (Ho and Salimans 2022); it holds from
        `GUIDED_FROM` on, and 1 is no guidance. `batch_size` is by default what
        memory allows. `callback(n)` runs after each batch of n.

        Raises TemDataError if masks, instances, sizes and seeds differ in number
        or a mask does not suit.
        """
        conditioning = self._asked(masks, instances, nm_per_px, len(seeds))
        return self.paint(conditioning, seeds, num_inference_steps, guidance_scale, batch_size, callback)

    @torch.no_grad()
    def paint(
        self,
        conditioning: Conditioning,
        seeds: Sequence[int],
        num_inference_steps: int = 20,
        guidance_scale: float = 1.5,
        batch_size: int | None = None,
        callback: Callable[[int], None] | None = None,
        known: KnownPictures | None = None,
    ) -> np.ndarray:
        """As a call, of a Conditioning; an unknown pixel size is that of the training patches.

        With `known`, pictures are painted inside its regions only: the latents
        outside are those of its images, and what is painted fits them.
        """
        masks = self._checked(conditioning.masks)
        sizes = np.where(np.isfinite(conditioning.nm_per_px), conditioning.nm_per_px, self.config.nm_per_px or np.nan)
        conditioning = conditioning._replace(nm_per_px=sizes.astype(np.float32))
        size = batch_size or max(1, BATCH_PIXELS.get(self.unet.device.type, 0) // max(1, masks[0].size))
        images, done = np.empty(masks.shape, np.uint8), 0
        with self.progress_bar(total=len(masks)) as bar:
            while done < len(masks):
                batch = slice(done, done + size)
                try:
                    kept = None if known is None else self._outside(known.take(batch))
                    solved = num_inference_steps, guidance_scale
                    painted = self._paint(conditioning.take(batch), seeds[batch], *solved, kept)
                except RuntimeError as error:
                    if size == 1 or not should_reduce_batch_size(error):
                        raise
                    size //= 2
                    release_memory()
                    continue
                images[batch] = painted
                done += len(painted)
                bar.update(len(painted))
                if callback:
                    callback(len(painted))
        return images

    def _asked(
        self, masks: np.ndarray, instances: np.ndarray | None, nm_per_px: Sequence[float | None] | None, seeds: int
    ) -> Conditioning:
        sizes = [None] * len(masks) if nm_per_px is None else list(nm_per_px)
        if len(masks) != seeds or len(sizes) != seeds:
            raise TemDataError(
                f"{len(masks)} masks but {seeds} seeds and {len(sizes)} pixel sizes; give one of each for each mask"
            )
        classes = len(self.config.class_names)
        if (highest := int(np.max(masks, initial=0))) > classes:
            raise unknown_class(highest, classes)
        known = np.array([size or np.nan for size in sizes], np.float32)
        return Conditioning(masks, instance_edges(masks if instances is None else instances), known)

    def _checked(self, masks: np.ndarray) -> np.ndarray:
        if masks.ndim != 3 or not len(masks):
            raise TemDataError(f"masks of shape {masks.shape}: expected (N, height, width) with at least one mask")
        grid = self.autoencoder.factor * self.unet.stride
        if any(side % grid for side in masks.shape[1:]):
            raise TemDataError(
                f"masks of {masks.shape[1]}×{masks.shape[2]} px: this model paints sides that are multiples of {grid} "
                "px; cut or pad the masks"
            )
        return masks

    def _outside(self, known: KnownPictures) -> _Outside:
        device, autoencoder = self.unet.device, self.autoencoder
        latents = autoencoder.encode(known.images).to(device)
        regions = torch.from_numpy(np.ascontiguousarray(known.regions)).to(device)[:, None].float()
        inside = F.max_pool2d(regions, autoencoder.factor)
        return _Outside(latents, F.max_pool2d(inside, 2 * GROWN + 1, stride=1, padding=GROWN))

    def _paint(
        self,
        conditioning: Conditioning,
        seeds: Sequence[int],
        steps: int,
        guidance_scale: float,
        outside: _Outside | None = None,
    ) -> np.ndarray:
        device, dtype, autoencoder = self.unet.device, self.unet.dtype, self.autoencoder
        classes = len(self.config.class_names)
        condition = mask_condition(conditioning.masks, conditioning.edges, classes, autoencoder.factor, device).to(
            dtype
        )
        sizes = torch.from_numpy(conditioning.nm_per_px).to(device)
        latents = _noise(seeds, (autoencoder.latent_channels, *condition.shape[2:])).to(device)
        self.scheduler.set_timesteps(steps, device=device)
        if hasattr(self.scheduler, "set_begin_index"):  # many steps begin with several of one rounded time
            self.scheduler.set_begin_index(0)
        latents = latents * self.scheduler.init_noise_sigma
        for number, time in enumerate(self.scheduler.timesteps):
            scaled = self.scheduler.scale_model_input(latents, time).to(dtype)
            velocity = self._velocity(scaled, time, condition, sizes, guidance_scale).float()
            if outside is not None:
                velocity = outside.velocity(velocity, latents, *self._signal_and_noise(number))
            latents = self.scheduler.step(velocity, time, latents).prev_sample
        return autoencoder.decode(latents, seeds)

    def _signal_and_noise(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What the solver's step `number` takes the latents for: their standard deviations of picture and noise."""
        if isinstance(self.scheduler, DPMSolverMultistepScheduler):
            return self.scheduler._sigma_to_alpha_sigma_t(self.scheduler.sigmas[number])
        kept = self.scheduler.alphas_cumprod[self.scheduler.timesteps[number].cpu()]
        return kept.sqrt(), (1 - kept).sqrt()

    def _velocity(
        self,
        latents: torch.Tensor,
        time: torch.Tensor,
        condition: torch.Tensor,
        sizes: torch.Tensor,
        guidance_scale: float,
    ) -> torch.Tensor:
        if guidance_scale == 1 or time > GUIDED_FROM:
            return self.unet(latents, time, condition, sizes)
        both = torch.cat([condition, torch.full_like(condition, NO_MASK)])
        guided, free = self.unet(latents.repeat(2, 1, 1, 1), time, both, sizes.repeat(2)).chunk(2)
        return free + guidance_scale * (guided - free)


class _Outside(NamedTuple):
    """The latents of pictures that are kept, (N, C, h, w), and where they are not, (N, 1, h, w) in [0, 1]."""

    latents: torch.Tensor
    inside: torch.Tensor

    def velocity(
        self, velocity: torch.Tensor, noisy: torch.Tensor, signal: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Outside that with which any solver ends in the known latents: from x = αx₀ + σε, v = αε − σx₀."""
        known = (signal * noisy - self.latents) / noise
        return self.inside * velocity + (1 - self.inside) * known


def _noise(seeds: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Normal noise (N, *shape), each item from its own seed and on the CPU, so that devices and batches agree."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds])
