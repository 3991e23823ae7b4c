"""Micrographs as a call of the pipeline gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image

OUTPUT_TYPES = ("np", "pil", "pt")
Pictures = np.ndarray | list[Image.Image] | torch.Tensor


@dataclass
class MicrographOutput(BaseOutput):
    """Micrographs in the `output_type` that was asked for, and the seed of each."""

    images: Pictures
    seeds: list[int]


def as_output_type(images: np.ndarray, output_type: str) -> Pictures:
    """Micrographs (N, H, W) uint8 as they are ("np"), as grey PIL images, or as (N, 1, H, W) float32 in 0..1 ("pt")."""
    if output_type == "pil":
        return [Image.fromarray(image) for image in images]
    if output_type == "pt":
        return torch.from_numpy(images)[:, None].float().div(255)
    return images
