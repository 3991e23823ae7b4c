"""What the tests of formats share."""

import copy
import json

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, defect_from_ellipse, defect_from_mask
from tem_data.core.schema import Classes
from tem_data.importing.labels import LabelTable
from tem_data.importing.quarantine import Quarantine

SHAPE = (60, 80)
CLASSES = Classes(("loop", "line 1"), ("ambiguous",))
NESTED = [[[[[[]]]]]]
DAMAGES = (
    None,
    [],
    {},
    "x",
    -1,
    0,
    True,
    float("inf"),
    float("nan"),
    10**400,
    NESTED,
    {"a": NESTED},
    "\ud800",
    "1" * 99,
)


def inside(table, place=0, shape=SHAPE):
    """The pixels of a label on its image, bool."""
    defect = table.labels[place].outline.drawn("x", shape, False)
    canvas = np.zeros(shape, bool)
    if defect:
        x, y, width, height = defect.bbox
        canvas[y : y + height, x : x + width] = defect.mask
    return canvas


def disc(x, y, radius_x, radius_y=None, clockwise_deg=0.0, shape=SHAPE):
    """The pixels whose centres lie in an ellipse, by its own formula."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    turn = np.deg2rad(clockwise_deg)
    along = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    across = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
    return (along / radius_x) ** 2 + (across / (radius_y or radius_x)) ** 2 <= 1


def block(left, top, right, bottom, shape=SHAPE):
    canvas = np.zeros(shape, bool)
    canvas[top:bottom, left:right] = True
    return canvas


def places(tree, path=()):
    """The paths of all values of a tree of JSON, of lists of one kind of the first two."""
    yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if isinstance(tree, list) and not any(isinstance(child, dict) for child in tree):
        children = list(children)[:2]
    for key, child in children:
        yield from places(child, (*path, key))


def damaged(tree):
    """Copies of a tree of JSON, each with one value replaced or missing."""
    for path in places(tree):
        for value in DAMAGES:
            if not path:
                yield value
                continue
            other = copy.deepcopy(tree)
            parent = other
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
            yield other
        if path and isinstance(path[-1], str):
            other = copy.deepcopy(tree)
            parent = other
            for key in path[:-1]:
                parent = parent[key]
            del parent[path[-1]]
            yield other


def check_damaged(tree, file, read):
    """Whatever stands in a file, reading gives tables that can be drawn, and a quarantine that can be written."""
    for content in damaged(tree):
        file.write_text(json.dumps(content))
        quarantine = Quarantine()
        try:
            tables = read(file, quarantine)
        except TemDataError:
            continue
        check_tables(tables, quarantine)


def check_tables(tables, quarantine):
    assert all(text.encode() is not None for row in quarantine.rows for text in row.values())
    for table in tables:
        assert isinstance(table, LabelTable) and isinstance(table.file_name, str)
        assert table.shape is None or all(isinstance(side, int) and side > 0 for side in table.shape)
        for label in table.labels:
            assert isinstance(label.name, str) and np.isfinite(label.outline.box()).all()
            label.outline.drawn("x", table.shape if table.shape and max(table.shape) < 200 else SHAPE, False)
            hash(label.outline.key())


def micrograph():
    """Defects of every kind: round, at the edge, with a hole, in two parts, of one px, meeting at a corner, ignored."""
    ring = disc(40, 30, 12, 8, 20) & ~disc(40, 30, 8, 4, 20)
    parts = block(2, 40, 9, 44) | block(12, 46, 15, 58)
    corner = block(60, 5, 63, 8) | block(63, 8, 66, 11)
    defects = (
        defect_from_ellipse("loop", 20.3, 12.1, 13, 7.5, 30, SHAPE),
        defect_from_mask("line 1", block(70, 0, 80, 25)),
        defect_from_mask("loop", ring),
        defect_from_mask("line 1", parts, ignore=True),
        defect_from_mask("loop", corner),
        defect_from_mask("loop", block(0, 0, 1, 1)),
        defect_from_mask("ambiguous", disc(60, 45, 6), ignore=True),
        defect_from_mask("loop", disc(25, 50, 4), ignore=True),
    )
    image = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    return Micrograph("a.b c", image, defects, SHAPE, 0.1234567890123, 87.5, "ion irradiated, 3 dpa")


def same_defects(table, expected, ignored=CLASSES.ignored):
    """Whether labels are these defects: the same pixels, classes and marks."""
    assert len(table.labels) == len(expected)
    for place, (label, defect) in enumerate(zip(table.labels, expected, strict=True)):
        drawn = label.outline.drawn(label.name, SHAPE, label.ignore or label.name in ignored)
        assert (drawn.category, drawn.bbox, drawn.ignore) == (defect.category, defect.bbox, defect.ignore), place
        assert (drawn.mask == defect.mask).all(), place
    return True
