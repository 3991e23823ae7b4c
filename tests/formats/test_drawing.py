import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from scipy.ndimage import label

from tem_data.coco.faults import Fault
from tem_data.formats import drawing
from tem_data.importing.labels import Ellipse, Label, LabelTable, Rings, Several, even_odd
from tests.formats.common import SHAPE, block, disc, inside


@settings(deadline=None, max_examples=200)
@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_rings_along_pixel_edges_give_back_their_pixels(mask):
    rings = drawing.traced(mask, 3, -2)
    height, width = mask.shape
    assert (even_odd([ring.ravel() for ring in rings], (3, -2, 3 + width, height - 2)) == mask).all()
    # clockwise outside, counter-clockwise holes: the signed areas sum to the pixels
    signed = [x @ np.roll(y, -1) - y @ np.roll(x, -1) for x, y in (ring.T for ring in rings)]
    assert sum(signed) == 2 * mask.sum()
    holes = label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))[1] - 1
    assert len(rings) == label(mask)[1] + holes


def test_a_polygon_holds_the_pixels_whose_centres_it_encloses():
    points = [[10.2, 5.1], [40.7, 20.3], [22.4, 50.9]]
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    corners = np.array(points)
    sides = [
        (bx - ax) * (rows - ay) - (by - ay) * (columns - ax)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0), strict=True)
    ]
    expected = np.all(np.array(sides) > 0, 0)
    for order in (points, points[::-1], [*points, points[0]]):
        table = LabelTable("a", (Label("", "", drawing.polygon(order)),))
        assert (inside(table) == expected).all()


def test_shapes_are_cut_at_the_edges_however_large_they_are():
    far = Rings(((-1e8, -1e8, 1e8, -1e8, 1e8, 1e8, -1e8, 1e8),))
    assert far.drawn("loop", SHAPE, False).area == SHAPE[0] * SHAPE[1]
    assert drawing.rectangle(-5, -5, 3, 4).drawn("loop", SHAPE, False).bbox == (0, 0, 3, 4)
    assert drawing.rectangle(100, 5, 200, 9).drawn("loop", SHAPE, False) is None


def test_parts_of_one_defect_are_joined_where_they_overlap():
    parts = Several((Ellipse(20, 20, 10, 10, 0), drawing.rectangle(20, 15, 40, 25), drawing.rectangle(30, 15, 45, 20)))
    table = LabelTable("a", (Label("", "", parts),))
    assert (inside(table) == (disc(20, 20, 5) | block(20, 15, 40, 25) | block(30, 15, 45, 20))).all()
    assert parts.box() == (15, 15, 45, 25)
    assert Several((drawing.rectangle(90, 0, 95, 5),)).drawn("loop", SHAPE, False) is None


def test_areas_are_those_of_the_pixels():
    holed = drawing.polygon([[0, 0], [10, 0], [10, 10], [0, 10]], [[2, 2], [5, 2], [5, 5], [2, 5]])
    assert holed.area() == 91 and drawing.rectangle(-4, -4, 4, 4).area() == 64


@pytest.mark.parametrize(
    "points", [None, [], [[0, 0], [1, 1]], [[0, 0], [1, 0], [0, float("nan")]], [[0, 0], [1, 0], 5]]
)
def test_what_makes_no_polygon_is_a_fault(points):
    with pytest.raises(Fault):
        drawing.polygon(points)


def test_a_long_zigzag_needs_little_memory():
    x = np.tile([0.0, 4000.0], 5000)
    y = np.tile([0.0, 4000.0], 5000) + np.linspace(0, 1, 10000)
    even_odd([np.stack([x, y], 1).ravel()], (0, 0, 60, 60))
