"""`tem-data init`: the first files of a project, from what a folder holds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from dvc.utils.hydra import compose_and_dump
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table
from tem_data.core.settings import SettingsFile
from tem_data.importing.settings import ImportSettings
from tem_data.importing.starting import begin
from tem_data.sections import all_sections

ROOT = Path(__file__).resolve().parents[2]
ELLIPSES = "file_name,class,x_px,y_px,major_px,minor_px,angle_deg\n"
COCO = {
    "images": [{"id": 1, "file_name": "0.png", "height": 48, "width": 64}],
    "annotations": [],
    "categories": [{"id": 1, "name": "void"}, {"id": 2, "name": "unsure"}],
}


@pytest.fixture
def clone(tmp_path) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "clone/conf")
    return tmp_path / "clone"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten images of 64 × 48 px, the first with Fiji's scale in its metadata."""
    folder = tmp_path / "mine"
    folder.mkdir()
    picture = Image.fromarray(np.full((48, 64), 90, np.uint8))
    for number in range(1, 10):
        picture.save(folder / f"{number}.png")
    picture.save(folder / "0.tif", tiffinfo={270: "ImageJ=1.53t\nunit=nm\n", 282: 2.0, 283: 2.0})
    return folder


def composed(clone: Path, name: str) -> SettingsFile:
    compose_and_dump(clone / "params.yaml", str(clone / "conf"), None, "config", "", [f"profile={name}"])
    return SettingsFile.open(clone / "params.yaml")


def fiji(folder: Path) -> None:
    (folder / "1_results.csv").write_text(" ,X,Y,Major,Minor,Angle\n1,5,5,4,3,0\n2,9,9,4,3,0\n")
    (folder / "1_log.txt").write_text("0\n1\n\n2\n2,2\n")


def masks(folder: Path) -> None:
    (folder / "masks").mkdir()
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(folder / "masks/1.png")


@pytest.mark.parametrize(
    "write, source, classes, ignored",
    [
        (lambda f: (f / "e.csv").write_text(ELLIPSES + "1.png,loop,5,5,4,3,0\n1.png,dot,9,9,4,3,0\n"),
         "ellipses", ["loop", "dot"], []),
        (lambda f: (f / "labels.json").write_text(json.dumps(COCO)), "coco", ["void"], ["unsure"]),
        (fiji, "fiji", ["class0", "class2"], []),
        (masks, "masks", ["defect"], []),
    ],
)  # fmt: skip
def test_a_profile_is_made_of_what_a_folder_holds(clone, folder, write, source, classes, ignored):
    write(folder)
    made = begin(folder, "steel", clone)
    assert [path.name for path in made] == ["calibration.csv", "steel.yaml", "steel.yaml"]
    settings = composed(clone, "steel")
    imported = settings.read(ImportSettings)
    assert (imported.source, list(imported.classes), list(imported.ignored)) == (source, classes, ignored)
    for kind in all_sections().values():
        settings.read(kind)
    assert settings.content["split"]["test"] == 3 and settings.content["study"]["cells"] == ["1-7"]
    sizes = {row["file_name"]: row["nm_per_px"] for row in read_table(folder / "calibration.csv")}
    assert sizes["0.tif"] == "0.5" and sizes["1.png"] == "" and len(sizes) == 10


def test_labels_may_lie_among_the_images(clone, folder):
    circle = {"label": "loop", "shape_type": "circle", "points": [[5, 5], [8, 5]]}
    content = {"shapes": [circle], "imagePath": "1.png", "imageHeight": 48, "imageWidth": 64}
    (folder / "images").mkdir()
    for path in folder.glob("*.*"):
        path.rename(folder / "images" / path.name)
    (folder / "images/1.json").write_text(json.dumps(content))
    begin(folder, "steel", clone)
    settings = composed(clone, "steel").read(ImportSettings)
    assert (settings.source, settings.annotations) == ("labelme", str(folder / "images"))
    assert list(settings.classes) == ["loop"]


def test_labels_that_lie_deeper_are_named(clone, folder):
    (folder / "export/annotations").mkdir(parents=True)
    (folder / "export/annotations/instances_default.json").write_text(json.dumps(COCO))
    with pytest.raises(TemDataError, match=r"no labels beside .*export: .*subfolders annotations \(coco\); give"):
        begin(folder, "steel", clone)


def test_nothing_that_is_there_is_replaced(clone, folder):
    masks(folder)
    begin(folder, "steel", clone)
    (clone / "conf/profile/steel.yaml").write_text("profile: mine")
    assert begin(folder, "steel", clone) == {}
    assert (clone / "conf/profile/steel.yaml").read_text() == "profile: mine"


def test_what_is_missing_is_named(clone, folder, tmp_path):
    with pytest.raises(TemDataError, match="no labels beside the images"):
        begin(folder, "steel", clone)
    with pytest.raises(TemDataError, match="no config.yaml; run it in a clone"):
        begin(folder, "steel", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TemDataError, match="empty: no PNG, JPEG or TIFF images"):
        begin(tmp_path / "empty", "steel", clone)


def test_the_defaults_of_conf_are_those_of_the_code():
    from tem_data.sections import defaults_yaml

    assert (ROOT / "conf/defaults.yaml").read_text() == defaults_yaml(), "run `tem-data settings > conf/defaults.yaml`"
    given = yaml.safe_load(defaults_yaml())
    assert list(given) == list(all_sections())
