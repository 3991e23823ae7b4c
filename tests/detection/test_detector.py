"""At which scale a micrograph is searched, and what is said of it."""

import numpy as np
import pytest
from scipy import ndimage

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import defect_from_mask
from tem_data.detection.about import Scale
from tem_data.detection.scale import to_own_px
from tests.helpers.toy_detector import PERFECT, perfect

TRAINED_AT = Scale(median=0.5, low=0.4, high=0.8)


def discs(side, centres_radii):
    rows, columns = np.mgrid[:side, :side] + 0.5
    image = np.zeros((side, side), np.uint8)
    for x, y, radius in centres_radii:
        image[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = 220
    return image


@pytest.mark.parametrize("nm_per_px", [0.1, 0.2, 0.4, 0.8, 1.6])
def test_one_picture_at_two_calibrations_gives_the_same_defects_in_nm(nm_per_px):
    placed_nm = [(10, 12, 4), (40, 30, 6), (24, 50, 5)]
    image = discs(round(64 / nm_per_px), [tuple(v / nm_per_px for v in disc) for disc in placed_nm])
    found = perfect(64, TRAINED_AT).predict(image, nm_per_px, threshold=0.0)
    assert found.shape == image.shape and found.nm_per_px == nm_per_px and len(found.defects) == 3
    for x, y, radius in placed_nm:
        near = min(found.defects, key=lambda d: abs(d.x * nm_per_px - x + radius) + abs(d.y * nm_per_px - y + radius))
        rows, columns = np.nonzero(near.mask)
        assert (near.x + columns.mean() + 0.5) * nm_per_px == pytest.approx(x, abs=0.6)
        assert (near.y + rows.mean() + 0.5) * nm_per_px == pytest.approx(y, abs=0.6)
        assert 2 * np.sqrt(near.area / np.pi) * nm_per_px == pytest.approx(2 * radius, rel=0.1)


def test_masks_of_a_resampled_micrograph_are_smooth_and_within_it():
    image = discs(400, [(200, 200, 60), (0, 0, 80), (399, 399, 80)])
    found = perfect(64, TRAINED_AT).predict(image, 0.1, threshold=0.0)
    assert found.factor == pytest.approx(0.25) and len(found.defects) == 3
    for defect in found.defects:
        x, y, w, h = defect.bbox
        assert x >= 0 and y >= 0 and x + w <= 400 and y + h <= 400 and defect.mask.any(0).all()
    middle = next(d for d in found.defects if 0 < d.x < 200)
    true = discs(400, [(200, 200, 60)]) > 0
    own = np.zeros_like(true)
    x, y, w, h = middle.bbox
    own[y : y + h, x : x + w] = middle.mask
    assert (own & true).sum() / (own | true).sum() > 0.97
    blocky = ndimage.zoom(discs(100, [(50, 50, 15)]) > 0, 4, order=0)
    assert np.abs(np.diff(own.sum(0))).max() < np.abs(np.diff(blocky.sum(0).astype(int))).max()


def test_a_mask_that_is_enlarged_and_made_smaller_stays():
    mask = ndimage.binary_opening(np.random.default_rng(0).random((40, 40)) < 0.8, iterations=2)
    defect = defect_from_mask("square", mask, 7, 9, score=0.7)
    assert to_own_px(defect, (100, 100), (100, 100)) is defect
    back = to_own_px(to_own_px(defect, (100, 100), (250, 250)), (250, 250), (100, 100))
    assert back.score == 0.7 and back.bbox == pytest.approx(defect.bbox, abs=1)
    assert back.area == pytest.approx(defect.area, rel=0.03)


def test_what_is_smaller_than_a_pixel_is_no_defect():
    speck = defect_from_mask("square", np.ones((1, 1), bool), 50, 50)
    assert to_own_px(speck, (1000, 1000), (10, 10)) is None


@pytest.mark.parametrize(
    "nm_per_px, factor, said",
    [
        (None, 1, "calibration unknown: searched as it is, though the detector was trained at 0.4 to 0.8 nm per px"),
        (0.5, 1, ""),
        (0.4, 1, ""),
        (0.3, 0.75, ""),
        (1.6, 2, ""),
        (0.1, 0.25, "0.1 nm per px is far from the 0.4 to 0.8 nm per px"),
        (2.0, 2.5, "2 nm per px is far from"),
    ],
)
def test_the_plan_says_how_a_micrograph_is_searched(nm_per_px, factor, said):
    planned = perfect(64, TRAINED_AT).plan((128, 64), nm_per_px)
    assert planned.factor == pytest.approx(factor) and planned.shape == (round(128 * factor), round(64 * factor))
    assert planned.note.startswith(said) and bool(planned.note) == bool(said) and planned.tiles >= 1


def test_a_detector_without_a_scale_searches_as_it_is():
    assert perfect(64).plan((128, 64), 3.0) == perfect(64).plan((128, 64), None)
    assert perfect(64).plan((128, 64)).factor == 1 and not perfect(64).plan((128, 64)).note


def test_a_prediction_says_how_it_was_made():
    found = perfect(64, TRAINED_AT).predict(discs(100, [(50, 50, 20)]), 0.1, threshold=0.7)
    assert (found.threshold, found.shape, len(found.defects)) == (0.7, (100, 100), 1) and "far from" in found.note
    assert perfect(64).predict(discs(100, [(50, 50, 20)])).threshold == 0.5
    assert not perfect(64).predict(discs(100, [(50, 50, 20)]), threshold=0.95).defects


@pytest.mark.parametrize("nm_per_px", [0, -1.0, float("nan"), float("inf")])
def test_a_calibration_that_cannot_be_is_refused(nm_per_px):
    with pytest.raises(TemDataError, match="nm_per_px: expected a number above 0"):
        perfect(64, TRAINED_AT).plan((128, 64), nm_per_px)


def test_a_calibration_in_another_unit_does_not_fill_the_memory():
    with pytest.raises(TemDataError, match="check the calibration"):
        perfect(64, TRAINED_AT).predict(np.zeros((1024, 1024), np.uint8), 500.0)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint16),
        np.zeros((8, 8), float),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((0, 8), np.uint8),
        [[1, 2], [3, 4]],
        None,
    ],
)
def test_another_array_is_refused(image):
    with pytest.raises(TemDataError, match=r"image: expected grey levels \(height, width\) uint8, found"):
        PERFECT.predict(image)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(TemDataError, match="threshold: expected a confidence from 0 to 1"):
        PERFECT.predict(np.zeros((8, 8), np.uint8), threshold=threshold)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (20, 20), (500, 7)])
def test_images_smaller_than_a_tile_are_searched(shape):
    assert perfect(64, TRAINED_AT).predict(np.zeros(shape, np.uint8), 0.1).defects == ()
    bright = np.full(shape, 200, np.uint8)
    found = perfect(512).predict(bright).defects
    assert [d.bbox for d in found] == [(0, 0, shape[1], shape[0])]


def test_an_image_that_is_a_view_of_another_is_searched_as_it_looks():
    image = discs(100, [(30, 60, 10)])
    turned = image[::-1].T
    views, copies = (perfect(64).predict(array).defects for array in (turned, np.ascontiguousarray(turned)))
    assert [d.bbox for d in views] == [d.bbox for d in copies] != []
