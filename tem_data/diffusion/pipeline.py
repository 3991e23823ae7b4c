"""From class masks to micrographs: the trained model as a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from accelerate.utils.memory import release_memory, should_reduce_batch_size
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
    VQModel,
)

from tem_data.core.errors import TemDataError
from tem_data.diffusion.arguments import asked_pictures, function_or_none, number_from_0, one_of, whole_number
from tem_data.diffusion.autoencoder import Autoencoder
from tem_data.diffusion.conditioning import NO_MASK, Conditioning, mask_condition
from tem_data.diffusion.denoiser import MaskDenoiser, noise_scheduler
from tem_data.diffusion.grain import Grain
from tem_data.diffusion.known import KnownPictures, Outside, outside_of, signal_and_noise
from tem_data.diffusion.output import OUTPUT_TYPES, MicrographOutput, Pictures, as_output_type
from tem_data.diffusion.solving import TENSOR_INPUTS, Solver, StepEnd, step_end

__all__ = ["KnownPictures", "MaskToMicrographPipeline"]

# Pixels of a batch where memory is not asked: as many as 16 pictures of 256 px on a CPU, 256 of them on a GPU.
BATCH_PIXELS = {"cpu": 16 * 256**2, "cuda": 256 * 256**2}
# Times, of 1,000, at which guidance begins (Kynkäänniemi et al. 2024); earlier it would shift the picture's grey level.
GUIDED_FROM = 800


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
    _callback_tensor_inputs = list(TENSOR_INPUTS)

    def __init__(
        self,
        unet: MaskDenoiser,
        scheduler: SchedulerMixin,
        vae: AutoencoderKL | VQModel | AutoencoderTiny,
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
        masks: Any,
        seeds: Any = None,
        instances: Any = None,
        nm_per_px: Any = None,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.5,
        batch_size: int | None = None,
        callback: Callable[[int], None] | None = None,
        *,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        images_per_mask: int = 1,
        eta: float | None = None,
        output_type: str = "np",
        return_dict: bool = False,
        callback_on_step_end: Callable[..., Any] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = TENSOR_INPUTS,
    ) -> Pictures | MicrographOutput:
        """Micrographs, by default an array (N, H, W) uint8, for `masks`, 0 background, k + 1 for `class_names[k]`.

        Masks are an array or a tensor (H, W), (N, H, W) or (N, 1, H, W) of whole
        numbers or bools, a PIL image, whose stored values count, or a sequence of
        such; all of one size. Sides may be any multiples of the latent grid, 1024 ×
        1024 as well. `instances`, an id for each defect, given as masks are, tells
        touching defects of a class apart. `nm_per_px`, one number or one a mask, is
        by default that of the training patches.

        Image i depends on mask i and `seeds[i]` alone, with any scheduler, to within
        rounding whatever the batch. One seed s stands for s, s + 1, s + 2, …; without
        seeds they are drawn from `generator` (one, or one for each picture), or from
        torch's own, which `torch.manual_seed` sets. `images_per_mask` pictures of a
        mask follow each other, each with its seed.

        A `guidance_scale` above 1 makes defects plainer (Ho and Salimans 2022); it
        holds from `GUIDED_FROM` on, and 1 is no guidance. `eta` is that of DDIM.
        `batch_size` is by default what memory allows. `callback(n)` runs after each
        batch of n, diffusers' `callback_on_step_end` after each step of each batch;
        it may replace the batch's "latents".

        `output_type` "pil" gives grey PIL images, "pt" a tensor (N, 1, H, W) float32
        in 0..1 on the CPU. `return_dict=True` gives a MicrographOutput of `images` and
        `seeds`; the default is the pictures alone, where other pipelines give an
        output, as it was before there was one.

        Raises TemDataError, which names the argument, where one is not as it should
        be, and where the scheduler does not suit.
        """
        one_of(output_type, "output_type", OUTPUT_TYPES)
        function_or_none(callback, "callback")
        on_step = step_end(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
        classes = len(self.config.class_names)
        asked = asked_pictures(masks, seeds, instances, nm_per_px, generator, images_per_mask, classes)
        painted = self.paint(
            *asked, num_inference_steps, guidance_scale, batch_size, callback, eta=eta, on_step=on_step
        )
        images = as_output_type(painted, output_type)
        return MicrographOutput(images, asked.seeds) if return_dict else images

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
        eta: float | None = None,
        on_step: StepEnd | None = None,
    ) -> np.ndarray:
        """As a call, of a Conditioning; an unknown pixel size is that of the training patches.

        With `known`, pictures are painted inside its regions only: the latents
        outside are those of its images, and what is painted fits them.
        """
        steps = whole_number(num_inference_steps, "num_inference_steps", 1)
        scale = number_from_0(guidance_scale, "guidance_scale")
        share = None if eta is None else number_from_0(eta, "eta")
        masks = self._checked(conditioning.masks)
        sizes = np.where(np.isfinite(conditioning.nm_per_px), conditioning.nm_per_px, self.config.nm_per_px or np.nan)
        conditioning = conditioning._replace(nm_per_px=sizes.astype(np.float32))
        size = self._batch_size(batch_size, masks[0].size)
        images, done = np.empty(masks.shape, np.uint8), 0
        with self.progress_bar(total=len(masks)) as bar:
            while done < len(masks):
                batch = slice(done, done + size)
                try:
                    kept = None if known is None else self._outside(known.take(batch))
                    painted = self._paint(conditioning.take(batch), seeds[batch], steps, scale, kept, share, on_step)
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

    def _batch_size(self, batch_size: int | None, pixels: int) -> int:
        if batch_size is not None:
            return whole_number(batch_size, "batch_size", 1)
        return max(1, BATCH_PIXELS.get(self.unet.device.type, 0) // max(1, pixels))

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

    def _outside(self, known: KnownPictures) -> Outside:
        return outside_of(known, self.autoencoder, self.unet.device)

    def _paint(
        self,
        conditioning: Conditioning,
        seeds: Sequence[int],
        steps: int,
        guidance_scale: float,
        outside: Outside | None = None,
        eta: float | None = None,
        on_step: StepEnd | None = None,
    ) -> np.ndarray:
        device, dtype, autoencoder = self.unet.device, self.unet.dtype, self.autoencoder
        classes = len(self.config.class_names)
        condition = mask_condition(conditioning.masks, conditioning.edges, classes, autoencoder.factor, device).to(
            dtype
        )
        sizes = torch.from_numpy(conditioning.nm_per_px).to(device)
        latents = _noise(seeds, (autoencoder.latent_channels, *condition.shape[2:])).to(device)
        solver = Solver(self.scheduler, steps, seeds, device, eta)
        latents = latents * self.scheduler.init_noise_sigma
        for number, time in enumerate(solver.times):
            scaled = self.scheduler.scale_model_input(latents, time).to(dtype)
            velocity = self._velocity(scaled, time, condition, sizes, guidance_scale).float()
            if outside is not None:
                velocity = outside.velocity(velocity, latents, *signal_and_noise(self.scheduler, number))
            latents = solver.step(velocity, time, latents)
            if on_step:
                latents = on_step(number, time, latents)
        return autoencoder.decode(solver.solved(latents), seeds)

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


def _noise(seeds: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Normal noise (N, *shape), each item from its own seed and on the CPU, so that devices and batches agree."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds])


# `DiffusionPipeline.from_pretrained` of a folder looks for the class in diffusers.
diffusers.MaskToMicrographPipeline = MaskToMicrographPipeline
