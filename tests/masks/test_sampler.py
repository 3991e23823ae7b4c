from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tem_data.cli import app
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, class_mask, defect_from_ellipse, defect_from_mask, instance_map
from tem_data.core.schema import read_dataset
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.settings import ImportSettings
from tem_data.masks.sampler import BLOCK, MaskSampler
from tem_data.masks.settings import MaskSettings
from tem_data.masks.shapes import ClassShapes, Field, Shapes, fit_shapes, save_shapes
from tem_data.masks.spacing import EDGES, Ellipses, Spacing, contact_ratio

SIZE = 128


def class_shapes(major, aspect=0.5, angle=0.0, micrograph=0):
    n = len(major)
    columns = [np.broadcast_to(value, n).tolist() for value in (aspect, angle, micrograph)]
    return ClassShapes(major, *columns, [1.0] * n, 1.0, [])


def shapes(*fields, unit="nm", remaining=1.0, clustering=0.0, **classes):
    """`classes` give major axes in units, or `ClassShapes`."""
    fitted = {name: c if isinstance(c, ClassShapes) else class_shapes(c) for name, c in classes.items()}
    names = list(classes)
    keys = [f"{a}/{b}" for i, a in enumerate(names) for b in names[i:]]
    bins = len(EDGES) - 1
    spacing = Spacing(list(EDGES), {key: [remaining] * bins for key in keys}, {key: [9] * bins for key in keys})
    return Shapes(unit, list(fields), fitted, dict.fromkeys(names, clustering), spacing, 0.0, [])


def field(unit_per_px=0.5, side_px=1000, size=None, **counts):
    return Field("m", (side_px * unit_per_px) ** 2, unit_per_px, counts, size or {})


def drawn(fitted, count, seed=0, start=0, **asked):
    return list(MaskSampler(fitted, MaskSettings(**({"size_px": SIZE} | asked))).masks(seed, start, start + count))


def batch(fitted, count=BLOCK, seed=0, **asked):
    (found,) = MaskSampler(fitted, MaskSettings(**({"size_px": SIZE} | asked))).batches(seed, 0, count)
    return found


TWO = shapes(field(loop=800, dot=1600), loop=[4.0, 6.0], dot=[2.0], remaining=0.2, clustering=0.2)


def print_of(mask):
    return mask.micrograph_id, [(d.category, d.bbox, d.mask.tobytes()) for d in mask.defects]


def test_a_mask_follows_from_seed_and_index_alone():
    masks = [print_of(mask) for mask in drawn(TWO, 2 * BLOCK + 5)]
    for start, count in ((3, 1), (BLOCK - 2, 4), (2 * BLOCK, 5)):
        assert [print_of(mask) for mask in drawn(TWO, count, start=start)] == masks[start : start + count]
    assert len({str(mask) for mask in masks}) == len(masks)
    assert print_of(drawn(TWO, 1, seed=1)[0])[1] != masks[0][1]


def test_masks_in_memory_show_what_single_masks_hold():
    sampler = MaskSampler(TWO, MaskSettings(size_px=SIZE))
    batches = list(sampler.batches(4, 100, 150))
    assert [(b.first, len(b.class_masks)) for b in batches] == [(100, 28), (128, 22)]
    single = list(sampler.masks(4, 100, 150))
    joined = np.concatenate([b.class_masks for b in batches]), np.concatenate([b.instances for b in batches])
    assert [a.dtype for a in joined] == [np.uint8, np.uint16]
    for mask, classes, instances in zip(single, *joined, strict=True):
        assert (class_mask(mask.defects, sampler.classes, mask.shape) == classes).all()
        assert (instance_map(mask.defects, mask.shape) == instances).all()
    assert [b.drawn.item.max() < len(b.class_masks) for b in batches] == [True, True]


def test_the_table_says_what_the_pixels_show():
    found, masks = batch(TWO, 40), drawn(TWO, 40)
    table = found.drawn
    assert len(table) == sum(len(mask.defects) for mask in masks) > 200
    for k in range(len(table)):
        defect = masks[table.item[k]].defects[table.number[k] - 1]
        row = (table.x[k], table.y[k], table.major[k], table.minor[k], table.angle_deg[k])
        again = defect_from_ellipse("loop" if table.category[k] == 0 else "dot", *row, (SIZE, SIZE))
        assert (defect.category, defect.bbox) == (again.category, again.bbox) and (defect.mask == again.mask).all()


@settings(deadline=None, max_examples=12)
@given(
    st.integers(1, 4),
    st.integers(1, 90),
    st.floats(0, 2000),
    st.floats(0.02, 1),
    st.sampled_from(["measured", "allowed", "forbidden"]),
    st.integers(0, 2**40),
)
def test_instances_match_the_table_whatever_is_asked(classes, size, density, aspect, overlap, seed):
    names = {f"class {k}": class_shapes([2.0 + 5 * k, 9.0], aspect, 40.0 * k) for k in range(classes)}
    fitted = shapes(field(**dict.fromkeys(names, density)), remaining=0.3, clustering=0.5, **names)
    found = batch(fitted, 7, seed, size_px=size, overlap=overlap)
    assert found.instances.shape == (7, size, size)
    for item, (classes_shown, numbers) in enumerate(zip(found.class_masks, found.instances, strict=True)):
        own = found.drawn.item == item
        assert found.drawn.number[own].tolist() == list(range(1, own.sum() + 1))
        value = np.append(0, found.drawn.category[own] + 1)
        assert numbers.max() <= own.sum() and (value[numbers] == classes_shown).all()


def test_a_mask_says_what_it_is():
    (mask,) = drawn(TWO, 1, seed=3, start=7)
    assert (mask.image, mask.origin, mask.shape, mask.nm_per_px, mask.seed) == (None, "sim", (SIZE, SIZE), 0.5, 3)
    assert mask.micrograph_id == mask.scene == "sim-3-000007"
    assert {d.category for d in mask.defects} == {"loop", "dot"} and not any(d.ignore for d in mask.defects)
    assert all(d.mask.any(0).all() and d.mask.any(1).all() for d in mask.defects)


def test_the_area_that_defects_cover_is_that_of_the_fitted_density():
    """Summed areas per patch have mean λ·A·E[a]; the tolerance is 4 standard errors of a compound Poisson law."""
    count, density = 120, 800 / 1000**2
    areas = [sum(d.area for d in mask.defects) for mask in drawn(shapes(field(loop=800), loop=[4.0]), count)]
    # the axis is 8 px times exp of a uniform number of standard deviation 0.1
    area, square = np.pi / 4 * 8 * 4 * (1 + 2 * 0.1**2), (np.pi / 4 * 8 * 4) ** 2 * (1 + 8 * 0.1**2)
    expected, error = density * SIZE**2 * area, np.sqrt(density * SIZE**2 * square / count)
    assert np.mean(areas) == pytest.approx(expected, abs=4 * error)
    assert 4 * error < 0.15 * expected


@pytest.mark.parametrize("excess", [0.0, 0.5])
def test_how_many_defects_are_centred_in_a_mask_follows_poisson_and_the_clustering(excess):
    table = batch(shapes(field(dot=1600), dot=[1.5], clustering=excess)).drawn
    inside = (np.minimum(table.x, table.y) >= 0) & (np.maximum(table.x, table.y) < SIZE)
    counts, mean = np.bincount(table.item[inside], minlength=BLOCK), 1600 / 1000**2 * SIZE**2
    variance = mean + excess * mean**2
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / BLOCK))
    assert counts.var(ddof=1) == pytest.approx(variance, rel=4 * np.sqrt(2 * (1 + 3 * excess) / BLOCK))


def test_edges_cut_defects_as_a_crop_does():
    """An ellipse centred outside the patch reaches in."""
    (mask,) = drawn(shapes(field(loop=400), loop=[20.0]), 1)
    edge = [d for d in mask.defects if 0 in d.bbox[:2]]
    assert edge and len(edge) < len(mask.defects)
    assert min(d.area for d in edge) < 0.5 * max(d.area for d in mask.defects)


def test_size_aspect_ratio_and_direction_stay_together():
    table = batch(shapes(field(loop=200), loop=class_shapes([10.0, 30.0], [0.4, 0.8], [90.0, 5.0]))).drawn
    for model, (major, aspect, angle) in enumerate([(20, 0.4, 90), (60, 0.8, 5)]):
        own = table.model == model
        assert np.median(table.major[own]) == pytest.approx(major, rel=0.04)
        assert np.median(table.minor[own] / table.major[own]) == pytest.approx(aspect, abs=0.01)
        assert np.median((table.angle_deg[own] - angle + 90) % 180 - 90) == pytest.approx(0, abs=1)


def test_a_defect_of_weight_three_is_drawn_three_times_as_often():
    loops = replace(class_shapes([10.0, 30.0]), weight=[1.0, 3.0])
    table = batch(shapes(field(loop=800), loop=loops), size_px=256).drawn
    model = table.model[(np.minimum(table.x, table.y) >= 0) & (np.maximum(table.x, table.y) < 256)]
    assert len(model) > 5000 and np.mean(model) == pytest.approx(0.75, abs=0.03)


def test_a_field_without_defects_gives_masks_without_defects():
    counts = [len(mask.defects) for mask in drawn(shapes(field(loop=0), field(loop=800), loop=[4.0]), 60)]
    assert 15 <= counts.count(0) <= 45 and max(counts) > 5


def test_masks_come_from_micrographs_by_their_area_in_px():
    found = batch(shapes(field(0.5, 1000, loop=9), field(2.0, 3000, loop=9), loop=[4.0]))
    assert np.mean(found.unit_per_px == 2.0) == pytest.approx(0.9, abs=0.1)


def test_a_micrograph_of_large_defects_gives_large_defects():
    loops = class_shapes([4.0] * 50 + [12.0] * 50, micrograph=[0] * 50 + [1] * 50)
    fitted = shapes(field(0.5, loop=400, size={"loop": 4.4}), field(0.25, loop=400, size={"loop": 10.9}), loop=loops)
    found = batch(fitted)
    scale = found.unit_per_px[found.drawn.item]
    nm = found.drawn.major * scale
    assert np.mean(nm[scale == 0.25]) == pytest.approx(12, rel=0.05)
    assert np.mean(nm[scale == 0.5]) == pytest.approx(4, rel=0.05)


def test_zero_defects_and_a_class_with_one_example_and_one_without():
    empty = batch(TWO, density=0)
    assert len(empty.drawn) == 0 and not empty.class_masks.any() and not empty.instances.any()
    fitted = shapes(field(loop=400, dot=400), loop=[5.0], dot=[])
    assert {d.category for mask in drawn(fitted, 5) for d in mask.defects} == {"loop"}


def test_without_calibration_sizes_are_in_px():
    fitted = shapes(field(1.0, loop=400), loop=[20.0], unit="px")
    assert drawn(fitted, 1)[0].nm_per_px is None
    assert np.median(batch(fitted).drawn.major) == pytest.approx(20, rel=0.03)
    with pytest.raises(TemDataError, match="masks.nm_per_px.*px"):
        batch(fitted, nm_per_px=1.0)


def covered_twice(mask):
    return sum(d.area for d in mask.defects) - int((instance_map(mask.defects, mask.shape) > 0).sum())


def test_overlap_is_as_asked():
    twice = {
        overlap: sum(map(covered_twice, drawn(TWO, 30, density=2, overlap=overlap)))
        for overlap in ("allowed", "measured", "forbidden")
    }
    assert twice["forbidden"] == 0 < twice["measured"] < 0.5 * twice["allowed"]
    assert sum(len(mask.defects) for mask in drawn(TWO, 30, density=2, overlap="forbidden")) > 1000


def test_near_pairs_are_as_rare_as_measured():
    """Fitted again, drawn masks give the spacing they were drawn by; here a fifth of near pairs remains."""
    fitted = shapes(field(dot=400), dot=class_shapes([6.0], 0.98), remaining=0.2)
    masks = drawn(fitted, 60, size_px=256)
    remaining = fit_shapes(masks, ["dot"]).spacing.remaining["dot/dot"]
    assert np.mean(remaining) == pytest.approx(0.2, abs=0.08)


def test_where_no_labels_overlap_no_drawn_defects_do():
    dots = [defect_from_ellipse("dot", 20 + 25 * i, 20 + 25 * j, 14, 14, 0, (200, 200)) for i, j in np.ndindex(7, 7)]
    fitted = fit_shapes([Micrograph("a", None, tuple(dots), (200, 200), 0.5)], ["dot"])
    masks = drawn(fitted, 30, density=0.4)
    assert fitted.overlap_share == 0 and sum(len(mask.defects) for mask in masks) > 150
    assert sum(map(covered_twice, masks)) == 0


def test_ellipses_touch_at_a_contact_ratio_of_one():
    def pair(dx, dy, first, second):
        columns = np.array([(0.0, 0.0, *first), (dx, dy, *second)]).T
        return contact_ratio(Ellipses(*columns, np.zeros(2), np.zeros(2, int)), np.array([1]), np.array([0]))[0]

    assert pair(20, 0, (20, 20, 0), (20, 20, 0)) == pytest.approx(1)
    assert pair(20, 0, (30, 5, 0), (10, 5, 0)) == pytest.approx(1, abs=0.01)
    assert pair(0, 5, (30, 5, 0), (30, 5, 0)) == pytest.approx(1)
    assert pair(0, 20, (30, 5, 90), (10, 5, 90)) == pytest.approx(1, abs=0.01)
    side = 40 / np.sqrt(2)
    assert pair(side, -side, (40, 6, 45), (40, 6, 45)) == pytest.approx(1)  # up and to the right, y pointing down
    assert pair(side, side, (40, 6, 45), (40, 6, 45)) > 6


def counts(table):
    return np.bincount(table.category, minlength=2)


def test_controls_of_density_and_size():
    plain, denser, more = (batch(TWO, **a).drawn for a in ({}, {"density": 2}, {"class_density": {"loop": 2}}))
    assert counts(denser) / counts(plain) == pytest.approx((2, 2), rel=0.15)
    assert counts(more) / counts(plain) == pytest.approx((2, 1), rel=0.15)
    larger = batch(TWO, class_size={"loop": 2}).drawn
    for k, factor in ((0, 2), (1, 1)):
        assert np.mean(larger.major[larger.category == k]) / np.mean(plain.major[plain.category == k]) == pytest.approx(
            factor, rel=0.05
        )
    limited = batch(TWO, min_size=3, max_size=5).drawn
    assert len(limited) > 100 and limited.major.min() >= 6 and limited.major.max() <= 10


def test_controls_of_angle_scale_and_empty_masks():
    assert set(batch(TWO, angle=-30).drawn.angle_deg) == {150.0}
    spread = batch(TWO, angle="uniform").drawn.angle_deg
    assert np.histogram(spread, 6, (0, 180))[0] / len(spread) == pytest.approx([1 / 6] * 6, abs=0.03)
    coarse = batch(TWO, nm_per_px=1.0)
    assert (coarse.unit_per_px == 1.0).all() and np.median(coarse.drawn.major) < 3
    sparse = shapes(field(loop=60), loop=[4.0])
    for share in (0.0, 0.3, 1.0):
        shown = batch(sparse, empty=share).instances.any((1, 2))
        assert 1 - shown.mean() == pytest.approx(share, abs=0 if share in (0, 1) else 0.12)
    with pytest.raises(TemDataError, match="masks.empty.*raise masks.density"):
        batch(shapes(field(loop=0), loop=[4.0]), empty=0.5)


@pytest.mark.parametrize(
    "asked",
    [
        {"size_px": 0},
        {"nm_per_px": -1},
        {"density": -1},
        {"density": float("nan")},
        {"class_density": {"loop": -1}},
        {"class_density": {"ring": 2}},
        {"class_size": {"dot": 0}},
        {"angle": "up"},
        {"min_size": 0},
        {"empty": 1.5},
        {"overlap": True},
    ],
)
def test_settings_that_mean_nothing_are_refused(asked):
    with pytest.raises(TemDataError, match=f"masks.{next(iter(asked))}"):
        batch(TWO, **asked)


def test_seeds_and_indices_below_zero_are_refused():
    for seed, start in ((-1, 0), (0, -1)):
        with pytest.raises(TemDataError, match="expected 0 or more"):
            drawn(TWO, 1, seed, start)


def test_the_command_takes_every_control(tmp_path):
    save_shapes(TWO, tmp_path / "shapes.json")
    asked = (
        "--size-px 64 --count 3 --seed 2 --nm-per-px 0.25 --density 2 --class-density loop=3,dot=0 --class-size loop=2 "
    )
    asked += "--angle 90 --min-size 9 --max-size 11 --empty 0 --overlap forbidden"
    out = CliRunner().invoke(
        app, ["sample-masks", str(tmp_path / "shapes.json"), "-o", str(tmp_path / "masks"), *asked.split()]
    )
    assert out.exit_code == 0, out.output
    masks = list(read_dataset(tmp_path / "masks"))
    assert [m.shape for m in masks] == [(64, 64)] * 3 and all(m.defects and m.nm_per_px == 0.25 for m in masks)
    assert {d.category for m in masks for d in m.defects} == {"loop"}
    refused = CliRunner().invoke(
        app, ["sample-masks", str(tmp_path / "shapes.json"), "-o", str(tmp_path / "b"), "--class-size", "loop"]
    )
    assert isinstance(refused.exception, TemDataError)


def test_real_outlines_are_drawn_where_ellipses_would_not_do():
    corner = np.zeros((24, 24), bool)
    corner[:8] = corner[:, :8] = True
    defects = [defect_from_mask("kink", corner, 40 * i + 20, 40 * j + 20) for i, j in np.ndindex(4, 4)]
    dots = [defect_from_ellipse("dot", 50 + 40 * k, 55, 6, 6, 0, (200, 200)) for k in range(3)]
    fitted = fit_shapes([Micrograph("a", None, (*defects, *dots), (200, 200), 0.5)], ["kink", "dot"], 0.8)
    masks = drawn(fitted, 20, size_px=200)
    whole = [d for m in masks for d in m.defects if min(d.bbox[:2]) > 0 and max(d.x + d.bbox[2], d.y + d.bbox[3]) < 200]
    kinks = [d for d in whole if d.category == "kink"]
    assert len(kinks) > 60 and {d.category for d in whole} == {"kink", "dot"}
    assert np.median([d.mask.mean() for d in kinks]) == pytest.approx(corner.mean(), abs=0.06)
    assert np.median([d.area for d in kinks]) == pytest.approx(corner.sum(), rel=0.1)
    lower_right = [d.mask[2 * d.mask.shape[0] // 3 :, 2 * d.mask.shape[1] // 3 :].mean() for d in kinks]
    assert np.median(lower_right) < 0.05  # turned as they were
    for mask, classes in zip(masks, batch(fitted, 20, size_px=200).class_masks, strict=True):
        assert (class_mask(mask.defects, ("kink", "dot"), mask.shape) == classes).all()


def test_another_material_runs_by_configuration(shared):
    folder = shared / "data/loops_316l"
    micrographs, *_ = import_micrographs(
        ImportSettings(
            source="coco",
            images=str(folder / "images"),
            annotations=str(folder / "annotations.json"),
            classes={"hcloop": ["hcloop"]},
        )
    )
    fitted = fit_shapes(micrographs, ["hcloop"], 0.8)
    assert fitted.unit == "px" and len(fitted.classes["hcloop"].major) > 100
    table = batch(fitted, size_px=256).drawn
    expected = sum(f.counts["hcloop"] for f in fitted.fields) / len(fitted.fields) / 4
    inside = (np.minimum(table.x, table.y) >= 0) & (np.maximum(table.x, table.y) < 256)
    assert inside.sum() / BLOCK == pytest.approx(expected, rel=0.25)
