"""The step that leaves scores with a detector."""

from __future__ import annotations

import os
from pathlib import Path

from tem_data.core.files import write_json
from tem_data.core.schema import count_rows, read_dataset, read_rows
from tem_data.detection.detector import Detector
from tem_data.detection.prediction import predict_patches
from tem_data.detection.scores import DEFAULT_THRESHOLD, SCORES
from tem_data.materials import Materials
from tem_data.scoring.evaluation import EvaluationSettings, compare_tiles
from tem_data.scoring.scores import best, score_images
from tem_data.trust.record import Judged, scores_record, trusted

Folder = str | os.PathLike


def score_on_validation(detector: Folder, patches: Folder, settings: EvaluationSettings, materials: Materials) -> None:
    """Choose the threshold of a detector on the validation tiles of a data set; write `scores.json` to its folder.

    Where these hold no defect, no threshold can be chosen, and that is told on the terminal.
    """
    tiles = read_rows(patches, "validation") if count_rows(patches, "validation") else []
    if all(d.ignore for tile in tiles for d in tile.defects):
        print(f"{patches}: no defect on validation micrographs; the threshold of {detector} is {DEFAULT_THRESHOLD}")
        return
    loaded = Detector.from_pretrained(detector)
    found = predict_patches(loaded, [tile.pixels for tile in tiles])
    compared = compare_tiles(tiles, found, loaded.classes, settings)
    scores = best([score_images(compared, loaded.classes, settings, t) for t in settings.thresholds])
    judged = Judged(scores, len({tile.micrograph_id for tile in tiles}))
    training = read_dataset(patches, "train")
    trust = trusted([(tiles, found)], training, loaded.classes, scores.threshold, settings).record
    write_json(Path(detector, SCORES), scores_record(judged, None, materials, trust=trust))
    print(f"{detector}: threshold {scores.threshold:g}, F1_HM {scores.f1_hm:.3f} on validation micrographs")
