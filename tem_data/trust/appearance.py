"""How micrographs look, in a few numbers, and how far one looks from others."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np

from tem_data.core.micrograph import Micrograph

SIGMAS = (1, 2, 4, 8)
FEATURES = ("brightness", "contrast", *(f"structure of {2 * sigma} px" for sigma in SIGMAS))
LEAST = (8.0, 0.1, *(0.1 for _ in SIGMAS))
LEAST_DISTANCE = 1.0


def appearance(image: np.ndarray) -> np.ndarray:
    """`FEATURES` of an image (h, w) uint8: mean grey level, logarithm of its standard deviation, and the logarithms
    of the share of it that structures of some sizes have."""
    grey = image.astype(np.float32)
    levels = [grey, *(cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in SIGMAS)]
    bands = [float((finer - coarser).std()) for finer, coarser in pairwise(levels)]
    contrast = float(grey.std()) + 1
    return np.array([grey.mean(), np.log(contrast), *(np.log((band + 0.1) / contrast) for band in bands)])


def appearance_of(image: np.ndarray, tile: int) -> np.ndarray:
    """That of a micrograph of any size: the mean over its tiles, which compares with that of the patches trained on."""
    rows, columns = (range(0, max(1, side - tile + 1), tile) for side in image.shape)
    return np.mean([appearance(image[y : y + tile, x : x + tile]) for y in rows for x in columns], 0)


def distances(looks: np.ndarray, others: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """How far (n, f) are from (m, f), (n, m), in the root mean square of what training micrographs (t, f) differ by."""
    scale = np.maximum(trained.std(0), LEAST)
    return np.sqrt((((looks[:, None] - others[None]) / scale) ** 2).mean(2))


def novelty(look: np.ndarray, trained: np.ndarray) -> float:
    """How far a micrograph (f,) is from the nearest of those trained on (t, f); 1: as far as these are from another."""
    if len(trained) < 2:
        usual = LEAST_DISTANCE
    else:
        among = distances(trained, trained, trained) + np.diag(np.full(len(trained), np.inf))
        usual = float(np.median(among.min(1)))
    return float(distances(look[None], trained, trained).min() / max(usual, 0.1))


def strangest(look: np.ndarray, trained: np.ndarray) -> str:
    """The feature by which a micrograph differs most from the nearest of those trained on, in words."""
    nearest = trained[distances(look[None], trained, trained)[0].argmin()]
    difference = (look - nearest) / np.maximum(trained.std(0), LEAST)
    feature = int(np.abs(difference).argmax())
    return f"{'more' if difference[feature] > 0 else 'less'} {FEATURES[feature]}"


def looks_of(patches: Iterable[Micrograph]) -> np.ndarray:
    """The appearance (t, f) of the t micrographs that patches were cut from."""
    of_name: dict[str, list[np.ndarray]] = {}
    for patch in patches:
        of_name.setdefault(patch.micrograph_id, []).append(appearance(patch.pixels))
    return np.array([np.mean(looks, 0) for looks in of_name.values()]).reshape(-1, len(FEATURES))
