"""Find defects on patches and on whole micrographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
import torch
from pycocotools import mask as rle_ops
from torch.nn import functional as F
from tqdm import tqdm

from tem_data.core.micrograph import Defect, Micrograph, defect_from_mask, halved, window
from tem_data.detection.model import Detector

BATCH = 8
SAME = 0.5
MARGIN = 1 / 16


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


def predict_micrograph(detector: Detector, image: np.ndarray, tile: int) -> tuple[Defect, ...]:
    """The defects on a whole micrograph `(h, w) uint8`, by tiles of `tile` px that overlap by half.

    Each tile answers for the defects whose box centre lies nearer to its own
    centre than to that of any other tile, or at most a sixteenth of a tile beyond;
    what several tiles report is taken from the surest that sees it whole. So a
    defect of up to half a tile is seen whole and reported once.
    """
    rows, columns = _starts(image.shape[0], tile), _starts(image.shape[1], tile)
    corners = [(x, y) for y in rows for x in columns]
    crops = [image[y : y + tile, x : x + tile] for x, y in corners]
    height, width = crops[0].shape
    candidates = [
        _Candidate(defect, x, y)
        for (x, y), defects in zip(corners, predict_patches(detector, crops, progress=len(crops) > 20), strict=True)
        for defect in defects
        if _in_cell(x + defect.x + defect.mask.shape[1] / 2, x, columns, width)
        and _in_cell(y + defect.y + defect.mask.shape[0] / 2, y, rows, height)
    ]
    kept = _reported_once(candidates, (height, width), image.shape)
    found = (cast(Defect, window(c.defect, -c.x, -c.y, image.shape)) for c in kept)
    return tuple(sorted(found, key=lambda d: -d.score))


class _Candidate(NamedTuple):
    """A defect as a tile shows it, and the tile's upper left pixel."""

    defect: Defect
    x: int
    y: int

    def box(self) -> tuple[int, int, int, int]:
        left, top, width, height = self.defect.bbox
        return self.x + left, self.y + top, self.x + left + width, self.y + top + height


def _in_cell(middle: float, start: int, starts: Sequence[int], side: int) -> bool:
    """Whether, along one axis, a tile of `side` px answers for a defect at `middle`."""
    distance = np.abs(np.add(starts, side / 2) - middle)
    # a step beyond the border between two tiles is a step further from one centre and nearer to the other
    return distance[starts.index(start)] - distance.min() <= 2 * MARGIN * side


def _reported_once(candidates: Sequence[_Candidate], tile: tuple[int, int], shape: tuple[int, int]) -> list[_Candidate]:
    """The best candidate for each defect: the surer one, unless it lies so near to its tile's edge that it may be cut.

    Of those that touch an edge it is the largest. Within a tile the detector has chosen already.
    """

    def room(candidate: _Candidate) -> float:
        left, top, width, height = candidate.defect.bbox
        x, y = candidate.x, candidate.y
        rooms = [(left, x > 0), (top, y > 0)]
        rooms += [(tile[1] - left - width, x + tile[1] < shape[1]), (tile[0] - top - height, y + tile[0] < shape[0])]
        return min([MARGIN * min(tile), *(space for space, within in rooms if within)])

    def rank(candidate: _Candidate) -> tuple[float, ...]:
        space, defect = room(candidate), candidate.defect
        return -space, 0 if space else -defect.area, -defect.score

    ranked = sorted(candidates, key=rank)
    boxes = np.array([(*c.box(), c.x, c.y) for c in ranked]).reshape(-1, 6)
    kept = np.zeros(len(ranked), bool)
    for number, (left, top, right, bottom, x, y) in enumerate(boxes):
        meets = (boxes[:, 0] < right) & (boxes[:, 1] < bottom) & (boxes[:, 2] > left) & (boxes[:, 3] > top)
        elsewhere = (boxes[:, 4] != x) | (boxes[:, 5] != y)
        better = (ranked[i] for i in np.flatnonzero(kept & meets & elsewhere))
        kept[number] = not any(_same(ranked[number], other, tile) for other in better)
    return [candidate for candidate, is_kept in zip(ranked, kept, strict=True) if is_kept]


def _same(a: _Candidate, b: _Candidate, tile: tuple[int, int]) -> bool:
    """Whether two tiles show one defect: a mask IoU of `SAME` within what both of them show."""
    x, y = max(a.x, b.x), max(a.y, b.y)
    common = min(a.y, b.y) + tile[0] - y, min(a.x, b.x) + tile[1] - x
    one, other = (window(c.defect, x - c.x, y - c.y, common) for c in (a, b))
    if one is None or other is None:
        return False
    return rle_ops.iou([one.rle(*common)], [other.rle(*common)], [0]).item() >= SAME


def predict_halved(
    detector: Detector, micrograph: Micrograph, tile: int, max_side: int | None = None
) -> tuple[Defect, ...]:
    """The defects, in its own px, of a micrograph that is halved until no side is longer than `max_side` px."""
    small, scale = micrograph, 1
    while max_side and max(small.shape) > max_side:
        small, scale = halved(small), scale * 2
    return tuple(
        replace(d, x=d.x * scale, y=d.y * scale, mask=d.mask.repeat(scale, 0).repeat(scale, 1))
        for d in predict_micrograph(detector, cast(np.ndarray, small.image), tile)
    )


def _starts(side: int, tile: int) -> list[int]:
    last = max(0, side - tile)
    return sorted({*range(0, last, tile // 2), last})


def model_input(detector: Detector, image: np.ndarray) -> dict:
    """An image (h, w) uint8 as detectron2's model takes it, at the size that the detector was trained on."""
    tensor = torch.from_numpy(image.copy()).expand(3, *image.shape)  # what Pillow reads is not writable
    short_side = detector.cfg.INPUT.MIN_SIZE_TEST
    if short_side and short_side != min(image.shape):
        size = tuple(round(side * short_side / min(image.shape)) for side in image.shape)
        tensor = F.interpolate(tensor[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
    return {"image": tensor, "height": image.shape[0], "width": image.shape[1]}


def _defects(instances, classes: Sequence[str]) -> tuple[Defect, ...]:
    def each() -> Iterator[Defect | None]:
        for mask, category, score in zip(
            instances.pred_masks.numpy(), instances.pred_classes.tolist(), instances.scores.tolist(), strict=True
        ):
            yield defect_from_mask(classes[category], mask, score=score)

    return tuple(defect for defect in each() if defect is not None)
