"""A detector without a network: it finds every bright part, the larger ones more surely."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tem_data.analysis.settings import AnalysisSettings
from tem_data.analysis.steps import analyse
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import defect_from_mask
from tem_data.detection.about import About, Scale
from tem_data.materials.hardening import Materials

SHAPE = (60, 90)


class Bright:
    """Stands for `Detector`. Parts of more than 100 px² are loops, the others dots."""

    classes = ("loop", "dot")
    about = About(classes, "bright", 32, Scale(0.5, 0.4, 0.6), 8, 100.0, 20.0)
    scores = None
    threshold = 0.5
    model = SimpleNamespace(state_dict=dict)

    def __init__(self):
        self.seen = []

    def plan(self, shape, nm_per_px=None):
        if nm_per_px is not None and nm_per_px > 100:
            raise TemDataError("too many px; check the calibration")
        return SimpleNamespace(factor=1.0, shape=shape, tiles=6, note="")

    def predict(self, image, nm_per_px=None, threshold=None, progress=False):
        self.seen.append(image.shape)
        least = self.threshold if threshold is None else threshold
        parts, _ = ndimage.label(image > 128)
        found = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(parts), 1):
            mask = parts[rows, columns] == number
            category, score = "loop" if mask.sum() > 100 else "dot", min(1.0, 0.5 + mask.sum() / 1000)
            found.append(defect_from_mask(category, mask, columns.start, rows.start, score=score))
        defects = tuple(sorted((d for d in found if d.score >= least), key=lambda d: -d.score))
        note = "" if nm_per_px else "calibration unknown: searched as it is"
        return SimpleNamespace(
            faint=0.0, defects=defects, shape=image.shape, nm_per_px=nm_per_px, factor=1.0, threshold=least, note=note
        )


@pytest.fixture
def detector():
    return Bright()


def picture(*boxes, shape=SHAPE, seed=0):
    """A dark micrograph with bright boxes (left, top, width, height)."""
    image = np.random.default_rng(seed).integers(60, 100, shape).astype(np.uint8)
    for left, top, width, height in boxes:
        image[top : top + height, left : left + width] = 200
    return image


LOOP, DOT, CUT = (10, 10, 20, 12), (50, 30, 6, 6), (80, 0, 10, 8)


@pytest.fixture
def images(tmp_path):
    """Three micrographs in a folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, boxes in {"a 1.png": (LOOP, DOT, CUT), "b.tif": (DOT,), "empty.png": ()}.items():
        Image.fromarray(picture(*boxes)).save(folder / name)
    return folder


@pytest.fixture
def run(detector, tmp_path):
    """Analyses paths into the folder `out`; gives the summary."""

    def analysed(*paths, out="out", materials=None, by=None, **settings):
        chosen = Materials(size={"dot": "dot"}, barrier_strength={"loop": 0.3}) if materials is None else materials
        return analyse(by or detector, paths, tmp_path / out, AnalysisSettings(**settings), chosen, "org/bright@v1")

    return analysed
