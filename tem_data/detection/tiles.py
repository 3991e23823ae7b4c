"""The step that finds the defects on the tiles of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from tem_data.coco.writing import coco_results
from tem_data.core.files import atomic_write, write_json
from tem_data.core.schema import read_classes, read_dataset
from tem_data.detection.detector import Detector
from tem_data.detection.prediction import predict_patches

Folder = str | os.PathLike


def predict_tiles(detector: Folder, patches: Folder, out: Folder, splits: Sequence[str]) -> None:
    """Find the defects on the tiles of some splits, at every confidence; write COCO results `SPLIT.json` to `out`."""
    loaded, classes = Detector.from_pretrained(detector), read_classes(patches)
    with atomic_write(out) as draft:
        for split in splits:
            tiles = list(read_dataset(patches, split))
            found = predict_patches(loaded, [cast(np.ndarray, tile.image) for tile in tiles])
            write_json(Path(draft, f"{split}.json"), coco_results(found, tiles, classes))
