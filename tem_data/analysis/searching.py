"""Read one micrograph and find its defects."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from tem_data.analysis.inputs import Shot
from tem_data.analysis.job import Job
from tem_data.core.micrograph import Defect
from tem_data.images.databar import data_bar
from tem_data.images.reading import read_image
from tem_data.trust.micrograph import MicrographTrust


class Found(NamedTuple):
    """What was found on a micrograph `pixels` (h, w) uint8, of which the `bar` rows at the bottom were not searched.

    `factor` is by how much it was enlarged to be searched, `trust` how far the defects can be trusted, `note` what is
    odd about all of it, in words.
    """

    shot: Shot
    pixels: np.ndarray
    bar: int
    defects: tuple[Defect, ...]
    factor: float
    threshold: float
    trust: MicrographTrust
    note: str
    seconds: float

    @property
    def searched(self) -> tuple[int, int]:
        """The height and width of what was searched, px."""
        return self.pixels.shape[0] - self.bar, self.pixels.shape[1]


def search(job: Job, shot: Shot, progress: bool = False) -> Found:
    """The defects of a micrograph in its own px. Raises OSError or ValueError where it cannot be read."""
    start = time.monotonic()
    picture = read_image(shot.path, shot.frame)
    pixels, nm_per_px = picture.pixels, shot.calibration.nm_per_px
    bar = _bar_rows(pixels, job)
    image = np.ascontiguousarray(pixels[: pixels.shape[0] - bar])
    found = job.detector.predict(image, nm_per_px, job.threshold, progress=progress)
    trust = job.trust.of(found.defects, found.faint, image, found.factor, found.note)
    remarks = [picture.doubt if nm_per_px is None else "", f"data bar of {bar} rows left out" if bar else ""]
    note = "; ".join(filter(None, [*trust.reasons, *remarks]))
    seconds = time.monotonic() - start
    return Found(shot, pixels, bar, found.defects, found.factor, job.threshold, trust, note, seconds)


def _bar_rows(pixels: np.ndarray, job: Job) -> int:
    rows = job.settings.data_bar
    return data_bar(pixels) if rows == "auto" else min(rows, pixels.shape[0] - 1)
