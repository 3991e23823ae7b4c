"""In which unit a Results table is, by how its ellipses fit the image."""

import numpy as np
import pytest

from tem_data.core.micrograph import paste
from tem_data.importing.labels import Ellipse, Label, LabelTable
from tem_data.importing.units import in_px, rounding, scaled

SHAPE = (300, 300)


def discs(count, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for place in rng.permutation(36)[:count]:
        x, y = 30 + 45 * np.array(divmod(place, 6)) + rng.uniform(-9, 9, 2)
        made.append(Ellipse(x, y, *rng.uniform(10, 20, 1).repeat(2), 0))
    return made


def table(ellipses, measured=True):
    return LabelTable("a", tuple(Label(f"row {i}", "loop", e) for i, e in enumerate(ellipses)), measured=measured)


def image(ellipses, seed=1):
    picture = np.full(SHAPE, 170, np.uint8)
    for ellipse in ellipses:
        paste(picture, ellipse.drawn("loop", SHAPE, False), 90)
    return np.clip(picture + np.random.default_rng(seed).normal(0, 12, SHAPE), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("count", [6, 20])
@pytest.mark.parametrize("nm_per_px, unit, nm", [(0.5, "nm", 1), (0.957, "nm", 1), (1.9, "nm", 1), (0.5, "um", 1000)])
def test_a_table_in_the_unit_of_its_image(count, nm_per_px, unit, nm):
    right = table(discs(count))
    read, found = in_px(scaled(right, nm_per_px / nm), image(discs(count)), nm_per_px, "auto", 3.5)
    assert found == unit
    np.testing.assert_allclose([label.outline for label in read.labels], [label.outline for label in right.labels])


@pytest.mark.parametrize("count", [6, 20])
@pytest.mark.parametrize("nm_per_px", [0.3, 0.5, 0.957, 1.9, None])
def test_a_table_in_px_stays(count, nm_per_px):
    right = table(discs(count))
    assert in_px(right, image(discs(count)), nm_per_px, "auto", 3.5) == (right, "px")


def test_what_nothing_tells_is_refused():
    with pytest.raises(ValueError, match="may be in px or in the unit of the image, at 0.957 nm per px .*table_unit"):
        in_px(table(discs(6)), image([]), 0.957, "auto", 3.5)


def test_a_unit_that_is_given_is_believed():
    held = table(discs(6))
    assert in_px(held, image([]), 0.957, "px", 3.5) == (held, "px")
    assert in_px(scaled(held, 0.5), image([]), 0.5, "nm", 3.5) == (held, "nm")
    with pytest.raises(ValueError, match="in nm, and the pixel size of its image is not known"):
        in_px(held, image([]), None, "nm", 3.5)


def test_other_tables_are_never_converted():
    held = table(discs(6), measured=False)
    assert in_px(held, image(discs(6)), 0.5, "auto", 3.5) == (held, "px")
    empty = table([])
    assert in_px(empty, image([]), 0.5, "auto", 3.5) == (empty, "px")


@pytest.mark.parametrize("nm_per_px", [1, 1.001])
def test_a_unit_that_is_a_px_is_no_question(nm_per_px):
    held = table(discs(6))
    assert in_px(held, image(discs(6)), nm_per_px, "auto", 3.5) == (held, "px")


def test_lengths_that_are_rounded_much_are_said():
    held = table([Ellipse(0.017, 0.02, 0.011, 0.01, 0), Ellipse(0.1, 0.05, 0.02, 0.02, 0)])
    assert "rounded to 2 px: set more decimal places" in rounding(held, 0.5, "um")
    assert rounding(held, 2.0, "um") == rounding(held, 0.5, "nm") == rounding(table(discs(6)), 0.05, "um") == ""
