"""Pictures in the features of a detector."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tem_data.detection.detector import Detector
from tem_data.detection.prediction import model_input

BATCH = 8


def detector_features(detector: Detector, images: np.ndarray, progress: bool = True) -> np.ndarray:
    """The levels of a detector's feature pyramid, each averaged over the picture: (n, d) float32.

    `images` (n, h, w) uint8.
    """
    model: Any = detector.model
    model.eval()
    rows = []
    with torch.no_grad():
        for start in tqdm(range(0, len(images), BATCH), "features", leave=False, disable=not progress):
            batch = [model_input(detector, image) for image in images[start : start + BATCH]]
            levels = model.backbone(model.preprocess_image(batch).tensor)
            rows.append(torch.cat([levels[name].mean((2, 3)) for name in sorted(levels)], 1).float().cpu().numpy())
    return np.concatenate(rows)
