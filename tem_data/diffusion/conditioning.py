"""The class mask at the latent grid, for concatenation with the latents."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from tem_data.errors import TemDataError

# No class share is negative: "no mask given" differs from "a mask without defects".
NO_MASK = -1.0


def mask_condition(masks: np.ndarray, n_classes: int, factor: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Share of each class in the four quarters of each latent pixel.

    `masks` are (N, H, W) uint8, 0 background, k + 1 class k; `factor` is the
    side of a latent pixel in px. Returns (N, 4 · n_classes, H / factor, W /
    factor) float32 in [0, 1]; channel 4k + 2i + j holds class k in the quarter
    of row i, column j. The paper concatenates the mask at latent resolution
    (methods, latent diffusion model).

    Raises TemDataError if a mask holds a value above `n_classes`, or if the
    sides are no multiples of `factor`.
    """
    highest = int(masks.max(initial=0))
    if highest > n_classes:
        raise TemDataError(
            f"a class mask holds the value {highest}, but there are {n_classes} classes; expected 0 to {n_classes}: "
            "make the masks with the classes that the model was trained with"
        )
    if factor % 2 or any(side % factor for side in masks.shape[1:]):
        raise TemDataError(
            f"class masks of {masks.shape[1]}×{masks.shape[2]} px: expected sides that are multiples of the latent "
            f"factor {factor}, and that to be even; change the patch size or the autoencoder in params.yaml"
        )
    values = torch.from_numpy(np.ascontiguousarray(masks)).to(device)[:, None]
    classes = torch.arange(1, n_classes + 1, device=device).view(1, -1, 1, 1)
    return F.pixel_unshuffle(F.avg_pool2d((values == classes).float(), factor // 2), 2)


def defect_share(condition: torch.Tensor) -> torch.Tensor:
    """Share of all defects in each latent pixel, (N, 1, h, w), from `mask_condition`."""
    return condition.sum(1, keepdim=True) / 4
