"""Which micrographs paths name, and what they are called."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from tem_data.analysis.inputs import find_shots
from tem_data.analysis.settings import AnalysisSettings
from tem_data.core.errors import TemDataError
from tem_data.importing.quarantine import Quarantine


@pytest.fixture
def saved(tmp_path):
    def save(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (40, 30)).save(path)
        return tmp_path

    return save


def shots(*paths, **settings):
    quarantine = Quarantine()
    return find_shots(paths, AnalysisSettings(**settings), quarantine), quarantine.rows


def names(found):
    return [(shot.file_name, shot.name) for shot in found]


def test_files_and_folders_each_image_once(saved):
    folder = saved("b.png", "a.jpg", ".hidden.png", "c.bmp")
    found, rows = shots(folder / "c.bmp", folder, folder / ".." / folder.name / "a.jpg")
    assert names(found) == [("c.bmp", "c"), ("a.jpg", "a"), ("b.png", "b")] and rows == []
    assert {shot.shape for shot in found} == {(30, 40)}


def test_folders_within_are_searched_where_it_is_asked_for(saved):
    folder = saved("a.png", "inner/b.png", "inner/deep/c.png", "found/overlays/a.png")
    for name in ("micrographs.csv", "defects.csv", "summary.json"):  # of an earlier run
        (folder / "found" / name).touch()
    found, rows = shots(folder)
    assert names(found) == [("a.png", "a")]
    assert [(row["file"], row["detail"]) for row in rows] == [
        (str(folder / "inner"), "1 images; --recursive searches them, too")
    ]
    found, rows = shots(folder, recursive=True)
    assert [shot.name for shot in found] == ["a", "b", "c"] and rows == []


def test_files_of_one_name_are_told_apart(saved):
    folder = saved("a/x.png", "b/x.png", "b/y.png", "b/Y.tif", "a_x.png")
    found, _ = shots(folder, recursive=True)
    assert dict(names(found)) == {
        "a_x.png": "a_x", "a/x.png": "a_x.png_2", "b/x.png": "b_x", "b/Y.tif": "Y.tif", "b/y.png": "y.png"
    }  # fmt: skip
    assert len({shot.name.lower() for shot in found}) == 5


def test_suffixes_tell_files_of_one_stem_apart(saved):
    found, _ = shots(saved("x.png", "x.tif", "z.png"))
    assert names(found) == [("x.png", "x.png"), ("x.tif", "x.tif"), ("z.png", "z")]


def test_frames_have_names_that_no_other_file_has(saved):
    folder = saved("s_f01.tif")
    tifffile.imwrite(folder / "s.tif", np.zeros((12, 30, 40), np.uint8), photometric="minisblack")
    found, _ = shots(folder)
    assert len(found) == 13 and len({shot.name for shot in found}) == 13
    assert (found[-1].file_name, found[-2].frame) == ("s_f01.tif", 12) or found[0].frame == 1


@pytest.mark.parametrize("given, said", [("nowhere", "nowhere: no such file"), ("", "expected images .* found none")])
def test_paths_that_name_nothing(tmp_path, given, said):
    with pytest.raises(TemDataError, match=said):
        shots(tmp_path / given if given else tmp_path)
