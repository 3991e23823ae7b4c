from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as mask_ops

from tem_data.core.micrograph import (
    Defect,
    Micrograph,
    class_mask,
    count_by_class,
    crop,
    defect_from_ellipse,
    defect_from_mask,
    defect_from_polygons,
    defect_from_rle,
    halved,
    instance_map,
    symmetric,
    symmetric_array,
    window,
)

CLASSES = ("100", "111", "bdot")
SIDE = 16


@st.composite
def micrographs(draw, shape=(SIDE, SIDE)):
    """Defects of any shape that may overlap, on an image of noise."""
    masks = draw(st.lists(arrays(bool, shape), max_size=4))
    defects = [defect_from_mask(draw(st.sampled_from((*CLASSES, "ambiguous"))), mask) for mask in masks]
    image = np.random.default_rng(len(masks)).integers(0, 256, shape, np.uint8)
    return Micrograph("m", image, tuple(d for d in defects if d is not None), shape, nm_per_px=0.5)


def on_canvas(defect, shape):
    return instance_map([defect], shape).astype(bool)


def centre(defect):
    rows, cols = np.nonzero(defect.mask)
    return defect.x + cols.mean() + 0.5, defect.y + rows.mean() + 0.5


@settings(deadline=None)
@given(micrographs(), st.integers(0, 7))
def test_the_symmetries_turn_image_and_defects_alike(patch, symmetry):
    turned = symmetric(patch, symmetry)
    assert turned.symmetry == symmetry
    assert np.array_equal(turned.image, symmetric_array(patch.image, symmetry))
    for defect, other in zip(patch.defects, turned.defects, strict=True):
        expected = symmetric_array(on_canvas(defect, patch.shape), symmetry)
        assert np.array_equal(on_canvas(other, patch.shape), expected)
    for paint in (instance_map, lambda defects, shape: class_mask(defects, CLASSES, shape)):
        assert np.array_equal(
            paint(turned.defects, patch.shape), symmetric_array(paint(patch.defects, patch.shape), symmetry)
        )


def test_the_eight_symmetries_differ_and_the_first_is_the_identity():
    array = np.arange(9).reshape(3, 3)
    assert len({symmetric_array(array, s).tobytes() for s in range(8)}) == 8
    assert np.array_equal(symmetric_array(array, 0), array)


@settings(deadline=None)
@given(micrographs(), st.integers(0, SIDE), st.integers(0, SIDE))
def test_four_crops_share_out_image_and_areas(micrograph, x, y):
    sides = [(0, y), (y, SIDE - y)], [(0, x), (x, SIDE - x)]
    parts = [crop(micrograph, left, top, (h, w)) for top, h in sides[0] for left, w in sides[1]]
    whole_area = {name: sum(d.area for d in micrograph.defects if d.category == name) for name in CLASSES}
    parts_area = {name: sum(d.area for p in parts for d in p.defects if d.category == name) for name in CLASSES}
    assert parts_area == whole_area
    assert sum(part.image.sum(dtype=int) for part in parts) == micrograph.image.sum(dtype=int)
    assert [(part.x, part.y) for part in parts] == [(0, 0), (x, 0), (0, y), (x, y)]


@settings(deadline=None)
@given(micrographs(), st.integers(-SIDE, SIDE), st.integers(-SIDE, SIDE))
def test_a_window_shows_what_a_slice_of_the_canvas_shows(micrograph, x, y):
    for defect in micrograph.defects:
        around = np.pad(on_canvas(defect, micrograph.shape), SIDE)
        cut = window(defect, x, y, (SIDE, SIDE))
        found = np.zeros((SIDE, SIDE), bool) if cut is None else on_canvas(cut, (SIDE, SIDE))
        assert np.array_equal(found, around[y + SIDE : y + 2 * SIDE, x + SIDE : x + 2 * SIDE])


def test_crops_of_crops_know_where_they_lie():
    micrograph = Micrograph("m", np.zeros((40, 40), np.uint8), (), (40, 40))
    inner = crop(crop(micrograph, 3, 5, (30, 30)), 7, 11, (8, 8))
    assert (inner.x, inner.y, inner.shape) == (10, 16, (8, 8))


@pytest.mark.parametrize("shape", [(64, 96), (65, 97)])
def test_halving_halves_lengths_and_doubles_the_pixel(shape):
    disc = defect_from_ellipse("111", 41, 33, 40, 24, 30, shape)
    image = np.repeat(np.repeat(np.arange(48, dtype=np.uint8)[None], 32, 0), 2, 0).repeat(2, 1)
    image = np.pad(image, ((0, shape[0] - 64), (0, shape[1] - 96)))
    half = halved(Micrograph("m", image, (disc,), shape, nm_per_px=0.5))
    assert (half.shape, half.nm_per_px) == ((32, 48), 1.0)
    assert np.array_equal(half.image, np.repeat(np.arange(48, dtype=np.uint8)[None], 32, 0))
    assert half.defects[0].area == pytest.approx(disc.area / 4, rel=0.05)
    assert centre(half.defects[0]) == pytest.approx((20.5, 16.5), abs=0.25)
    assert halved(replace(half, nm_per_px=None, image=None)).nm_per_px is None


@pytest.mark.parametrize("angle", [0, 20, 90, 135])
def test_an_ellipse_has_the_area_centre_and_direction_of_geometry(angle):
    ellipse = defect_from_ellipse("111", 60.3, 50.8, 60, 30, angle, (100, 120))
    assert ellipse.area == pytest.approx(np.pi / 4 * 60 * 30, rel=0.01)
    assert centre(ellipse) == pytest.approx((60.3, 50.8), abs=0.1)
    tip = np.array([60.3 + 28 * np.cos(np.deg2rad(angle)), 50.8 - 28 * np.sin(np.deg2rad(angle))])
    column, row = np.floor(tip).astype(int)
    assert on_canvas(ellipse, (100, 120))[row, column]


def test_an_ellipse_at_the_edge_is_cut_and_one_outside_is_none():
    half = defect_from_ellipse("111", 0, 30, 40, 20, 0, (60, 60))
    assert half.x == 0 and half.area == pytest.approx(np.pi / 8 * 40 * 20, rel=0.02)
    assert defect_from_ellipse("111", -30, 30, 40, 20, 0, (60, 60)) is None
    assert defect_from_ellipse("111", 30, 30, 0.1, 0.1, 0, (60, 60)) is None


def test_polygons_have_the_area_of_geometry():
    square = defect_from_polygons("100", [[10, 5, 30, 5, 30, 15, 10, 15]], (40, 40))
    assert (square.bbox, square.area) == ((10, 5, 20, 10), 200)
    triangle = defect_from_polygons("100", [[0, 0, 40, 0, 0, 40]], (40, 40))
    assert triangle.area == pytest.approx(800, rel=0.03)
    parts = defect_from_polygons("100", [[0, 0, 4, 0, 4, 4, 0, 4], [20, 20, 24, 20, 24, 24, 20, 24]], (40, 40))
    assert (parts.bbox, parts.area) == ((0, 0, 24, 24), 32)


def test_polygons_are_cut_by_the_image():
    across = defect_from_polygons("100", [[-10, -10, 10, -10, 10, 10, -10, 10]], (40, 40))
    assert (across.bbox, across.area) == ((0, 0, 10, 10), 100)
    assert defect_from_polygons("100", [[-20, -20, -10, -20, -10, -10]], (40, 40)) is None


@settings(deadline=None)
@given(arrays(bool, (7, 9)))
def test_run_length_codes_round_trip(mask):
    defect = defect_from_mask("111", mask, 2, 3)
    if defect is None:
        assert not mask.any()
        return
    again = defect_from_rle("111", defect.rle(12, 15))
    assert (again.bbox, again.area) == (defect.bbox, mask.sum())
    assert np.array_equal(on_canvas(again, (12, 15))[3:10, 2:11], mask)


def test_a_run_length_code_as_a_list_of_counts():
    defect = defect_from_rle("111", {"size": [4, 5], "counts": [4, 3, 1, 2, 10]})
    assert (defect.bbox, defect.area) == ((1, 0, 2, 3), 5)


def test_small_defects_lie_on_top_of_large_ones_whatever_their_order():
    large = defect_from_mask("100", np.ones((10, 10), bool), 2, 2)
    small = defect_from_mask("111", np.ones((4, 4), bool), 5, 5)
    for defects in ((large, small), (small, large)):
        painted = class_mask(defects, CLASSES, (SIDE, SIDE))
        assert [(painted == value).sum() for value in (0, 1, 2, 3)] == [256 - 100, 84, 16, 0]
        numbers = instance_map(defects, (SIDE, SIDE))
        assert numbers.dtype == np.uint16 and painted.dtype == np.uint8
        assert [(numbers == defects.index(d) + 1).sum() for d in (large, small)] == [84, 16]


def test_labels_that_are_no_class_are_in_the_instance_map_only():
    defect = defect_from_mask("ambiguous", np.ones((4, 4), bool), 5, 5)
    assert not class_mask([defect], CLASSES, (SIDE, SIDE)).any()
    assert instance_map([defect], (SIDE, SIDE)).sum() == 16


def test_an_instance_map_holds_more_than_255_defects():
    rows, cols = np.divmod(np.arange(300), 20)
    dots = [defect_from_mask("bdot", np.ones((1, 1), bool), int(c), int(r)) for r, c in zip(rows, cols, strict=True)]
    assert np.array_equal(instance_map(dots, (15, 20)).ravel(), np.arange(1, 301))
    micrograph = Micrograph("m", None, tuple(dots), (15, 20))
    assert count_by_class([micrograph, micrograph]) == {"bdot": 600}


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=7)), st.tuples(*[st.integers(0, 3)] * 4))
def test_run_lengths_are_those_of_the_whole_image(mask, around):
    left, top, right, bottom = around
    full = np.pad(mask, ((top, bottom), (left, right)))
    code = Defect("a", left, top, mask).rle(*full.shape)
    expected = mask_ops.encode(np.asfortranarray(full, np.uint8))
    assert code == {"size": list(full.shape), "counts": expected["counts"].decode()}
