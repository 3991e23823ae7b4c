import itertools
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest

from tem_data.core.errors import TemDataError
from tem_data.formats.cvat import read_cvat
from tem_data.importing.quarantine import Quarantine
from tests.formats.common import SHAPE, block, check_tables, disc, inside

MASK = disc(8, 5, 6.5, 4.2, shape=(10, 16))


def run_lengths(mask):
    """Run lengths, background first, as CVAT writes them."""
    runs = [(bool(value), len(list(group))) for value, group in itertools.groupby(mask.ravel())]
    return ", ".join(map(str, [*([0] if runs[0][0] else []), *(length for _, length in runs)]))


def element(tag, label="loop", **fields):
    given = {"label": label, "source": "manual", "occluded": "0"} | fields | {"z_order": "0"}
    return f"<{tag} {' '.join(f'{name}={quoteattr(str(value))}' for name, value in given.items())}></{tag}>"


SHAPES = [
    element("polygon", points="2.00,3.00;6.00,3.00;6.00,8.00;2.00,8.00"),
    element("ellipse", "line", cx="40.50", cy="30.25", rx="14.50", ry="5.20", rotation="25.00"),
    element("ellipse", cx="20.50", cy="30.25", rx="4.50", ry="5.20"),
    element("mask", rle=run_lengths(MASK), left=60, top=45, width=16, height=10),
    element("box", xtl="1", ytl="2", xbr="3", ybr="4"),
    element("polyline", points="2,3;6,3;6,8"),
    element("points", points="2,3"),
    '<tag label="good" source="manual"></tag>',
]


def document(shapes=SHAPES, head=""):
    body = "".join(shapes)
    return f"""<?xml version="1.0" encoding="utf-8"?>{head}<annotations><version>1.1</version><meta><task/></meta>
<image id="0" name="sub\\a.png" width="80" height="60">{body}</image>
<image id="1" name="b.png" width="80" height="60"></image></annotations>"""


def test_each_kind_of_shape_gives_its_pixels(tmp_path):
    (tmp_path / "annotations.xml").write_text(document())
    quarantine = Quarantine()
    first, second = read_cvat(tmp_path, quarantine)
    assert (first.file_name, first.shape, first.lost) == ("sub/a.png", SHAPE, 3)
    assert (second.file_name, second.labels, second.lost) == ("b.png", (), 0)
    assert [label.name for label in first.labels] == ["loop", "line", "loop", "loop"]
    mask = np.zeros(SHAPE, bool)
    mask[45:55, 60:76] = MASK
    expected = [block(2, 3, 6, 8), disc(40.5, 30.25, 14.5, 5.2, 25), disc(20.5, 30.25, 4.5, 5.2), mask]
    for place, pixels in enumerate(expected):
        assert (inside(first, place) == pixels).all(), place
    assert [(row["item"], row["reason"]) for row in quarantine.rows] == [
        ("box 1", "only a box"),
        ("polyline 1", "bad shape"),
        ("points 1", "bad shape"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<annotations>",
        "<other/>",
        '<annotations><track id="0"/></annotations>',
        document(head='<!DOCTYPE a [<!ENTITY x "y">]>'),
        document(head='<!DOCTYPE a SYSTEM "file:///etc/passwd">'),
        document().replace("utf-8", "no-such-code"),
        "<a>" * 100_000,
    ],
)
def test_what_is_no_such_file_is_set_aside(tmp_path, content):
    (tmp_path / "a.xml").write_text(content)
    (tmp_path / "b.xml").write_bytes(
        document(head='<!DOCTYPE a [<!ENTITY x "y">]>').replace("utf-8", "utf-16").encode("utf-16")
    )
    quarantine = Quarantine()
    assert read_cvat(tmp_path, quarantine) == [] and quarantine.counts() == {"unreadable table": 2}


def test_damaged_values_never_stop_it(tmp_path):
    whole = document([*SHAPES[:2], element("mask", rle="3,2,1", left=60, top=45, width=3, height=2)])
    words = [part for part in whole.split('"')[5::2] if part]
    for word, value in itertools.product(
        dict.fromkeys(words), ["", "x", "-1", "1e400", "nan", "9" * 400, "1,2;3", "0,0,0"]
    ):
        (tmp_path / "a.xml").write_text(whole.replace(f'"{word}"', f'"{value}"'))
        quarantine = Quarantine()
        check_tables(read_cvat(tmp_path, quarantine), quarantine)
    for place in range(0, len(whole), 7):
        (tmp_path / "a.xml").write_text(whole[:place] + whole[place + 5 :])
        quarantine = Quarantine()
        check_tables(read_cvat(tmp_path, quarantine), quarantine)


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(TemDataError, match="CVAT"):
        read_cvat(tmp_path, Quarantine())


TRACK = '<track id="0" label="loop"><polygon frame="0" outside="0" keyframe="1" points="2,3;6,3;6,8"/></track>'


def test_tracks_of_a_video_are_said(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(document().replace("</annotations>", f"{TRACK}</annotations>"))
    quarantine = Quarantine()
    assert len(read_cvat(path, quarantine)) == 2
    assert [row["detail"] for row in quarantine.rows if row["item"] == "1 tracks"] == [
        "1 tracks of a video; export in the format CVAT for images 1.1"
    ]
    path.write_text(f"<annotations>{TRACK}</annotations>")
    quarantine = Quarantine()
    assert read_cvat(path, quarantine) == [] and "found 1 tracks of a video" in quarantine.rows[0]["detail"]
