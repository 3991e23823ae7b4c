"""The step that trains a Mask R-CNN on patches."""

from __future__ import annotations

import os

from tem_data.core.files import is_main_process, work_folder
from tem_data.core.schema import common_classes, read_rows
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
    training, *added = (read_rows(folder, "train") for folder in folders)
    steps = f"{settings.iterations} iterations of {settings.batch_size}"
    print(f"Mask R-CNN {settings.network}: {steps} of {len(training)} patches, {sum(map(len, added))} pairs added")
    with work_folder(out, [settings, seed], *folders) as work:
        detector, history = train_detector(training, classes, settings, seed, work, *added)
        if is_main_process():
            detector.save_pretrained(out)
    print(f"{out}: a detector of {', '.join(classes)}")
    return history
