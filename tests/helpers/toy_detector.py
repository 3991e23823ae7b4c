"""Detectors that need no training: untrained ones, and one without fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from tem_data.detection.about import About, Scale
from tem_data.detection.detector import Detector
from tem_data.detection.detectron import Instances
from tem_data.detection.model import detector_config, new_network
from tem_data.detection.prediction import predict_patches
from tem_data.detection.settings import DetectorSettings
from tem_data.detection.tiling import FAINT, MARGIN, OnTile


def about(classes: Sequence[str], tile: int = 64, nm_per_px: Scale | None = None) -> About:
    return About(tuple(classes), "r18", tile, nm_per_px, micrographs=3, grey_mean=80.0, grey_std=20.0)


def stand_in(model, classes: Sequence[str]) -> Detector:
    """A detector whose network is whatever a test puts in its place."""
    return Detector(model, SimpleNamespace(INPUT=SimpleNamespace(MIN_SIZE_TEST=0)), about(classes))


def untrained(settings: DetectorSettings, classes: Sequence[str], seed: int = 0) -> Detector:
    cfg = detector_config(settings, classes, 80, 20)
    return Detector(new_network(cfg, None, seed).eval(), cfg, about(classes))


class Bright(nn.Module):
    """A network without fault: everything bright that it is shown."""

    def forward(self, batch):
        return [{"instances": self.found(item["image"][0].numpy() > 128)} for item in batch]

    def found(self, bright):
        parts, count = ndimage.label(bright)
        found = Instances(bright.shape)
        masks = np.array([parts == i for i in range(1, count + 1)])
        found.pred_masks = torch.from_numpy(masks.reshape(-1, *bright.shape))
        found.pred_classes = torch.zeros(count, dtype=torch.int64)
        found.scores = torch.linspace(0.9, 0.6, count)
        return found


class BrightDetector(Detector):
    """A detector of `Bright`, which has no heads that could be asked one by one."""

    def find(self, crops, threshold, wanted):
        found = predict_patches(self, crops, progress=False)
        return [
            OnTile(
                [d for d in defects if d.score >= threshold and wanted(k, _centre(d), MARGIN).item()],
                sum(d.score for d in defects if FAINT <= d.score < threshold and wanted(k, _centre(d), 0).item()),
            )
            for k, defects in enumerate(found)
        ]


def _centre(defect):
    x, y, w, h = defect.bbox
    return np.array([[x + w / 2, y + h / 2]])


PERFECT = BrightDetector(**vars(stand_in(Bright(), ("square",))))


def perfect(tile: int, nm_per_px: Scale | None = None, model: nn.Module = PERFECT.model) -> Detector:
    """Finds everything bright on tiles of this side."""
    return replace(PERFECT, model=model, about=about(("square",), tile, nm_per_px))
