import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, crop, defect_from_mask, symmetric
from tem_data.patches.cutting import cut_roles, ignore_slivers, tiles, training_patches


def micrograph(name, height, width, *defects):
    image = np.random.default_rng(len(name)).integers(0, 256, (height, width), np.uint8)
    return Micrograph(name, image, defects, (height, width))


def square(x, y, side):
    return defect_from_mask("111", np.ones((side, side), bool), x, y)


sizes = st.tuples(st.integers(8, 40), st.integers(8, 40))


@settings(deadline=None)
@given(sizes, st.integers(1, 8), st.integers(1, 12))
def test_all_windows_lie_inside_reach_the_edges_and_come_once(shape, size, stride):
    (height, width), big = shape, micrograph("m", *shape)
    patches = list(training_patches([big], size, stride, 10**6, 0))
    per_side = [1 + -(-(side - size) // stride) for side in shape]
    assert len(patches) == 8 * per_side[0] * per_side[1]
    assert len({(p.x, p.y, p.symmetry) for p in patches}) == len(patches)
    assert {p.image.shape for p in patches} == {(size, size)}
    assert (min(p.x for p in patches), max(p.x for p in patches)) == (0, width - size)
    assert (min(p.y for p in patches), max(p.y for p in patches)) == (0, height - size)


def test_a_patch_is_the_window_and_symmetry_that_it_says():
    big = micrograph("m", 40, 50, square(10, 10, 9), square(30, 20, 6))
    for patch in training_patches([big], 16, 8, 50, 3):
        again = symmetric(crop(big, patch.x, patch.y, (16, 16)), patch.symmetry)
        assert np.array_equal(patch.image, again.image)
        assert [d.bbox for d in patch.defects] == [d.bbox for d in again.defects]


def test_patches_are_drawn_without_replacement_from_every_micrograph():
    big = [micrograph(name, 64, 64) for name in ("a", "bb", "ccc")]
    patches = list(training_patches(big, 16, 8, 300, 0))
    keys = [(p.micrograph_id, p.x, p.y, p.symmetry) for p in patches]
    assert len(set(keys)) == len(keys) == 300
    assert {key[0] for key in keys} == {"a", "bb", "ccc"} and {key[3] for key in keys} == set(range(8))
    assert keys == [(p.micrograph_id, p.x, p.y, p.symmetry) for p in training_patches(big, 16, 8, 300, 0)]
    assert keys != [(p.micrograph_id, p.x, p.y, p.symmetry) for p in training_patches(big, 16, 8, 300, 1)]


def test_roles_do_not_depend_on_the_order_of_the_dataset():
    big = [micrograph(name, 32, 32) for name in ("a", "bb", "ccc", "dddd")]
    by_role = {"train": ["ccc", "a"], "validation": ["bb"], "test": ["dddd"]}
    one, other = (cut_roles(ms, by_role, 16, 8, 20, 0) for ms in (big, big[::-1]))
    assert list(one) == ["train", "validation", "test"] and [len(p) for p in one.values()] == [20, 4, 4]
    for role, ids in by_role.items():
        assert {p.micrograph_id for p in one[role]} == set(ids)
        assert all(np.array_equal(a.image, b.image) for a, b in zip(one[role], other[role], strict=True))
    with pytest.raises(TemDataError, match="'eeeee'"):
        cut_roles(big, by_role | {"test": ["eeeee"]}, 16, 8, 20, 0)


@settings(deadline=None)
@given(sizes, st.integers(1, 8))
def test_tiles_cover_all_but_a_rest_and_do_not_overlap(shape, size):
    seen = np.zeros(shape, int)
    for tile in tiles([micrograph("m", *shape)], size):
        assert tile.symmetry == 0 and tile.image.shape == (size, size)
        seen[tile.y : tile.y + size, tile.x : tile.x + size] += 1
    full = [side // size * size for side in shape]
    assert (seen[: full[0], : full[1]] == 1).all() and seen.sum() == full[0] * full[1]


def test_slivers_at_the_edge_are_kept_and_ignored():
    # cut to 2 × 6 and 4 × 6 px by the edge between two tiles; 3 × 3 px within one of them
    big = micrograph("m", 16, 32, square(14, 4, 6), square(5, 10, 3))
    left, right = tiles([big], 16, min_area_px=13)
    assert [(d.area, d.ignore) for d in left.defects] == [(12, True), (9, False)]
    assert [(d.area, d.ignore) for d in right.defects] == [(24, False)]
    patches = training_patches([big], 16, 16, 100, 0, min_area_px=13)
    assert sum(d.ignore for p in patches for d in p.defects) == 8
    assert not any(d.ignore for tile in tiles([big], 16) for d in tile.defects)


@pytest.mark.parametrize("shape", [(15, 40), (40, 15)])
def test_a_micrograph_smaller_than_a_patch_is_refused(shape):
    small = micrograph("grain7", *shape)
    for cut in (lambda: list(tiles([small], 16)), lambda: list(training_patches([small], 16, 8, 5, 0))):
        with pytest.raises(TemDataError, match=f"grain7 is {shape[1]}×{shape[0]} px.*16 px"):
            cut()


def test_drawn_masks_ignore_the_same_slivers_as_cut_patches():
    whole, sliver, small = np.ones((6, 6), bool), np.ones((6, 2), bool), np.ones((2, 2), bool)
    places = ((10, 10, whole), (0, 20, sliver), (20, 20, small))
    mask = Micrograph("m", None, tuple(defect_from_mask("a", m, x, y) for x, y, m in places), (32, 32))
    assert [d.ignore for d in ignore_slivers(mask, 20).defects] == [False, True, False]
    assert [d.area for d in ignore_slivers(mask, 20).defects] == [36, 12, 4]
