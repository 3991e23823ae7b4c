"""What the denoiser is told of a patch, at the latent grid: classes, outlines of the defects, pixel size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from tem_data.core.errors import TemDataError

# No share is negative: "no mask given" differs from "a mask without defects".
NO_MASK = -1.0


class Conditioning(NamedTuple):
    """What N pictures are to show: class masks (N, H, W) uint8, `instance_edges` (N, H, W) bool, nm per px (N,).

    A class mask is 0 on the background, k + 1 on class k of n and n + 1 on what is there but is not to be learnt as a
    class: ambiguous defects, and what an edge leaves of one. A pixel size is NaN where it is not known.
    """

    masks: np.ndarray
    edges: np.ndarray
    nm_per_px: np.ndarray

    def take(self, chosen: np.ndarray | slice) -> Conditioning:
        return Conditioning(*(values[chosen] for values in self))


class ImageMaskPairs(NamedTuple):
    """Pictures (N, H, W) uint8 and what they show."""

    images: np.ndarray
    conditioning: Conditioning

    def take(self, chosen: np.ndarray | slice) -> ImageMaskPairs:
        return ImageMaskPairs(self.images[chosen], self.conditioning.take(chosen))


def mask_condition(
    masks: np.ndarray, edges: np.ndarray, n_classes: int, factor: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Share of each class, of ignored defects, and of all defects' edges, in the four quarters of each latent pixel.

    `masks` are those of a Conditioning, `edges` (N, H, W) bool of
    `instance_edges`; `factor` is the side of a latent pixel in px.
    Returns (N, `condition_channels(n_classes)`, H / factor, W / factor) float32 in
    [0, 1]; channel 4k + 2i + j holds class k, then the ignored, then the edges,
    in the quarter of row i, column j. The paper concatenates the mask at latent resolution
    (methods, latent diffusion model); edges are Wang et al.'s (2018, pix2pixHD).

    Raises TemDataError if a mask is no class mask of `n_classes`, or if the
    sides are no multiples of `factor`.
    """
    _check(masks, edges, n_classes, factor)
    values = torch.from_numpy(np.ascontiguousarray(masks)).to(device)[:, None]
    classes = torch.arange(1, n_classes + 2, device=device).view(1, -1, 1, 1)
    outlines = torch.from_numpy(np.ascontiguousarray(edges)).to(device)[:, None]
    shares = torch.cat([values == classes, outlines], 1).float()
    return F.pixel_unshuffle(F.avg_pool2d(shares, factor // 2), 2)


def condition_channels(n_classes: int) -> int:
    """How many channels `mask_condition` has."""
    return 4 * (n_classes + 2)


def _check(masks: np.ndarray, edges: np.ndarray, n_classes: int, factor: int) -> None:
    if masks.dtype != np.uint8 or masks.ndim != 3 or edges.shape != masks.shape:
        raise TemDataError(
            f"class masks of {masks.dtype}, shape {masks.shape}, with edges of shape {edges.shape}: expected uint8 "
            "masks (N, H, W), 0 background and k + 1 for class k, and edges of the same shape"
        )
    highest = int(masks.max(initial=0))
    if highest > n_classes + 1:
        raise unknown_class(highest, n_classes)
    if factor % 2 or any(side % factor for side in masks.shape[1:]):
        raise TemDataError(
            f"class masks of {masks.shape[1]}×{masks.shape[2]} px: expected sides that are multiples of the latent "
            f"factor {factor}, and that to be even; cut patches of another size, or take another autoencoder"
        )


def unknown_class(value: int, n_classes: int) -> TemDataError:
    """The error for a class mask that holds a `value` above `n_classes`."""
    return TemDataError(
        f"a class mask holds the value {value}, but there are {n_classes} classes; expected 0 to {n_classes}: "
        "make the masks with the classes that the model was trained with"
    )


def instance_edges(instances: np.ndarray) -> np.ndarray:
    """Where a pixel of (…, H, W) ids differs from one of its four neighbours, bool.

    Ids of instances tell touching defects apart; a class mask does not, but will do.
    """
    edges = np.zeros(instances.shape, bool)
    vertical, horizontal = np.diff(instances, axis=-2) != 0, np.diff(instances, axis=-1) != 0
    edges[..., 1:, :] |= vertical
    edges[..., :-1, :] |= vertical
    edges[..., 1:] |= horizontal
    edges[..., :-1] |= horizontal
    return edges


def pixel_size_code(nm_per_px: torch.Tensor) -> torch.Tensor:
    """Pixel sizes (N,) as numbers for a sinusoidal embedding like that of the timesteps: 100 an octave, 500 at 1 nm."""
    return 500 + 100 * torch.log2(nm_per_px)
