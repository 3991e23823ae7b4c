"""A run that was killed goes on; what another one wrote is never laid over."""

import filecmp

import pytest

from tem_data.analysis import records
from tem_data.core.errors import TemDataError
from tests.analysis.conftest import Bright
from tests.analysis.test_analysis import files

KINDS = ("rois", "labelme", "coco", "geojson", "overlays")


class Killed(Bright):
    """Is killed at a micrograph."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def predict(self, *args, **options):
        if len(self.seen) == self.at:
            raise KeyboardInterrupt
        return super().predict(*args, **options)


@pytest.fixture
def killed(run, images):
    with pytest.raises(KeyboardInterrupt):
        run(images, by=Killed(1), save=KINDS)


def test_a_killed_run_goes_on_and_gives_the_same(run, images, detector, killed, tmp_path, capsys):
    assert files(tmp_path / "out" / "rois") == ["a 1.zip"]  # what is done can be looked at
    run(images, save=KINDS)
    assert len(detector.seen) == 2 and "1 of them were done before" in capsys.readouterr().out
    run(images, out="whole", save=KINDS)
    same = [f"{kind}/{path.name}" for kind in KINDS if kind != "coco" for path in (tmp_path / "out" / kind).iterdir()]
    same += ["defects.csv", "found.json", "quarantine.csv"]
    assert len(same) == 15
    assert filecmp.cmpfiles(tmp_path / "out", tmp_path / "whole", same, shallow=False) == (same, [], [])


def test_another_run_is_refused_and_the_first_one_can_still_go_on(run, images, detector, killed):
    for other in ({"threshold": 0.6}, {"save": ("coco",)}):
        with pytest.raises(TemDataError, match="holds an unfinished run with another model, other micrographs or sett"):
            run(images, **({"save": KINDS} | other))
    with pytest.raises(TemDataError, match="unfinished run"):
        run(images / "b.tif", save=KINDS)
    assert run(images, save=KINDS)["micrographs"] == 3 and len(detector.seen) == 2


def test_a_micrograph_that_changed_is_searched_again(run, images, detector, killed):
    (images / "a 1.png").write_bytes((images / "empty.png").read_bytes())
    assert run(images, save=KINDS)["classes"]["all"]["count"] == 1
    assert len(detector.seen) == 3


def test_a_run_that_was_killed_between_micrograph_and_record(run, images, detector, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(records.Records, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        run(images)
    monkeypatch.undo()
    assert run(images)["micrographs"] == 3


def test_results_are_not_laid_over_what_is_there(run, images, tmp_path):
    run(images)
    with pytest.raises(TemDataError, match="--out .*out: the folder is there already"):
        run(images)
    assert files(tmp_path) == ["images", "out"]
