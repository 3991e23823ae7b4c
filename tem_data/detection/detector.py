"""A trained Mask R-CNN that knows what it was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import nn

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, write_json
from tem_data.core.micrograph import Defect
from tem_data.detection.about import ABOUT, About, read_about
from tem_data.detection.detectron import CfgNode
from tem_data.detection.loading import downloaded, read_network, write_network
from tem_data.detection.prediction import BATCH, predict_wanted
from tem_data.detection.scale import Plan, plan, rescaled, to_own_px
from tem_data.detection.scores import DEFAULT_THRESHOLD, DetectorScores, read_scores
from tem_data.detection.tiling import OnTile, Wanted, search


@dataclass(frozen=True)
class Prediction:
    """What a detector found on a micrograph of `shape`: `defects` in its own px, by falling score.

    `nm_per_px` is that of the micrograph, None where it is not known; `factor` is by how much it was enlarged to be
    searched; `threshold` is the least score; `faint` is the sum of lower ones, from 0.1 on,
    which tells of defects that were missed; `note` says in words what is odd about the scale.
    """

    defects: tuple[Defect, ...]
    shape: tuple[int, int]
    nm_per_px: float | None
    factor: float
    threshold: float
    faint: float
    note: str


@dataclass(frozen=True, eq=False)
class Detector:
    """A Mask R-CNN, its detectron2 configuration, what it was trained on and, once evaluated, how good it is."""

    model: nn.Module
    cfg: CfgNode
    about: About
    scores: DetectorScores | None = None

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike, device: str | None = None) -> Detector:
        """A detector of a folder, or of `org/name[@revision]` on the Hub.

        It lies on `device`, by default on the GPU where there is one. A received
        model can do no harm. Raises TemDataError where it is not one that
        `save_pretrained` wrote, or cannot be had from the Hub as it was published.
        """
        folder = Path(name_or_folder)
        if not folder.is_dir():
            folder = downloaded(str(name_or_folder))
        cfg, model = read_network(folder, device)
        about = read_about(folder)
        if len(about.classes) != cfg.MODEL.ROI_HEADS.NUM_CLASSES:
            raise TemDataError(
                f"{folder / ABOUT}: expected the {cfg.MODEL.ROI_HEADS.NUM_CLASSES} classes of the network, found "
                f"{len(about.classes)}; train the detector again, or fetch it anew"
            )
        return cls(model.eval(), cfg, about, read_scores(folder))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """`model.safetensors`, `config.yaml` (detectron2's own) and `config.json`, whole or not at all.

        A `scores.json` that lies there goes: it is of another detector.
        """
        with atomic_write(folder) as draft:
            draft.mkdir()
            write_network(self.model, self.cfg, draft)
            write_json(draft / ABOUT, asdict(self.about))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.about.classes

    @property
    def threshold(self) -> float:
        """The least confidence of a defect: chosen on validation micrographs, 0.5 where there were none."""
        return self.scores.threshold if self.scores else DEFAULT_THRESHOLD

    def plan(self, shape: tuple[int, int], nm_per_px: float | None = None) -> Plan:
        """How a micrograph of `shape` would be searched. Raises TemDataError for a scale that cannot be."""
        return plan(self.about, shape, nm_per_px)

    def predict(
        self,
        image: np.ndarray,
        nm_per_px: float | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Prediction:
        """The defects of a score of `threshold` or more on a micrograph (h, w) uint8 of any size.

        Where `nm_per_px` is known, it is searched at a scale that the detector
        was trained at. Raises TemDataError for another array, a threshold out of range, and as `plan` does.
        """
        _check_image(image)
        least = self.threshold if threshold is None else threshold
        if not 0 <= least <= 1:
            raise TemDataError(f"threshold: expected a confidence from 0 to 1, found {least}")
        scale = self.plan(image.shape, nm_per_px)

        def find(crops: Sequence[np.ndarray], wanted: Wanted) -> Sequence[OnTile]:
            return self.find(crops, least, wanted)

        found = search(rescaled(image, scale.shape), self.about.tile, find, batch_size or BATCH, progress)
        own = (to_own_px(defect, scale.shape, image.shape) for defect in found.defects)
        defects = tuple(defect for defect in own if defect is not None)
        return Prediction(defects, image.shape, nm_per_px, scale.factor, least, found.faint, scale.note)

    def find(self, crops: Sequence[np.ndarray], threshold: float, wanted: Wanted) -> Sequence[OnTile]:
        """The defects of a score of `threshold` or more on each of some tiles, (h, w) uint8, that are `wanted`."""
        return predict_wanted(self, crops, threshold, wanted)


def _check_image(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 2 or not image.size:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise TemDataError(
            f"image: expected grey levels (height, width) uint8, found {found}; tem_data.images.reading.read_image "
            "gives them"
        )
