from dataclasses import replace

import numpy as np
import pytest

from tem_data.micrograph import instance_map
from tem_data.sampler import sample_mask
from tem_data.shapes import ClassShapes, Field, Shapes

SIZE = 128


def shapes(*fields, unit="nm", **classes):
    """`classes` give major axes in units; all have aspect ratio 0.5, angle 0 and lie on micrograph 0."""
    fitted = {
        name: ClassShapes(major, [0.5] * len(major), [0.0] * len(major), [0] * len(major))
        for name, major in classes.items()
    }
    return Shapes(unit, list(fields), fitted, [])


def field(unit_per_px=0.5, side_px=1000, **counts):
    return Field("m", (side_px * unit_per_px) ** 2, unit_per_px, counts)


def drawn(fitted, count, size=SIZE, seed=0):
    return [sample_mask(fitted, size, seed, index) for index in range(count)]


TWO = shapes(field(loop=800, dot=1600), loop=[4.0, 6.0], dot=[2.0])


def test_a_mask_follows_from_seed_and_index_alone():
    def print_of(mask):
        return mask.micrograph_id, [(d.category, d.bbox, d.mask.tobytes()) for d in mask.defects]

    forward = [print_of(mask) for mask in drawn(TWO, 4)]
    assert forward[::-1] == [print_of(sample_mask(TWO, SIZE, 0, index)) for index in (3, 2, 1, 0)]
    assert len({str(mask) for mask in forward + [print_of(sample_mask(TWO, SIZE, 1, 0))]}) == 5


def test_a_mask_says_what_it_is():
    mask = sample_mask(TWO, SIZE, 3, 7)
    assert (mask.image, mask.origin, mask.shape, mask.nm_per_px, mask.seed) == (None, "sim", (SIZE, SIZE), 0.5, 3)
    assert {d.category for d in mask.defects} == {"loop", "dot"} and not any(d.ignore for d in mask.defects)
    assert all(d.mask.any(0).all() and d.mask.any(1).all() for d in mask.defects)
    instance_map(mask.defects, mask.shape)  # all lie inside, or this fails


def test_the_area_that_defects_cover_is_that_of_the_fitted_density():
    """Summed areas per patch have mean λ·A·E[a]; the tolerance is 4 standard errors of a compound Poisson law."""
    fitted = shapes(field(loop=800), loop=[4.0])
    count, density = 60, 800 / 1000**2
    areas = [sum(d.area for d in mask.defects) for mask in drawn(fitted, count)]
    # the axis is 8 px, log-normal with s = 0.1: E[a] = π/4·8·4·exp(2 s²), E[a²] = (π/4·8·4)²·exp(8 s²)
    area, square = np.pi / 4 * 8 * 4 * np.exp(2 * 0.1**2), (np.pi / 4 * 8 * 4) ** 2 * np.exp(8 * 0.1**2)
    expected, error = density * SIZE**2 * area, np.sqrt(density * SIZE**2 * square / count)
    assert np.mean(areas) == pytest.approx(expected, abs=4 * error)
    assert 4 * error < 0.2 * expected


def test_how_many_defects_are_centred_in_the_patch_follows_poisson():
    fitted = shapes(field(dot=1600), dot=[1.0])
    counts = [len(mask.defects) for mask in drawn(fitted, 100)]
    # dots of 2 × 1 px are seen on a patch about 1 px wider and higher; many at its edge show no pixel's centre
    mean = 1600 / 1000**2 * SIZE**2
    assert np.mean(counts) == pytest.approx(mean, abs=4 * np.sqrt(mean / 100) + 0.03 * mean)
    assert np.var(counts, ddof=1) / np.mean(counts) == pytest.approx(1, abs=4 * np.sqrt(2 / 99))


def test_edges_cut_defects_as_a_crop_does():
    """An ellipse centred outside the patch reaches in."""
    mask = drawn(shapes(field(loop=400), loop=[20.0]), 1)[0]
    edge = [d for d in mask.defects if 0 in d.bbox[:2]]
    assert edge and len(edge) < len(mask.defects)
    assert min(d.area for d in edge) < 0.5 * max(d.area for d in mask.defects)


def test_sizes_and_directions_are_those_measured():
    fitted = Shapes("nm", [field(loop=200)], {"loop": ClassShapes([10.0, 30.0], [0.4, 0.8], [90.0, 0.0], [0, 0])}, [])
    boxes = [d.bbox for mask in drawn(fitted, 10, 256) for d in mask.defects]
    whole = [(w, h) for x, y, w, h in boxes if x > 0 and y > 0 and x + w < 256 and y + h < 256]
    upright, lying = [(w, h) for w, h in whole if h > w], [(w, h) for w, h in whole if w > h]
    assert len(upright) > 20 and len(lying) > 20
    assert np.median(upright, 0) == pytest.approx((8, 20), abs=1.5)
    assert np.median(lying, 0) == pytest.approx((60, 48), abs=4)


def test_a_field_without_defects_gives_masks_without_defects():
    fitted = shapes(field(loop=0), field(loop=800), loop=[4.0])
    counts = [len(mask.defects) for mask in drawn(fitted, 40)]
    assert 8 <= counts.count(0) <= 32 and max(counts) > 5


def test_each_mask_has_the_pixel_size_of_a_field():
    fitted = shapes(field(0.5, loop=200), field(2.0, loop=200), loop=[10.0])
    widths = {0.5: [], 2.0: []}
    for mask in drawn(fitted, 30):
        widths[mask.nm_per_px] += [d.bbox[2] for d in mask.defects if 5 < d.x < 80]
    assert np.median(widths[0.5]) == pytest.approx(20, abs=2) and np.median(widths[2.0]) == pytest.approx(5, abs=1)


def test_a_micrograph_of_large_defects_gives_large_defects():
    majors = [4.0] * 50 + [12.0] * 50
    loops = ClassShapes(majors, [0.5] * 100, [0.0] * 100, [0] * 50 + [1] * 50)
    fitted = Shapes("nm", [field(0.5, loop=400), field(0.25, loop=400)], {"loop": loops}, [])
    widths = {0.5: [], 0.25: []}
    for mask in drawn(fitted, 20):
        widths[mask.nm_per_px] += [d.bbox[2] * mask.nm_per_px for d in mask.defects if 0 < d.x < 60]
    # of two populations half an e-fold apart from their mean, a micrograph shows its own and, shifted, the other
    assert np.mean(widths[0.25]) > 1.8 * np.mean(widths[0.5])


def test_a_class_with_one_example_and_one_without():
    fitted = shapes(field(loop=400, dot=400), loop=[5.0], dot=[])
    assert {d.category for mask in drawn(fitted, 5) for d in mask.defects} == {"loop"}


def test_without_calibration_sizes_are_in_px():
    fitted = shapes(field(1.0, loop=400), loop=[20.0], unit="px")
    mask = sample_mask(fitted, SIZE, 0, 1)
    assert mask.nm_per_px is None
    assert np.median([d.bbox[2] for d in mask.defects if 0 < d.x < 90]) == pytest.approx(20, abs=3)


def test_without_overlap_no_pixel_is_taken_twice():
    crowded = replace(TWO, fields=[replace(f, counts={c: 20 * n for c, n in f.counts.items()}) for f in TWO.fields])
    apart = [sample_mask(crowded, SIZE, 0, i, overlap=False) for i in range(20)]
    free = [sample_mask(crowded, SIZE, 0, i) for i in range(20)]

    def covered_twice(mask):
        return sum(d.area for d in mask.defects) - int((instance_map(mask.defects, mask.shape) > 0).sum())

    assert all(covered_twice(mask) == 0 for mask in apart)
    assert any(covered_twice(mask) > 0 for mask in free)
    assert sum(len(mask.defects) for mask in apart) > 20
