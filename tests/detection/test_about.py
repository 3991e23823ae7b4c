"""What a detector knows about itself, and files in its place that a stranger may have written."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.detection.about import About, Scale, about_patches, read_about
from tem_data.detection.scores import ClassScores, DetectorScores, RoleScores, read_scores
from tests.helpers.finished_project import ON_VALIDATION, SCORES
from tests.helpers.toy_detector import about

KNOWN = replace(about(("100", "bdot"), 256), nm_per_px=Scale(0.5, 0.3, 0.9))


def patch(name, level, nm_per_px):
    return Micrograph(name, np.full((32, 32), level, np.uint8), (), (32, 32), nm_per_px)


def test_what_is_known_is_that_of_the_patches():
    patches = [patch("a", 100, 0.2), patch("a", 120, 0.2), patch("b", 140, 0.4), patch("c", 120, None)]
    known = about_patches(patches, ["x", "y"], "r18")
    assert known == About(("x", "y"), "r18", 32, Scale(0.2, 0.2, 0.4), 3, 120.0, pytest.approx(200**0.5))
    assert about_patches(patches[3:], ["x"], "r18").nm_per_px is None


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content))


def test_it_comes_back(tmp_path):
    for known in (KNOWN, about(("100",))):
        write(tmp_path, "config.json", asdict(known))
        assert read_about(tmp_path) == known
    write(tmp_path, "config.json", asdict(KNOWN) | {"of_a_later_version": 3})
    assert read_about(tmp_path) == KNOWN


@pytest.mark.parametrize(
    "key, value",
    [
        ("classes", []),
        ("classes", "100"),
        ("classes", [100]),
        ("classes", ["100", "100"]),
        ("classes", ["a\nb"]),
        ("classes", ["a" * 101]),
        ("classes", [str(i) for i in range(2000)]),
        ("tile", 0),
        ("tile", -256),
        ("tile", 10**9),
        ("tile", "256"),
        ("tile", 256.5),
        ("tile", True),
        ("tile", None),
        ("nm_per_px", 0.5),
        ("nm_per_px", {"median": 0.5, "low": 0.3}),
        ("nm_per_px", {"median": 0.5, "low": 0.0, "high": 0.9}),
        ("nm_per_px", {"median": 0.5, "low": -1.0, "high": 0.9}),
        ("nm_per_px", {"median": 0.5, "low": 0.6, "high": 0.9}),
        ("nm_per_px", {"median": float("nan"), "low": 0.3, "high": 0.9}),
        ("nm_per_px", {"median": 0.5, "low": 0.3, "high": float("inf")}),
        ("micrographs", -1),
        ("grey_mean", 256),
        ("grey_std", "1"),
        ("network", ["r18"]),
    ],
)
def test_a_strangers_file_is_refused_in_one_line(tmp_path, key, value):
    write(tmp_path, "config.json", asdict(KNOWN) | {key: value})
    with pytest.raises(TemDataError, match=f"config.json: .*{key}") as caught:
        read_about(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"{}", b" " * 2_000_000])
@pytest.mark.parametrize("name, read", [("config.json", read_about), ("scores.json", read_scores)])
def test_what_is_no_such_file_is_refused(tmp_path, name, read, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TemDataError, match=f"{name}: expected the file that was written with a trained detector"):
        read(tmp_path)


@pytest.mark.parametrize("missing", asdict(KNOWN))
def test_a_key_that_is_missing_is_named(tmp_path, missing):
    write(tmp_path, "config.json", {key: value for key, value in asdict(KNOWN).items() if key != missing})
    with pytest.raises(TemDataError, match=f"{missing}: Field required"):
        read_about(tmp_path)


def test_scores_come_back_and_may_be_absent(tmp_path):
    assert read_scores(tmp_path) is None
    role = RoleScores(2, 0.7, 0.6, 0.65, {"100": ClassScores(0.5, None, 0, 4)})
    scores = DetectorScores(0.4, role, role, {"size": {"bdot": "dot"}}, 1, "all", {"curve": [1.0, 2.0]})
    write(tmp_path, "scores.json", asdict(scores))
    assert read_scores(tmp_path) == scores
    write(tmp_path, "scores.json", SCORES)
    assert read_scores(tmp_path).test is None


@pytest.mark.parametrize(
    "key, value",
    [
        ("threshold", 1.1),
        ("threshold", None),
        ("threshold", "0.4"),
        ("validation", None),
        ("validation", ON_VALIDATION | {"f1_hm": -0.1}),
        ("validation", ON_VALIDATION | {"by_class": {"a": {"precision": 2}}}),
        ("test", {}),
        ("materials", [1]),
        ("split", -1),
        ("size", 1.5),
    ],
)
def test_scores_of_a_stranger_are_refused_in_one_line(tmp_path, key, value):
    write(tmp_path, "scores.json", SCORES | {key: value})
    with pytest.raises(TemDataError, match=f"scores.json: .*{key}") as caught:
        read_scores(tmp_path)
    assert "\n" not in str(caught.value)
