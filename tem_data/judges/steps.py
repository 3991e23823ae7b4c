"""The step that trains judges on patches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tem_data.core.files import is_main_process, work_folder
from tem_data.core.schema import read_classes, read_rows
from tem_data.detection.settings import DetectorSettings
from tem_data.judges.judges import save_judges, train_judges
from tem_data.judges.settings import JudgeSettings

Folder = str | os.PathLike


def train_judges_on(patches: Folder, out: Folder, judges: JudgeSettings, detector: DetectorSettings, seed: int) -> None:
    """Train judges on the training patches of a data set and write them to `out`; an interrupted training resumes.

    Raises TemDataError as `train_judges` does.
    """
    training = read_rows(patches, "train")
    print(f"{judges.folds} judges: Mask R-CNN {detector.network}, {judges.iterations} iterations each")
    with work_folder(out, [judges, detector, seed], patches) as work:
        members = train_judges(training, read_classes(patches).names, judges, detector, seed, work)
        if is_main_process():
            save_judges(members, out)
    print(f"{out}: {judges.folds} judges")


@contextmanager
def judges_for(
    patches: Folder, given: Folder | None, out: Folder, judges: JudgeSettings, detector: DetectorSettings, seed: int
) -> Iterator[Path]:
    """The folder of the judges of these patches: `given`, trained there if it is not there, else one beside `out`.

    The latter goes when the work on `out` is done, and stays for the next try where it fails.
    """
    with work_folder(f"{out}.judges", [judges, detector, seed], patches) as work:
        folder = Path(given) if given else work / "judges"
        if not folder.is_dir():
            train_judges_on(patches, folder, judges, detector, seed)
        yield folder
