"""The steps that train a Mask R-CNN on patches and find defects on tiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tem_data.coco.writing import coco_results
from tem_data.core.files import atomic_write, is_main_process, work_folder, write_json
from tem_data.core.schema import common_classes, read_classes, read_dataset, read_rows
from tem_data.detection.model import load_detector, save_detector
from tem_data.detection.prediction import predict_patches
from tem_data.detection.settings import DetectorSettings
from tem_data.detection.training import train_detector
from tem_data.training.checkpoints import History

Folder = str | os.PathLike


def train_detector_on(
    patches: Folder, out: Folder, settings: DetectorSettings, seed: int, pairs: Folder | None = None
) -> History:
    """Train on the training patches of a data set, and on `pairs` too if given; write the detector to `out`.

    An interrupted training resumes. Returns its losses. Raises TemDataError
    where the two have other classes, and as `train_detector` does.
    """
    folders = [patches, *([] if pairs is None else [pairs])]
    classes = common_classes(folders).names
    items = [patch for folder in folders for patch in read_rows(folder, "train")]
    steps = f"{settings.iterations} iterations of {settings.batch_size}"
    print(f"Mask R-CNN {settings.network}: {steps} of {len(items)} patches")
    with work_folder(out, [settings, seed], *folders) as work:
        detector, history = train_detector(items, classes, settings, seed, work)
        if is_main_process():
            save_detector(detector, out)
    print(f"{out}: a detector of {', '.join(classes)}")
    return history


def predict_tiles(detector: Folder, patches: Folder, out: Folder, splits: Sequence[str]) -> None:
    """Find the defects on the tiles of some splits, at every confidence; write COCO results `SPLIT.json` to `out`."""
    loaded, classes = load_detector(detector), read_classes(patches)
    with atomic_write(out) as draft:
        for split in splits:
            tiles = list(read_dataset(patches, split))
            found = predict_patches(loaded, [tile.image for tile in tiles])
            write_json(Path(draft, f"{split}.json"), coco_results(found, tiles, classes))
