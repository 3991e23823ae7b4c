"""Find defects on patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from tem_data.core.micrograph import Defect, defect_from_mask
from tem_data.detection.detectron import Instances, detector_postprocess
from tem_data.detection.tiling import FAINT, MARGIN, OnTile, Wanted

if TYPE_CHECKING:
    from tem_data.detection.detector import Detector

BATCH = 8


@torch.no_grad()
def predict_patches(
    detector: Detector, images: Sequence[np.ndarray], progress: bool = True
) -> list[tuple[Defect, ...]]:
    """The defects found on each image `(h, w) uint8`, by falling score; every score above the model's floor."""
    found: list[tuple[Defect, ...]] = []
    detector.model.eval()
    for start in tqdm(range(0, len(images), BATCH), "predict", disable=not progress):
        outputs = detector.model([model_input(detector, image) for image in images[start : start + BATCH]])
        found += [_defects(output["instances"].to("cpu"), detector.classes) for output in outputs]
    return found


@torch.inference_mode()
def predict_wanted(detector: Detector, images: Sequence[np.ndarray], threshold: float, wanted: Wanted) -> list[OnTile]:
    """As `predict_patches`, but only what has a score of `threshold` or more and is `wanted`: masks cost most."""
    model: Any = detector.model
    model.eval()
    batch = [model_input(detector, image) for image in images]
    shown = model.preprocess_image(batch)
    features = model.backbone(shown.tensor)
    proposals, _ = model.proposal_generator(shown, features, None)
    chosen, faint = [], []
    for k, found in enumerate(model.roi_heads._forward_box(features, proposals)):
        shrunk = images[k].shape[0] / found.image_size[0]
        centres = found.pred_boxes.get_centers().cpu().numpy() * shrunk
        scores = found.scores.cpu().numpy()
        chosen.append(found[torch.from_numpy((scores >= threshold) & wanted(k, centres, MARGIN))])
        faint.append(float(scores[(scores >= FAINT) & (scores < threshold) & wanted(k, centres, 0)].sum()))
    drawn = model.roi_heads.forward_with_given_boxes(features, chosen)
    return [
        OnTile(_defects(detector_postprocess(found, *image.shape).to("cpu"), detector.classes), sum_of_faint)
        for found, image, sum_of_faint in zip(drawn, images, faint, strict=True)
    ]


def model_input(detector: Detector, image: np.ndarray) -> dict:
    """An image (h, w) uint8 as detectron2's model takes it, at the size that the detector was trained on."""
    tensor = torch.from_numpy(image.copy()).expand(3, *image.shape)  # what Pillow reads is not writable
    short_side = detector.cfg.INPUT.MIN_SIZE_TEST
    if short_side and short_side != min(image.shape):
        size = tuple(round(side * short_side / min(image.shape)) for side in image.shape)
        tensor = F.interpolate(tensor[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
    return {"image": tensor, "height": image.shape[0], "width": image.shape[1]}


def _defects(instances: Instances, classes: Sequence[str]) -> tuple[Defect, ...]:
    def each() -> Iterator[Defect | None]:
        for mask, category, score in zip(
            instances.pred_masks.numpy(), instances.pred_classes.tolist(), instances.scores.tolist(), strict=True
        ):
            yield defect_from_mask(classes[category], mask, score=score)

    return tuple(defect for defect in each() if defect is not None)
