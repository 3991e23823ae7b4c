from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data.errors import TemDataError
from tem_data.micrograph import Micrograph, defect_from_ellipse, defect_from_mask
from tem_data.shapes import ellipse_of, fit_shapes, load_shapes, save_shapes

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
