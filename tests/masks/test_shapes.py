from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, defect_from_ellipse, defect_from_mask
from tem_data.masks.shapes import describe_shapes, ellipse_of, fit_shapes, load_shapes, save_shapes

CLASSES = ("100", "111", "bdot")
SHAPE = (100, 120)


def drawn(category="111", x=60.0, y=50.0, major=30.0, minor=18.0, angle=0.0, ignore=False):
    return defect_from_ellipse(category, x, y, major, minor, angle, SHAPE, ignore)


def micrograph(name, *defects, nm_per_px=0.5):
    return Micrograph(name, np.zeros(SHAPE, np.uint8), defects, SHAPE, nm_per_px)


@settings(deadline=None)
@given(st.floats(20, 40), st.floats(0.4, 0.75), st.floats(0, 179.9), st.floats(45, 55), st.floats(45, 55))
def test_the_axes_of_drawn_ellipses_are_found(major, aspect, angle, x, y):
    found = ellipse_of(drawn("111", x, y, major, major * aspect, angle))
    assert (found.x, found.y) == pytest.approx((x, y), abs=0.4)
    assert (found.major, found.minor) == pytest.approx((major, major * aspect), rel=0.06)
    assert abs((found.angle_deg - angle + 90) % 180 - 90) < 8


def test_a_drawn_ellipse_is_drawn_again():
    defect = drawn(angle=30)
    found = ellipse_of(defect)
    again = drawn("111", found.x, found.y, found.major, found.minor, found.angle_deg)
    assert again.area == pytest.approx(defect.area, rel=0.02) and again.bbox == defect.bbox


def test_one_pixel_and_a_line_of_pixels_have_their_area():
    for side in ((1, 1), (1, 7), (7, 1)):
        found = ellipse_of(defect_from_mask("bdot", np.ones(side, bool), 4, 9))
        assert np.pi / 4 * found.major * found.minor == pytest.approx(side[0] * side[1])
        assert found.major / found.minor == pytest.approx(max(side))
        assert (found.x, found.y) == (4 + side[1] / 2, 9 + side[0] / 2)
    assert found.angle_deg == pytest.approx(90)


def test_sizes_are_in_nm_and_what_an_edge_cuts_counts_half():
    cut = drawn("111", 0, 50)
    fitted = fit_shapes(
        [
            micrograph("a", drawn("111", major=30), cut, drawn("100", ignore=True)),
            micrograph("b", drawn("111", major=30), drawn("bdot", major=10, minor=10), nm_per_px=2.0),
        ],
        CLASSES,
    )
    assert fitted.unit == "nm" and fitted.left_out_uncalibrated == []
    assert fitted.classes["111"].major == pytest.approx([15, 60], rel=0.03)
    assert fitted.classes["111"].aspect == pytest.approx([0.6, 0.6], abs=0.03)
    assert fitted.classes["111"].micrograph == [0, 1] and fitted.classes["100"].major == []
    assert [f.counts for f in fitted.fields] == [{"100": 0, "111": 1.5, "bdot": 0}, {"100": 0, "111": 1, "bdot": 1}]
    assert [(f.area, f.unit_per_px) for f in fitted.fields] == [(12000 / 4, 0.5), (12000 * 4, 2.0)]


@pytest.mark.parametrize("x, y", [(0, 50), (119, 50), (60, 0), (60, 99)])
def test_what_an_edge_cuts_is_counted_but_not_fitted(x, y):
    fitted = fit_shapes([micrograph("a", drawn(), drawn("111", x, y))], CLASSES)
    assert len(fitted.classes["111"].major) == 1 and fitted.fields[0].counts["111"] == 1.5


def test_uncalibrated_micrographs_are_left_out_and_named():
    fitted = fit_shapes([micrograph("a", drawn()), micrograph("b", drawn(), nm_per_px=None)], CLASSES)
    assert fitted.left_out_uncalibrated == ["b"] and [f.micrograph_id for f in fitted.fields] == ["a"]


def test_sizes_are_in_px_where_nothing_is_calibrated():
    fitted = fit_shapes([micrograph(name, drawn(), nm_per_px=None) for name in "ab"], CLASSES)
    assert (fitted.unit, fitted.left_out_uncalibrated, len(fitted.fields)) == ("px", [], 2)
    assert fitted.classes["111"].major == pytest.approx([30, 30], rel=0.02)


def test_without_a_whole_defect_there_is_nothing_to_fit():
    for defects in ((), (drawn("111", 0, 50),), (drawn(ignore=True),)):
        with pytest.raises(TemDataError, match="no whole defect"):
            fit_shapes([micrograph("a", *defects)], CLASSES)


def test_shapes_round_trip(tmp_path):
    fitted = fit_shapes([micrograph("a", drawn()), micrograph("µ", nm_per_px=None)], CLASSES)
    save_shapes(fitted, tmp_path / "shapes.json")
    assert load_shapes(tmp_path / "shapes.json") == fitted
    assert len((tmp_path / "shapes.json").read_text().splitlines()) < 200


@pytest.mark.parametrize(
    "content, said",
    [(None, "version 7"), ("{", "not a JSON"), ("[]", "fit-shapes"), ('{"version": 1}', "fit-shapes")],
)
def test_files_that_hold_no_shapes_are_refused(tmp_path, content, said):
    path = tmp_path / "shapes.json"
    save_shapes(replace(fit_shapes([micrograph("a", drawn())], CLASSES), version=7), path)
    if content:
        path.write_text(content)
    with pytest.raises(TemDataError, match=f"shapes.json: .*{said}"):
        load_shapes(path)


def ellipses(rng, size, expected, apart=0.0):
    """Centres on a canvas larger than a micrograph of `size`, log-normal axes: a crop of an endless specimen."""
    margin = 80
    side = size + 2 * margin
    rows = []
    for _ in range(rng.poisson(expected * (side / size) ** 2)):
        major = 30 * np.exp(0.4 * np.clip(rng.standard_normal(), -2.5, 2.5))
        x, y = rng.uniform(-margin, size + margin, 2)
        if all(np.hypot(x - o[0], y - o[1]) > apart * (major + o[2]) / 2 for o in rows):
            rows.append((x, y, major, 0.6 * major, rng.uniform(0, 180)))
    return rows


def specimen(count, size=200, expected=12, apart=0.0, seed=0):
    rng = np.random.default_rng(seed)
    for number in range(count):
        drawn_here = (defect_from_ellipse("111", *row, (size, size)) for row in ellipses(rng, size, expected, apart))
        defects = tuple(d for d in drawn_here if d is not None)
        yield Micrograph(str(number), None, defects, (size, size), 0.5)


def test_known_parameters_are_found_though_edges_cut_two_fifths_of_the_defects():
    micrographs = list(specimen(100))
    defects = [d for m in micrographs for d in m.defects]
    cut = np.mean([0 in d.bbox[:2] or 200 in (d.x + d.bbox[2], d.y + d.bbox[3]) for d in defects])
    assert cut == pytest.approx(0.4, abs=0.03)
    fitted = fit_shapes(micrographs, ["111"])
    shapes = fitted.classes["111"]
    logs, weight = np.log(shapes.major), np.array(shapes.weight)
    mean = np.average(logs, weights=weight)
    spread = np.sqrt(np.average((logs - mean) ** 2, weights=weight))
    error = 0.4 * np.sqrt((weight**2).sum()) / weight.sum()  # of the weighted mean
    assert mean == pytest.approx(np.log(15), abs=3 * error + 0.01) and 3 * error < 0.06  # 30 px; pixels are 0.01
    assert spread == pytest.approx(0.4 * 0.968, abs=3 * error)  # cut at 2.5 standard deviations: 3 % less
    assert np.mean(logs) < np.log(15) - 3 * error  # what fitting without weights would give
    assert np.average(shapes.aspect, weights=weight) == pytest.approx(0.6, abs=0.01)
    density = sum(f.counts["111"] for f in fitted.fields) / sum(f.area for f in fitted.fields)
    assert density == pytest.approx(12 / 100**2, rel=3 / np.sqrt(1200))
    assert weight.sum() / sum(f.area for f in fitted.fields) == pytest.approx(density, rel=0.1)


def test_a_whole_defect_stands_for_those_of_its_size_that_edges_cut():
    """A box of w × h px has (W − 1 − w)(H − 1 − h) of W·H places at which it touches no edge."""
    block = defect_from_mask("111", np.ones((20, 40), bool), 30, 30)
    fitted = fit_shapes([micrograph("a", block)], CLASSES).classes["111"]
    assert fitted.weight == pytest.approx([120 * 100 / (79 * 79)], abs=1e-4)


def test_defects_that_keep_apart_are_told_from_defects_that_do_not():
    random, apart = (fit_shapes(specimen(25, 300, 40, apart), ["111"]) for apart in (0.0, 1.0))
    assert np.mean(random.spacing.remaining["111/111"]) > 0.9
    assert max(apart.spacing.remaining["111/111"][:3]) < 0.1  # centres nearer than 0.8 of the mean axis overlap
    assert random.overlap_share > 0.1 > 0.01 > apart.overlap_share


def test_defects_that_cluster_within_a_micrograph_are_found():
    rng = np.random.default_rng(0)

    def clustered(excess):
        for number in range(20):
            factors = rng.gamma(1 / excess, excess, (4, 4)) if excess else np.ones((4, 4))
            places = [
                rng.uniform(0, 100, 2) + (100 * i, 100 * j)
                for i, j in np.ndindex(4, 4)
                for _ in range(rng.poisson(6 * factors[i, j]))
            ]
            dots = (defect_from_ellipse("dot", x, y, 5, 5, 0, (400, 400)) for x, y in places)
            yield Micrograph(str(number), None, tuple(dots), (400, 400), 1.0)

    assert fit_shapes(clustered(0), ["dot"]).clustering["dot"] < 0.05
    assert fit_shapes(clustered(0.5), ["dot"]).clustering["dot"] == pytest.approx(0.5, abs=0.2)


def test_micrographs_differ_in_typical_size_as_far_as_their_defects_say():
    large = [drawn("111", x, major=40) for x in (30.0, 80.0)] * 10
    small = [drawn("111", x, major=20) for x in (30.0, 80.0)] * 10
    sizes = [f.size["111"] for f in fit_shapes([micrograph("a", *large), micrograph("b", *small)], CLASSES).fields]
    assert 17 < sizes[0] < 20 and 10 < sizes[1] < 12  # 20 and 10 nm, each drawn a little towards the other


def test_outlines_that_are_no_ellipses_are_kept():
    corner = np.zeros((24, 24), bool)
    corner[:8] = corner[:, :8] = True
    corners, ovals = [defect_from_mask("100", corner, 40, 40)] * 3, [drawn()]
    fitted = fit_shapes([micrograph("a", *corners, *ovals)], CLASSES, min_ellipse_iou=0.8)
    assert fitted.classes["100"].ellipse_iou < 0.75 and fitted.classes["111"].ellipse_iou > 0.95
    assert [len(c.outlines) for c in fitted.classes.values()] == [3, 0, 0]
    outline = np.reshape(fitted.classes["100"].outlines[0], (-1, 2))
    assert np.ptp(outline, 0) == pytest.approx((12, 12), abs=0.1)  # nm: 24 px of 0.5 nm
    said = describe_shapes(fitted)
    assert "its outlines are kept" in said[0] and "drawn as ellipses" in said[1] and "none will be drawn" in said[2]


def test_a_class_of_one_example_is_said_to_be_thin():
    said = describe_shapes(fit_shapes([micrograph("a", *[drawn()] * 30, drawn("bdot"))], CLASSES))
    assert "thin" not in said[1] and "1 whole defects" in said[2] and "thin" in said[2]
