"""Whole micrographs, by a detector that finds everything bright on each tile."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tem_data.detection.tiling import corners
from tests.helpers.toy_detector import PERFECT, Bright, about, perfect

sides, halves, places = st.integers(20, 90), st.integers(1, 16), st.floats(0, 1)


@settings(deadline=None, max_examples=150)
@given(st.tuples(sides, sides), st.tuples(halves, halves), st.tuples(places, places))
@example((33, 30), (5, 1), (1.0, 0.0))
@example((77, 90), (16, 13), (0.525, 0.468))  # touches an edge of every tile that sees it whole
def test_a_defect_of_up_to_half_a_tile_is_reported_once_and_whole(shape, size, place):
    (height, width), (h, w) = shape, size
    y, x = (int(share * (all_of_it - part)) for share, all_of_it, part in zip(place, shape, size, strict=True))
    image = np.zeros((height, width), np.uint8)
    image[y : y + h, x : x + w] = 200
    (found,) = perfect(32).predict(image).defects
    assert (found.bbox, found.area, found.category) == ((x, y, w, h), w * h, "square")


class Jittering(Bright):
    """As unsure of place and confidence as a network is: by up to one px, for each tile anew."""

    def __init__(self, seed):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def found(self, bright):
        found = super().found(ndimage.shift(bright, self.rng.integers(-1, 2, 2), order=0))
        found.scores = torch.from_numpy(self.rng.uniform(0.5, 1, len(found)))
        return found


def test_a_defect_whose_place_is_uncertain_is_reported_once():
    rng = np.random.default_rng(0)
    for seed in range(400):
        shape, size = rng.integers(20, 91, 2), rng.integers(12, 17, 2)
        (y, x), (h, w) = rng.integers(0, shape - size + 1), size
        image = np.zeros(shape, np.uint8)
        image[y : y + h, x : x + w] = 200
        found = perfect(32, model=Jittering(seed)).predict(image, threshold=0.0).defects
        assert len(found) == 1, seed


def test_two_classes_of_one_defect_stay_as_the_surest_tile_says():
    image = np.zeros((32, 48), np.uint8)
    image[10:20, 15:25] = 200  # on the border between the cells of two tiles

    class TwoClasses(Bright):
        tiles = 0

        def found(self, bright):
            self.tiles += 1
            one = super().found(bright)
            found = Instances.cat([one, one])
            found.pred_classes = torch.tensor([0, 1])
            found.scores = torch.tensor([0.9, 0.3]) - 0.1 * self.tiles
            return found

    both = replace(PERFECT, model=TwoClasses(), about=about(("square", "disc"), 32))
    found = both.predict(image, threshold=0.0).defects
    assert [(d.category, round(d.score, 2)) for d in found] == [("square", 0.8), ("disc", 0.2)]


@pytest.mark.parametrize("shape", [(100, 70), (64, 97)])
def test_defects_at_every_place_are_reported_once(shape):
    rng = np.random.default_rng(0)
    image, placed = np.zeros(shape, np.uint8), set()
    for y in range(0, shape[0] - 6, 8):
        for x in range(0, shape[1] - 6, 8):
            w, h = rng.integers(3, 7, 2).tolist()
            image[y : y + h, x : x + w] = 200
            placed.add((x, y, w, h))
    found = perfect(32).predict(image, threshold=0.0).defects
    assert len(found) == len(placed) and {d.bbox for d in found} == placed
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)


@pytest.mark.parametrize("shape", [(1, 1), (20, 90), (32, 32), (33, 64), (100, 47)])
def test_tiles_cover_every_pixel(shape):
    seen = np.zeros(shape, int)
    for x, y in corners(shape, 32):
        seen[y : y + 32, x : x + 32] += 1
        assert x + min(32, shape[1]) <= shape[1] and y + min(32, shape[0]) <= shape[0]
    assert seen.min() >= 1


def test_what_is_faint_is_added_up_once():
    image = np.zeros((80, 90), np.uint8)
    image[30:40, 40:50] = 200  # seen by several tiles, each of which gives it 0.9
    found = perfect(32).predict(image, threshold=0.95)
    assert found.defects == () and found.faint == pytest.approx(0.9, rel=1e-5)
    assert perfect(32).predict(image, threshold=0.5).faint == 0
