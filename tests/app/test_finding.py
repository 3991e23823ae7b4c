from dataclasses import replace
from threading import Event, Lock, Timer

import numpy as np
import pytest

from tem_data.app.finding import FLOOR, Kept, Search, scale_of
from tem_data.app.session import Session, Stopped, held
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, read_table
from tests.app.conftest import LEFT, RIGHT, draw
from tests.helpers.toy_detector import perfect


class Counting:
    """Counts the tiles that a detector searches."""

    def __init__(self, detector):
        self.detector, self.tiles = detector, 0

    def find(self, crops, threshold, wanted):
        self.tiles += len(crops)
        return self.detector.find(crops, threshold, wanted)


def kept(detector=None, stop=None):
    own = detector or perfect(32)
    made = Kept.of(own, Lock(), stop or Event())
    return replace(made, own=Counting(own))


def picture(side=100, count=12):
    rng = np.random.default_rng(0)
    image = np.full((side, side), 20, np.uint8)
    for y, x in rng.integers(0, side - 8, (count, 2)):
        image[y : y + 7, x : x + 7] = 200
    return image


@pytest.fixture
def search(tmp_path):
    def of(*paths, **rest):
        return Search(tmp_path, "a model", kept(perfect(64)), list(paths), **rest)

    return of


@pytest.mark.parametrize("threshold", [FLOOR, 0.65, 0.75, 0.95])
def test_any_threshold_gives_what_a_search_at_it_finds(threshold):
    detector, own = perfect(32), kept()
    own.predict(picture(), None, 0.9)
    found, expected = own.predict(picture(), None, threshold), detector.predict(picture(), None, threshold)
    assert [d.bbox for d in found.defects] == [d.bbox for d in expected.defects]
    assert found.faint == pytest.approx(expected.faint)
    assert found.threshold == threshold


def test_a_micrograph_is_searched_once_at_each_scale():
    own = kept()
    for threshold in (0.9, 0.2, 0.5):
        own.predict(picture(), None, threshold)
    tiles = own.own.tiles
    assert tiles == own.plan((100, 100)).tiles
    own.predict(picture(), 0.5)
    assert own.own.tiles == 2 * tiles


def test_classes_can_be_left_out():
    assert not kept().choosing(()).predict(picture()).defects
    assert kept().choosing(("square",)).predict(picture()).defects


def test_a_stopped_search_ends_but_what_is_kept_can_be_seen():
    stop = Event()
    own = kept(stop=stop)
    before = own.predict(picture())
    stop.set()
    assert len(own.predict(picture()).defects) == len(before.defects)
    with pytest.raises(Stopped):
        own.predict(picture(side=120))


def test_who_waits_for_others_can_stop():
    lock, stop = Lock(), Event()
    with lock:
        Timer(0.3, stop.set).start()
        with pytest.raises(Stopped), held(lock, stop):
            pass
    assert not lock.locked()


def test_files_that_cannot_be_read_are_set_aside(search, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nonsense")
    one = search(draw(tmp_path / "one.png", LEFT, RIGHT), bad)
    heard = []
    assert list(one.run(lambda share, text: heard.append((share, text)))) == ["one.png"]
    assert heard[-1] == (1, "micrograph 1 of 1")
    assert [row["file"] for row in one.quarantine.rows] == ["bad.png"]
    assert one.numbers(0.5, ["square"])["square"]["count"] == 2
    assert one.numbers(0.8, ["square"], "one.png")["all"]["count"] == 1


def test_the_files_are_those_of_predict(search, tmp_path):
    one = search(draw(tmp_path / "one.png", LEFT, RIGHT), scales={"one.png": 2.0}, thickness_nm=100.0)
    list(one.run(lambda share, text: None))
    for threshold, count in ((0.5, 2), (0.8, 1)):
        assert one.write(threshold, ["square"]).name == "found.zip"
        assert len(read_table(tmp_path / "found/defects.csv")) == count
    (row, _) = read_table(tmp_path / "found/micrographs.csv")
    assert float(row["nm_per_px"]) == 2 and float(row["thickness_nm"]) == 100
    assert read_json(tmp_path / "found/summary.json")["model"] == "a model"


def test_a_scale_of_two_clicks():
    assert scale_of([[0, 0], [30, 40]], 100) == 2
    for clicks, length in (([[0, 0]], 100), ([[0, 0], [30, 40]], 0), ([[5, 5], [5, 6]], 100), ([[0, 0], [9, 9]], 1e12)):
        with pytest.raises(TemDataError):
            scale_of(clicks, length)


def test_a_closed_session_leaves_nothing(tmp_path):
    session = Session.new(tmp_path)
    (session.new_folder() / "file").touch()
    session.close()
    assert session.finding.is_set() and not list(tmp_path.iterdir())
