"""Find defects on patches and on whole micrographs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from tem_data.detection.model import Detector
from tem_data.errors import TemDataError
from tem_data.micrograph import Defect, Micrograph, count_by_class, defect_from_mask, window

BATCH = 8


@torch.no_grad()
def predict_patches(
    detector: Detector, images: Sequence[np.ndarray], progress: bool = True
) -> list[tuple[Defect, ...]]:
    """The defects found on each image `(h, w) uint8`, by falling score; every score above the model's floor."""
    found: list[tuple[Defect, ...]] = []
    detector.model.eval()
    for start in tqdm(range(0, len(images), BATCH), "predict", disable=not progress):
        outputs = detector.model([_input(detector, image) for image in images[start : start + BATCH]])
        found += [_defects(output["instances"].to("cpu"), detector.classes) for output in outputs]
    return found


def predict_micrograph(detector: Detector, image: np.ndarray, tile: int) -> tuple[Defect, ...]:
    """The defects on a whole micrograph `(h, w) uint8`, by tiles of `tile` px that overlap by half.

    Each tile answers for the defects whose box centre lies nearer to its own
    centre than to that of any other tile, so a defect of up to half a tile is
    seen whole and reported once.
    """
    tiles = [(x, y) for y in _starts(image.shape[0], tile) for x in _starts(image.shape[1], tile)]
    crops = [image[y : y + tile, x : x + tile] for x, y in tiles]
    centres = np.array([(x + c.shape[1] / 2, y + c.shape[0] / 2) for (x, y), c in zip(tiles, crops)])
    kept: list[Defect] = []
    for number, defects in enumerate(predict_patches(detector, crops, progress=len(crops) > 20)):
        x, y = tiles[number]
        for defect in (window(d, -x, -y, image.shape) for d in defects):
            left, top, width, height = defect.bbox
            middle = np.array([left + width / 2, top + height / 2])
            if np.square(centres - middle).sum(1).argmin() == number:
                kept.append(defect)
    return tuple(sorted(kept, key=lambda d: -d.score))


def predict_folder(
    detector: Detector,
    images: str | os.PathLike,
    out: str | os.PathLike,
    tile: int,
    threshold: float,
    pictures: str | os.PathLike | None = None,
) -> dict[str, dict[str, int]]:
    """Finds the defects on every image of a folder; returns how many of each class on each.

    Writes COCO results to `out`, the image entries they refer to to
    `{out}.images.json`, and, where `pictures` names a folder, each image with
    its defects drawn in. Raises TemDataError for an image that cannot be read.
    """
    from tem_data.figures import overlay
    from tem_data.files import write_json
    from tem_data.formats import files_by_stem, read_image
    from tem_data.formats.coco import coco_results, coco_truth
    from tem_data.schema import Classes

    classes, micrographs, found = Classes(detector.classes), [], []
    paths = [path for same_stem in files_by_stem(images).values() for path in same_stem]
    for path in tqdm(paths, "micrographs"):
        try:
            image = read_image(path)
        except (OSError, ValueError) as error:
            raise TemDataError(f"{path}: cannot be read as an image ({error}); take it out of the folder") from error
        micrographs.append(Micrograph(path.name, image, (), image.shape))
        found.append(tuple(d for d in predict_micrograph(detector, image, tile) if d.score >= threshold))
        if pictures:
            overlay(Path(pictures, f"{path.name}.png"), image, found[-1], detector.classes)
    write_json(out, coco_results(found, micrographs, classes))
    names = [m.micrograph_id for m in micrographs]
    write_json(f"{out}.images.json", coco_truth(micrographs, classes, names))
    return {m.micrograph_id: count_by_class([replace(m, defects=defects)]) for m, defects in zip(micrographs, found)}


def _starts(side: int, tile: int) -> list[int]:
    last = max(0, side - tile)
    return sorted({*range(0, last, tile // 2), last})


def _input(detector: Detector, image: np.ndarray) -> dict:
    tensor = torch.from_numpy(image.copy()).expand(3, *image.shape)  # what Pillow reads is not writable
    short_side = detector.cfg.INPUT.MIN_SIZE_TEST
    if short_side and short_side != min(image.shape):
        size = tuple(round(side * short_side / min(image.shape)) for side in image.shape)
        tensor = F.interpolate(tensor[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
    return {"image": tensor, "height": image.shape[0], "width": image.shape[1]}


def _defects(instances, classes: Sequence[str]) -> tuple[Defect, ...]:
    def each() -> Iterator[Defect | None]:
        for mask, category, score in zip(
            instances.pred_masks.numpy(), instances.pred_classes.tolist(), instances.scores.tolist()
        ):
            yield defect_from_mask(classes[category], mask, score=score)

    return tuple(defect for defect in each() if defect is not None)
