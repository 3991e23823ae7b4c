import math

import pytest

from tem_data.images.units import nm_per, pixel_size, size_of_sides


@pytest.mark.parametrize(
    ("units", "nm"),
    [
        ("pm picometre", 1e-3),
        ("Å A å \u212b A\u030a \\u00C5 angstrom Angstroms Ångström ångström", 0.1),
        ("nm nanometer nanometers nanometre Nanometres [nm] (nm) nm/px nm/pixel nm.", 1),
        ("µm μm um \\u00B5m \\u00b5m micron microns micrometer micrometers micrometre", 1e3),
        ("mm millimeter", 1e6),
        ("cm", 1e7),
        ("m meter metre", 1e9),
        ("in inch inches", 2.54e7),
    ],
)
def test_units_of_length(units, nm):
    assert [nm_per(unit) for unit in units.split()] == [nm] * len(units.split())
    assert nm_per(f" {units.split()[0]}\0") == nm


@pytest.mark.parametrize(
    "unit", ["", "px", "pixel", "1/px", "1/nm", "1 / nm", "nm^-1", "None", "eV", "Mm", "s", "a", "1/nm/px"]
)
def test_other_units(unit):
    assert nm_per(unit) is None and pixel_size(0.5, 0.5, unit) == (None, "")


def test_a_pixel_size_is_in_nm():
    assert pixel_size(5, 5, "Å") == (pytest.approx(0.5), "")
    assert pixel_size(0.0005, None, "µm") == pixel_size(None, 0.0005, "µm") == (pytest.approx(0.5), "")
    assert size_of_sides(0.5, "nm", 5, "Å") == size_of_sides(9, "px", 0.5, "nm") == (pytest.approx(0.5), "")


def test_sides_that_differ_by_rounding_are_averaged():
    assert pixel_size(0.5, 0.504, "nm") == (pytest.approx(0.502), "")
    assert pixel_size(0.5, 0.6, "nm") == (None, "pixels are 0.5 nm wide and 0.6 nm high")


@pytest.mark.parametrize("side", [0, -1, math.nan, math.inf, None])
def test_no_size(side):
    assert pixel_size(side, side, "nm") == (None, "")


@pytest.mark.parametrize(("side", "unit"), [(2, "µm"), (1 / 72, "inch"), (0.001, "nm"), (1001, "nm")])
def test_a_size_that_no_micrograph_has_is_doubted(side, unit):
    size, doubt = pixel_size(side, side, unit)
    assert size is None and "no pixel size of a micrograph" in doubt and "\n" not in doubt


@pytest.mark.parametrize("dots_per_cm", [28.346, 28.35, 118.11, 59.055, 37.795])
def test_a_leftover_of_printing_may_be_rounded_per_cm(dots_per_cm):
    size, doubt = pixel_size(1 / dots_per_cm, 1 / dots_per_cm, "nm")
    assert size is None and "dpi" in doubt


def test_a_scale_that_nobody_set_is_doubted():
    assert pixel_size(1, 1, "µm") == (None, "1000 nm per px is no pixel size of a micrograph (0.005 to 1000)")
    assert pixel_size(0.999, 0.999, "µm")[0] == pytest.approx(999)


@pytest.mark.parametrize("side", [1 / 72, 2.54 / 72, 1 / 96.00001, 1 / 100, 2.54 / 300])
def test_a_leftover_of_printing_is_doubted(side):
    for unit in ("nm", "Å"):
        size, doubt = pixel_size(side, side, unit)
        assert size is None and "dpi" in doubt
    assert pixel_size(side / 1000, side / 1000, "µm")[0] == pytest.approx(side)


def test_a_size_near_one_of_printing_counts():
    assert pixel_size(1 / 72.01, 1 / 72.01, "nm") == (pytest.approx(1 / 72.01), "")
