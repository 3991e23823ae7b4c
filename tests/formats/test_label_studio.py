import itertools
import json

import numpy as np
import pytest

from tem_data.core.errors import TemDataError
from tem_data.formats.label_studio import is_label_studio, read_label_studio
from tem_data.importing.quarantine import Quarantine
from tests.formats.common import SHAPE, block, check_damaged, disc, inside

HEIGHT, WIDTH = SHAPE


def brush(mask, alpha=255, literal=False):
    """The bytes of a mask as Label Studio packs it: RGBA, runs of up to 2^3, 2^4, 2^8 or 2^16 values."""
    values = np.repeat(mask.ravel().astype(int) * alpha, 4)
    sizes = (3, 4, 8, 16)
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    for value, group in itertools.groupby(values.tolist()):
        left = len(list(group))
        while left:
            run = min(left, 2**16)
            choice = next(i for i, size in enumerate(sizes) if run <= 2**size)
            same = not (literal and run <= 8)
            bits += f"{int(same)}{choice:02b}{run - 1:0{sizes[choice]}b}" + f"{value:08b}" * (1 if same else run)
            left -= run
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def result(kind, label="loop", **value):
    return {
        "id": f"{kind}{label}",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": value | ({kind: [label]} if label else {}),
    }


def percent(points):
    return [[x / WIDTH * 100, y / HEIGHT * 100] for x, y in points]


MASK = disc(20.2, 44.7, 9.5, 5.5) & ~disc(20.2, 44.7, 4)
ELLIPSE = {"x": 50, "y": 50, "radiusX": 14.5 / 0.8, "radiusY": 5.2 / 0.6, "rotation": 25}
RESULTS = [
    result("polygonlabels", points=percent([[2, 3], [6, 3], [6, 8], [2, 8]]), closed=True),
    result("ellipselabels", "line", **ELLIPSE),
    result("brushlabels", format="rle", rle=brush(MASK)),
    result("brushlabels", format="rle", rle=brush(MASK, 130, literal=True)),
    result("polygon", "", points=percent([[60, 3], [66, 3], [66, 8], [60, 8]])),
    result("labels") | {"id": "polygon"},
    result("choices", "good"),
    result("rectanglelabels", x=1, y=1, width=5, height=5, rotation=0),
    result("keypointlabels", x=1, y=1, width=0.5),
    result("brushlabels", format="rle", rle=brush(MASK)[:-9]),
]
ADDRESS = "/data/local-files/?d=sub%20folder/a%201.png"


def task(results=RESULTS, address=ADDRESS, **fields):
    return {"id": 1, "data": {"note": "x", "image": address}, "annotations": [{"id": 1, "result": results}]} | fields


def write(path, *tasks):
    path.write_text(json.dumps(tasks))
    return path


def test_each_kind_of_shape_gives_its_pixels(tmp_path):
    quarantine = Quarantine()
    (table,) = read_label_studio(write(tmp_path / "a.json", task()), quarantine)
    assert is_label_studio([task()])
    assert (table.file_name, table.shape, table.lost) == ("a 1.png", SHAPE, 3)
    assert [label.name for label in table.labels] == ["loop", "line", "loop", "loop", "loop"]
    expected = [block(2, 3, 6, 8), disc(40, 30, 14.5, 5.2, 25), MASK, MASK, block(60, 3, 66, 8)]
    for place, pixels in enumerate(expected):
        assert (inside(table, place) == pixels).all(), place
    assert [(row["item"], row["reason"]) for row in quarantine.rows] == [
        ("result 8", "only a box"),
        ("result 9", "bad shape"),
        ("result 10", "bad shape"),
    ]


@pytest.mark.parametrize(
    "address, name",
    [
        ("https://host/bucket/a%201.TIF?token=x.png", "a 1.TIF"),
        ("/data/upload/3/0a1b2c3d-a.png", "a.png"),
        ("s3://bucket/0a1b2c3d-a.png", "0a1b2c3d-a.png"),
        ("/data/local-files/?d=C:\\images\\a.png", "a.png"),
        ("a.png", "a.png"),
    ],
)
def test_the_name_of_the_image(tmp_path, address, name):
    (table,) = read_label_studio(write(tmp_path / "a.json", task(address=address)), Quarantine())
    assert table.file_name == name


def test_the_last_annotation_counts_and_cancelled_ones_do_not(tmp_path):
    def annotation(date, label, **fields):
        return {"updated_at": date, "result": [result("ellipselabels", label, **ELLIPSE)]} | fields

    given = [
        annotation("2024-01-02T00:00:00Z", "second"),
        annotation("2024-01-01T00:00:00Z", "first"),
        annotation("2024-01-03T00:00:00Z", "third", was_cancelled=True),
    ]
    without = [{"result": a["result"]} for a in given[:2]]
    tasks = [task(address=f"{i}.png", annotations=a) for i, a in enumerate([given, without, []])]
    tasks.append({"data": {"image": "3.png"}, "completions": [{"result": []}]})
    quarantine = Quarantine()
    tables = read_label_studio(write(tmp_path / "a.json", *tasks), quarantine)
    assert [(t.file_name, [label.name for label in t.labels]) for t in tables] == [
        ("0.png", ["second"]),
        ("1.png", ["first"]),
        ("3.png", []),
    ]
    assert quarantine.counts() == {"duplicate id": 2, "no labels": 1}


def test_other_files(tmp_path):
    assert [is_label_studio(c) for c in (None, [], {}, [1], [{"data": {}}])] == [False] * 5
    quarantine = Quarantine()
    (tmp_path / "b.json").write_text("[]")
    assert read_label_studio(tmp_path, quarantine) == [] and quarantine.counts() == {"unreadable table": 1}
    with pytest.raises(TemDataError, match="Label Studio"):
        read_label_studio(tmp_path / "none", Quarantine())


def test_damaged_files_never_stop_it(tmp_path):
    short = result("brushlabels", format="rle", rle=[0, 0, 0, 5])
    check_damaged([task([*RESULTS[:2], short, *RESULTS[4:6]])], tmp_path / "a.json", read_label_studio)


def test_damaged_brushes_never_stop_it(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(100):
        code = brush(MASK)
        code[rng.integers(len(code))] = int(rng.integers(256))
        read_label_studio(write(tmp_path / "a.json", task([result("brushlabels", rle=code)])), Quarantine())


def test_one_task_is_a_file_too(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(task(RESULTS[:2])))
    (table,) = read_label_studio(tmp_path, Quarantine())
    assert is_label_studio(task()) and len(table.labels) == 2


def test_an_address_may_have_any_query(tmp_path):
    (table,) = read_label_studio(write(tmp_path / "a.json", task(address="https://h/a.png?d=2&X=1")), Quarantine())
    assert table.file_name == "a.png"


def test_regions_of_several_images_are_not_put_on_one(tmp_path):
    other = RESULTS[1] | {"to_name": "second", "id": "other"}
    quarantine = Quarantine()
    assert read_label_studio(write(tmp_path / "a.json", task([RESULTS[0], other])), quarantine) == []
    assert "on several images, 'image', 'second'" in quarantine.rows[0]["detail"]
    nameless = {key: value for key, value in RESULTS[1].items() if key != "to_name"}
    (table,) = read_label_studio(write(tmp_path / "a.json", task([RESULTS[0], nameless])), Quarantine())
    assert len(table.labels) == 2


def test_regions_of_images_of_several_sizes_are_set_aside(tmp_path):
    other = RESULTS[1] | {"original_width": 2 * WIDTH}
    quarantine = Quarantine()
    assert read_label_studio(write(tmp_path / "a.json", task([RESULTS[0], other])), quarantine) == []
    assert quarantine.rows[0]["reason"] == "size mismatch" and "(60, 80), (60, 160)" in quarantine.rows[0]["detail"]
