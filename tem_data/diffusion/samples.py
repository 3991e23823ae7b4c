"""Sample sheets: what the denoiser paints while it is being trained, and whether it copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from tem_data.diffusion.autoencoder import Autoencoder
from tem_data.diffusion.conditioning import ImageMaskPairs
from tem_data.diffusion.denoiser import MaskDenoiser
from tem_data.diffusion.pipeline import MaskToMicrographPipeline
from tem_data.training.averaged import evenly_spaced

SAMPLES = 24
SHOWN = 6


@dataclass(frozen=True)
class SampleSheets:
    """Paints the masks of evenly spaced validation patches, always from the same noise.

    Called with a denoiser, its step and the latents of the training patches, it writes `folder/step-000800.png`: the
    masks, the real micrographs, the painted ones; and returns
    `memorisation_ratio`, the median over the pictures of how far the nearest
    training patch is over the nearest of equally many validation patches, in latents.
    """

    autoencoder: Autoencoder
    validation: ImageMaskPairs
    class_names: Sequence[str]
    nm_per_px: float | None
    folder: Path

    def __call__(self, denoiser: MaskDenoiser, step: int, training_latents: torch.Tensor) -> dict[str, float]:
        from tem_data.fidelity.memorisation import nearest_training
        from tem_data.figures.pictures import colour_mask, contact_sheet

        pipeline = MaskToMicrographPipeline.assemble(denoiser, self.autoencoder, self.class_names, self.nm_per_px)
        pipeline.set_progress_bar_config(disable=True)
        conditioning = self.shown.conditioning
        painted = pipeline.paint(conditioning, range(len(conditioning.masks)))
        masks = [colour_mask(mask, self.class_names) for mask in conditioning.masks]
        rows: dict[str, Sequence[np.ndarray] | np.ndarray]
        rows = {"requested mask": masks, "real": self.shown.images, "generated": painted}
        sheet = {name: [(picture, ()) for picture in pictures[:SHOWN]] for name, pictures in rows.items()}
        contact_sheet(self.folder / f"step-{step:06d}.png", sheet, self.class_names, f"after {step} steps")
        training = training_latents.flatten(1).numpy()
        found = nearest_training(self._features(painted), training, self.held_out_features)
        return {"memorisation_ratio": found.summary()["ratio_median"]}

    @cached_property
    def shown(self) -> ImageMaskPairs:
        return self.validation.take(evenly_spaced(len(self.validation.images), SAMPLES))

    @cached_property
    def held_out_features(self) -> np.ndarray:
        return self._features(self.validation.images)

    def _features(self, images: np.ndarray) -> np.ndarray:
        return self.autoencoder.encode(images).flatten(1).numpy()
