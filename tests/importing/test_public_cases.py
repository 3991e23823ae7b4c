"""The inputs of ../shared/cases, made after public reports; other tests make inputs of their kinds themselves."""

import shlex
import shutil
from collections import Counter

import numpy as np
import pytest

from tem_data.cli import main
from tem_data.core.files import read_table
from tem_data.core.schema import read_dataset

GREY, GROUND = 90, 170  # of the discs that labels belong on
LOOPS, WITH_VOIDS = {"loop": 6}, {"loop": 6, "void": 3}
RIGHT = {
    "c1-cvat-iscrowd-masks": [LOOPS],
    "c2-windows-backslash": [LOOPS],
    "c3-string-image-id": [LOOPS, LOOPS],
    "c5-exif-rotated-jpeg": [LOOPS],
    "c6-stray-two-point-part": [LOOPS],
    "c9-utf8-bom": [LOOPS],
    "c10-labelme-folder": [LOOPS],
    "c13-labelled-on-png-copies": [LOOPS],
    "f1-calibrated-results": [LOOPS, {"loop": 20}],
    "f2-tab-separated-xls": [LOOPS],
    "f3-semicolons-decimal-commas": [LOOPS],
    "f5-roi-zip": [LOOPS],
    "i1-16bit-miniswhite": [LOOPS, LOOPS, LOOPS],
    "i5-digitalmicrograph-tiff": [LOOPS],
    "i6-ome-tiff": [LOOPS],
    "i7-imagej-angstrom": [LOOPS, LOOPS, LOOPS],
    "i11-planar-rgb16": [{"loop": 4}],
    "m1-fiji-inverting-lut": [LOOPS],
    "m2-jpeg-mask": [LOOPS],
    "m4-alpha-mask": [LOOPS],
    "m5-bilevel-miniswhite": [LOOPS],
    "m6-colour-coded-mask": [WITH_VOIDS],
    "m8-voc-palette": [WITH_VOIDS],
}
CALIBRATED = ("i5-digitalmicrograph-tiff", "i6-ome-tiff", "i7-imagej-angstrom")
REFUSED = {
    "c8-bbox-only": {"only a box": 6, "no labels": 1},
    "c14-row-major-rle": {"box elsewhere": 6, "no labels": 1},
    "i2-stack": {"several planes": 1},
}


@pytest.fixture
def run(shared, tmp_path, monkeypatch, capsys):
    """Runs a case's command in a copy of its folder; gives the exit status and what the terminal shows."""

    def command(name):
        folder = tmp_path / name
        shutil.copytree(shared / "cases" / name, folder)
        monkeypatch.chdir(folder)
        program, *given = shlex.split((folder / "command.txt").read_text())
        monkeypatch.setattr("sys.argv", [program, *given])
        status = 0
        try:
            main()
        except SystemExit as end:
            if isinstance(end.code, str):
                return 1, "".join(capsys.readouterr()) + end.code
            status = end.code or 0
        return status, "".join(capsys.readouterr())

    return command


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_read_right(run, name):
    status, shown = run(name)
    assert status == 0, shown
    micrographs = list(read_dataset("out"))
    assert [Counter(d.category for d in m.defects if not d.ignore) for m in micrographs] == RIGHT[name]
    for micrograph in micrographs:
        low, high = np.percentile(micrograph.pixels, (1, 90))
        for defect in micrograph.defects:
            x, y, width, height = defect.bbox
            grey = np.median(micrograph.pixels[y : y + height, x : x + width][defect.mask])
            assert grey < low + 0.3 * (high - low)
        if name in CALIBRATED:
            assert micrograph.nm_per_px == pytest.approx(0.5)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_reason(run, name):
    status, shown = run(name)
    assert status == 1 and "error: no micrograph is left" in shown
    assert Counter(row["reason"] for row in read_table("quarantine.csv")) == REFUSED[name]


def test_a_dm4_file_that_is_none_is_named(run):
    status, _ = run("i9-dm4-named")
    assert status == 0 and [m.micrograph_id for m in read_dataset("out")] == ["b"]
    assert [row["file"] for row in read_table("quarantine.csv") if row["reason"] == "unreadable image"] == ["a.dm4"]


def test_scores_of_crowds(run):
    status, shown = run("s1-cvat-truth-iscrowd")
    assert status == 0 and "all 12 labels have iscrowd 1" in " ".join(shown.split()) and "1.000" in shown
    status, shown = run("s9-agree-cvat-masks")
    assert status == 0 and "1.000 [1.000, 1.000]" in shown


def test_counts_of_bytes_are_named(run):
    status, shown = run("s3-counts-as-bytes-text")
    assert status == 1 and "found.json: item 0: segmentation: `counts` is the text of Python's bytes" in shown


def test_sizes_as_floats_are_measured(run):
    status, shown = run("s5-float-sizes")
    assert status == 0 and "12" in shown
