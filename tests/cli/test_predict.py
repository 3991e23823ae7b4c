"""`tem-data predict`: from its words to the folder, and from there to `score` and `measure`."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from tem_data.core.files import read_json, read_table
from tem_data.detection.scores import DetectorScores, RoleScores
from tests.cli.test_cli import run  # noqa: F401  (a fixture)
from tests.helpers.toy_detector import PERFECT


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        picture = Image.new("L", (64, 48))
        picture.paste(200, (31, 31, 41, 41))
        picture.save(folder / name)


@pytest.fixture
def detector(monkeypatch):
    """Makes `Detector.from_pretrained` give a detector, by default one without fault."""

    def give(loaded):
        monkeypatch.setattr("tem_data.detection.Detector.from_pretrained", lambda folder, device=None: loaded)

    give(PERFECT)
    return give


def scored(**changes):
    validation = RoleScores(2, 0.7, 0.7, 0.7, {})
    return replace(PERFECT, scores=DetectorScores(**({"threshold": 0.4, "validation": validation} | changes)))


def test_what_is_found_can_be_scored_and_measured(run, images, detector):  # noqa: F811
    said = run("predict", "detector", "images", "-o", "found", "--nm-per-px", 0.5)
    assert "2 micrographs in about 2 tiles" in said and "2 defects on 2 micrographs: square 2" in said
    truth = {
        "images": [{"id": 7, "file_name": "b.png", "height": 48, "width": 64}],
        "categories": [{"id": 3, "name": "square"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[31, 31, 41, 31, 41, 41, 31, 41]]}],
    }
    with open("truth.json", "w") as file:
        json.dump(truth, file)
    assert json.loads(run("score", "truth.json", "found/found.json", "--json"))["best"]["f1_detect"] == 1


def test_several_paths_and_options(run, images, detector):  # noqa: F811
    words = ("--save", "labelme,geojson", "--threshold", 0.95, "--data-bar", 0)
    said = run("predict", "detector", "images/a.png", "images/b.png", "-o", "found", *words)
    assert "threshold 0.95: as given" in said
    assert read_json("found/summary.json")["classes"]["square"]["count"] == 0


def test_the_detector_brings_threshold_and_size_rules(run, images, detector):  # noqa: F811
    detector(scored(materials={"size": {"square": "dot"}, "barrier_strength": {"square": 0.2}}))
    said = run("predict", "detector", "images", "-o", "found")
    assert "threshold 0.4: chosen on the detector's validation micrographs" in said
    assert read_json("found/summary.json")["materials"]["barrier_strength"] == {"square": 0.2}
    (dot,) = {row["size_px"] for row in read_table("found/defects.csv")}
    run("predict", "detector", "images", "-o", "other", "-S", "materials.size={square: loop}")
    (loop,) = {row["size_px"] for row in read_table("other/defects.csv")}
    assert float(loop) > float(dot)
    assert read_json("other/summary.json")["materials"]["barrier_strength"] == {"square": 0.2}


@pytest.mark.parametrize(
    "words, said",
    [
        (("gone", "-o", "x"), "gone: no such file or folder"),
        (("images", "-o", "x", "--save", "pdf"), "--save pdf: expected some of"),
        (("images", "-o", "x", "--data-bar", "two"), "--data-bar two: expected a number of rows, or auto"),
        (("images", "-o", "images"), "--out images: the folder is there already"),
        (("images", "-o", "x", "--calibration", "none.csv"), "none.csv: expected a CSV file"),
    ],
)
def test_what_cannot_be_is_one_line(run, images, detector, words, said):  # noqa: F811
    assert said in run("predict", "detector", *words)


def test_help_and_faults_need_no_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['tem-data', 'predict', 'detector', 'gone', '-o', 'x']\n"
        "from tem_data.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert 'gone: no such' in str(stop)\n"
        "assert not {'torch', 'detectron2', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
