import json
from threading import Event, Lock
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from tem_data.app.painting import Asked, brushed, coloured, packed, paint, sampled
from tem_data.app.session import Stopped
from tem_data.core.errors import TemDataError
from tem_data.figures.pictures import colour_of
from tem_data.masks.settings import MaskSettings

NAMES = ["a", "b"]


def layer(**boxes):
    """What a brush drew: a box (left, top, side) of each class."""
    drawn = np.zeros((128, 128, 4), np.uint8)
    for name, (left, top, side) in boxes.items():
        drawn[top : top + side, left : left + side] = (*bytes.fromhex(colour_of(name, NAMES)[1:]), 255)
    return drawn


def test_a_brush_gives_classes_and_instances():
    masks = brushed([layer(a=(0, 0, 32), b=(64, 64, 16)), layer(a=(96, 0, 32))], NAMES, 64, 2)
    assert masks.classes.shape == masks.instances.shape == (2, 64, 64)
    assert masks.classes[1, 4, 4] == masks.classes[1, 4, 60] == 1 and masks.classes[1, 36, 36] == 2
    assert {*np.unique(masks.instances)} == {0, 1, 2, 3}
    assert (coloured(masks.classes[0], NAMES)[36, 36] == list(bytes.fromhex(colour_of("b", NAMES)[1:]))).all()


def test_faint_edges_of_a_brush_do_not_count():
    drawn = layer(a=(0, 0, 32))
    drawn[..., 3] //= 4
    with pytest.raises(TemDataError, match="the mask is empty"):
        brushed([drawn], NAMES, 64, 1)


def test_masks_of_shapes(drawn_project):
    shapes = drawn_project / "data/1-10/shapes.json"
    masks = sampled(shapes, ["square"], MaskSettings(size_px=64, density=2), 0, 3)
    assert masks.classes.shape == (3, 64, 64) and masks.nm_per_px.tolist() == [0.5] * 3
    with pytest.raises(TemDataError, match="classes .'square'"):
        sampled(shapes, ["other"], MaskSettings(), 0, 1)


@pytest.mark.slow
def test_pictures_follow_from_their_seeds(drawn_project, tmp_path):
    pipeline = _pipeline()
    masks = sampled(drawn_project / "data/1-10/shapes.json", ["square"], MaskSettings(size_px=64), 0, 2)
    heard = []
    asked = Asked(7, 1.5, 3)
    images = paint(pipeline, Lock(), Event(), masks, asked, lambda share, text: heard.append(share))
    alone = pipeline(masks.classes[1], [8], masks.instances[1], 0.5, 3, 1.5)
    assert (images[1] == alone[0]).all()
    assert heard[-1] == 1 and sorted(heard) == heard
    with ZipFile(packed(tmp_path / "all.zip", images, masks, ["square"], asked)) as file:
        assert json.loads(file.read("painted.json"))["seeds"] == [7, 8]
        with file.open("masks/002.png") as mask:
            assert (np.array(Image.open(mask)) == masks.classes[1]).all()


@pytest.mark.slow
def test_painting_stops_when_asked(drawn_project):
    masks = sampled(drawn_project / "data/1-10/shapes.json", ["square"], MaskSettings(size_px=64), 0, 2)
    stop = Event()
    with pytest.raises(Stopped):
        paint(_pipeline(), Lock(), stop, masks, Asked(0, 1.5, 3), lambda share, text: stop.set())


def _pipeline():
    from tests.helpers.toy_ldm import trained

    pipeline = trained()[1]
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
