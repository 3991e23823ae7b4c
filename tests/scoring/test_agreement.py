import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from tem_data.cli.app import app
from tem_data.coco.writing import coco_results, coco_truth
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.schema import Classes, write_dataset
from tem_data.importing.micrographs import read_labelled
from tem_data.scoring.agreement import agree

CLASSES = Classes(("111", "bdot"), ("ambiguous",))


def box(x, category="111", ignore=False):
    return Defect(category, x, 5, np.ones((8, 8), bool), ignore)


def micrograph(name, *defects):
    return Micrograph(name, np.zeros((40, 90), np.uint8), defects, (40, 90), scene=name)


@pytest.fixture
def people():
    """Of five defects that each labels, the two people share four, and call three of these the same."""
    first = [micrograph("a", box(0), box(20), box(40, "bdot")), micrograph("b", box(0), box(60, "bdot"))]
    second = [micrograph("a", box(0), box(21), box(40)), micrograph("b", box(0), box(30, "bdot"))]
    return first, second


def test_agreement_is_a_score_that_takes_either_for_the_truth(people):
    found = agree(*people)
    assert found.scores.f1_detect == found.reversed.f1_detect == pytest.approx(0.8)
    assert found.scores.counts.confusion.tolist() == [[3, 0], [1, 0]]
    assert found.reversed.counts.confusion.tolist() == [[3, 1], [0, 0]]
    low, high = found.intervals["f1_detect"]
    assert low == pytest.approx(0.5) and high == pytest.approx(1)  # of micrograph b alone, of a alone


def test_images_of_one_person_alone_are_left_out_and_named(people):
    first, second = people
    found = agree([*first, micrograph("c", box(0))], [*second, micrograph("d")])
    assert (found.images, found.only_in_a, found.only_in_b) == (("a", "b"), ("c",), ("d",))
    assert found.scores.f1_detect == pytest.approx(0.8)


def test_labels_that_cannot_be_compared_are_refused(people):
    first, second = people
    with pytest.raises(TemDataError, match="no image is in both.*a, b.*rename"):
        agree(first, [replace(m, micrograph_id=f"{m.micrograph_id}.v2") for m in second])
    with pytest.raises(TemDataError, match="a: its size is 90×40 and 45×20 px"):
        agree(first, [replace(m, shape=(20, 45), defects=()) for m in second])
    with pytest.raises(TemDataError, match="more than once"):
        agree([*first, first[0]], second)


def test_coco_files_and_dataset_folders_are_read_alike(people, tmp_path):
    write_dataset(tmp_path / "folder", {"train": people[0]}, CLASSES)
    (tmp_path / "a.json").write_text(json.dumps(coco_truth(people[0], CLASSES, ["x/a.png", "b.tif"])))
    both = [read_labelled(tmp_path / name)[0] for name in ("folder", "a.json")]
    assert agree(*both).scores.f1_hm == 1 and [m.micrograph_id for m in both[1]] == ["a", "b"]


def test_a_model_s_results_are_compared_from_a_confidence_on(people, tmp_path):
    truth = coco_truth(people[0], CLASSES, ["a.png", "b.png"])
    found = [replace(d, score=0.4 if d.category == "bdot" else 0.9) for d in people[0][0].defects]
    results = coco_results([found, []], people[0], CLASSES)
    for name, content in (("a", truth), ("found", results)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    command = ["agree", str(tmp_path / "a.json"), str(tmp_path / "found.json"), "--json"]
    for threshold, matched in (("0.5", 2), ("0.3", 3)):
        shown = CliRunner().invoke(app, [*command, "--threshold", threshold])
        assert shown.exit_code == 0, shown.exception
        assert json.loads(shown.stdout)["a_as_truth"]["matched"] == matched
    assert json.loads(shown.stdout)["images"] == ["a", "b"]


def test_a_category_that_the_file_does_not_name_is_no_class(people, tmp_path):
    content = coco_truth(people[0], CLASSES, ["a.png", "b.png"])
    content["annotations"][0]["category_id"] = 9
    (tmp_path / "a.json").write_text(json.dumps(content))
    micrographs, found_wrong, *_ = read_labelled(tmp_path / "a.json")
    assert found_wrong.counts() == {"no class": 1} and len(micrographs[0].defects) == 2


def test_the_command_maps_classes_and_prints_both_directions(people, tmp_path):
    a, b = coco_truth(people[0], CLASSES, ["a.png", "b.png"]), coco_truth(people[1], CLASSES, ["a.png", "b.png"])
    b["categories"][1]["name"] = "bd"
    for name, content in (("a", a), ("b", b)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    arguments = ["agree", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--classes", "111,bdot=bdot+bd"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0 and "0.800" in shown.stdout and "not in the other" in shown.stdout
    asked = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(asked.stdout)["a_as_truth"]["f1_detect"] == pytest.approx(0.8)


def test_classes_that_differ_by_capitals_only_are_named(people):
    other = [replace(m, defects=tuple(replace(d, category=d.category.upper()) for d in m.defects)) for m in people[1]]
    with pytest.raises(TemDataError, match="names a class 'bdot', the other 'BDOT'; .*--classes bdot=bdot.BDOT"):
        agree(people[0], other)
    both = [replace(m, defects=(*m.defects, box(75, "Bdot"))) for m in people[0]]
    assert agree(both, both).scores.f1_hm == 1


def test_images_that_only_one_set_labels_are_named(people):
    emptied = [replace(people[1][0], defects=()), *people[1][1:]]
    assert agree(people[0], emptied).one_sided == ("a",)
    assert agree(people[0], people[1]).to_dict()["one_sided"] == []
