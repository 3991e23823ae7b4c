import json
from dataclasses import replace

import numpy as np
import pytest

from tem_data.coco.datasets import truth_at
from tem_data.coco.faults import Faults
from tem_data.coco.found import coco_found
from tem_data.coco.reading import read_truth
from tem_data.coco.results import Cut, holds_found, read_found
from tem_data.coco.writing import coco_results, coco_truth
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.schema import Classes, write_micrographs
from tem_data.importing.micrographs import read_labelled
from tem_data.scoring.coco import score_coco
from tem_data.scoring.evaluation import EvaluationSettings

CLASSES = Classes(("loop", "dot"))
NAMES = ["x/a.tif", "b.tif", "c.tif"]


def square(x, score=1.0, category="loop"):
    return Defect(category, x, 5, np.ones((8, 8), bool), score=score)


def image(name, *defects, shape=(40, 100)):
    return Micrograph(name, np.zeros(shape, np.uint8), defects, shape)


@pytest.fixture
def files(tmp_path):
    """Writes a truth of three images, the last one without defects, and predictions; gives their paths."""
    truth = [image("a", square(5), square(30, category="dot")), image("b", square(60)), image("c")]

    def write(found, true=None):
        paths = tmp_path / "truth.json", tmp_path / "found.json"
        for path, content in zip(paths, (true or coco_truth(truth, CLASSES, NAMES), found), strict=True):
            path.write_text(json.dumps(content))
        return paths

    return write


PREDICTED = [image("a", square(5, 0.9), square(30, 0.45, "dot")), image("b", square(60, 0.7)), image("c")]


def whole(micrographs=PREDICTED, names=NAMES, threshold=0.4, classes=CLASSES):
    return coco_found(micrographs, classes, names, threshold, "org/name@v1")


def test_a_whole_file_scores_as_the_list_of_its_results(files):
    # other ids of images and classes, and names without folder or with another suffix
    swapped = whole(PREDICTED[::-1], ["c.png", "b.tif", "a.tif"], classes=Classes(("dot", "loop")))
    scored = score_coco(*files(swapped)).to_dict()
    listed = coco_results([m.defects for m in PREDICTED], PREDICTED, CLASSES)
    plain = score_coco(*files(listed)).to_dict()
    assert scored["best"] | {"threshold": 0.45} == plain["best"] | {"threshold": 0.45}
    assert scored["best"]["f1_hm"] == 1 and scored["images"] == 3


def test_no_score_is_below_the_cut_and_none_of_them_is_best(files):
    result = score_coco(*files(whole()))
    assert [s.threshold for s in result.scores] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert result.best.threshold == 0.4 and result.cut == Cut(0.4, True)
    assert "cut at 0.4 (recorded in the file)" in result.notes[0] and "AP" in result.notes[1]
    assert result.to_dict()["scores"][0]["threshold"] == 0.4
    assert result.to_dict()["cut"] == {"threshold": 0.4, "recorded": True}


def test_the_cut_of_a_list_is_its_least_confidence(files):
    paths = files(coco_results([m.defects for m in PREDICTED], PREDICTED, CLASSES))
    result = score_coco(*paths)
    assert [s.threshold for s in result.scores][:2] == [0.45, 0.5] and result.cut == Cut(0.45, False)
    assert "the least confidence in the file" in result.notes[0]
    only = score_coco(*paths, EvaluationSettings(thresholds=[0.1, 0.2]))
    assert [s.threshold for s in only.scores] == [0.45] and only.best.counts.predictions.sum() == 3


def test_predictions_that_were_not_cut_have_every_threshold(files):
    found = [replace(PREDICTED[0], defects=(*PREDICTED[0].defects, square(80, 0.01))), *PREDICTED[1:]]
    result = score_coco(*files(whole(found, threshold=0.01)))
    assert result.scores[0].threshold == 0.1 and not [note for note in result.notes if "cut" in note or "AP" in note]


def test_images_of_one_side_are_left_out_and_said(files):
    paths = files(whole([*PREDICTED[:2], image("d", square(1, 0.9))], ["a.tif", "b.tif", "d.tif"]))
    result = score_coco(*paths)
    assert result.images == 2 and result.best.f1_hm == 1
    assert result.warnings == (
        "images of the predictions without a truth, left out, as 'd.tif': 1",
        "images of the truth that were not searched, left out, as 'c.tif': 1",
    )


@pytest.mark.parametrize(
    "found, said",
    [
        (whole(PREDICTED[:1], ["z.tif"]), "none of its images, as 'z.tif', is one of the truth, as 'x/a.tif'"),
        (
            whole([image("a", shape=(80, 200))], ["a.tif"]),
            "'a.tif' is of 200×80 px here, and of 100×40 px in the truth",
        ),
        (whole([image("a"), image("a")], ["a.tif", "a.png"]), "'a.png' is there twice"),
        (whole([image("a", square(1, category="111"))], ["a.tif"], classes=Classes(("111",))), r"categories \['111'\]"),
        (whole() | {"info": {"tem_data": {"threshold": "0.4"}}}, r"`info.tem_data.threshold`.*\[0, 1\], found '0.4'"),
        (coco_truth(PREDICTED, CLASSES, NAMES), "compare two sets of labels by `agree`"),
        ("text", "found a str"),
    ],
)
def test_whole_files_that_do_not_belong_to_the_truth_are_refused(files, found, said):
    with pytest.raises(TemDataError, match=f"found.json: .*{said}"):
        score_coco(*files(found))


def test_images_that_may_be_several_are_refused(files):
    truth = coco_truth([image("a"), image("b")], CLASSES, ["x/a.tif", "y/a.tif"])
    with pytest.raises(TemDataError, match="'a.png' may be any of 2 images"):
        score_coco(*files(whole(PREDICTED[:1], ["a.png"]), truth))


def test_whole_files_are_predictions_where_all_have_a_score_or_the_file_says_so():
    assert holds_found(whole()) and holds_found(whole([image("a")], ["a.tif"]))
    assert not holds_found(coco_truth(PREDICTED, CLASSES, NAMES)) and not holds_found([])
    corrected = whole()
    del corrected["annotations"][0]["score"]  # drawn by hand
    assert not holds_found(corrected)


def test_nothing_found_is_searched_all_the_same(files):
    result = score_coco(*files(whole([image("a"), image("b"), image("c")])))
    assert result.best.counts.truths.sum() == 3 and result.best.counts.predictions.sum() == 0


def test_a_truth_with_scores_is_said(files):
    (paths, truth) = files(whole()), whole()
    paths[0].write_text(json.dumps(truth))
    assert score_coco(*paths).warnings == ("annotations that have a score, as predictions have, taken as labels: 3",)


def test_a_dataset_folder_is_a_truth(files, tmp_path):
    ambiguous = replace(square(80), category="ambiguous", ignore=True)
    micrographs = [image("a", square(5), ambiguous), image("b", replace(square(60), ignore=True))]
    write_micrographs(tmp_path / "set", micrographs, Classes(("loop",), ("ambiguous",)), "")
    truth = truth_at(tmp_path / "set", Faults("set")).file
    assert [[(i.category, i.crowd) for i in held] for held in truth.instances.values()] == [
        [("loop", False), ("ambiguous", True)],
        [("loop", True)],
    ]
    found = whole([image("a", square(5, 0.9), square(80, 0.9)), image("b", square(60, 0.9))], ["a.tif", "b.tif"])
    best = score_coco(tmp_path / "set", files(found)[1]).best
    assert (best.f1_hm, best.counts.ignored) == (1, 2)


def test_patches_are_no_truth(tmp_path):
    write_micrographs(tmp_path / "set", [image("a"), image("a")], CLASSES, "")
    with pytest.raises(TemDataError, match="a is there more than once"):
        truth_at(tmp_path / "set", Faults("set"))


def test_whole_predictions_are_compared_from_a_threshold_on(files):
    paths = files(whole())
    for threshold, counts in ((0.5, [1, 1, 0]), (0.2, [2, 1, 0])):
        held = read_labelled(paths[1], truth=paths[0], threshold=threshold)
        assert [len(m.defects) for m in held.micrographs] == counts
    assert "0.4 (recorded in the file) only; these are the numbers at 0.4, not at 0.2" in held.cut.warning(0.2)
    assert read_labelled(paths[0], threshold=1.0).cut is None


def test_a_list_is_cut_about_its_least_confidence():
    assert Cut(0.5002, False).warning(0.5) == "" and Cut(0.4, True).warning(0.4) == ""
    assert "where they were cut there" in Cut(0.7, False).warning(0.5)


def test_results_of_a_truth_without_names_go_by_ids(files):
    truth = coco_truth(PREDICTED, CLASSES, NAMES)
    for entry in truth["images"]:
        del entry["file_name"]
    paths = files(coco_results([m.defects for m in PREDICTED], PREDICTED, CLASSES), truth)
    assert read_found(read_truth(Faults(paths[0])), Faults(paths[1])).cut.threshold == 0.45
    with pytest.raises(TemDataError, match="they go by `file_name`"):
        read_found(read_truth(Faults(paths[0])), Faults(files(whole(), truth)[1]))


# What gives a number that is wrong, and looks right


def many(score=1.0, names=("loop", "dot")):
    defects = [Defect(names[k % 2], 12 * k, 5, np.ones((8, 8), bool), score=score) for k in range(12)]
    return [Micrograph("a", None, tuple(defects), (40, 150))]


def test_classes_that_are_numbered_otherwise_are_said(files):
    truth = coco_truth(many(), CLASSES, ["a.tif"])
    (warning,) = score_coco(
        *files(coco_results([many(0.9, ("dot", "loop"))[0].defects], many(), CLASSES), truth)
    ).warnings
    assert warning.startswith("matched pairs, of which most took loop as dot, dot as loop; see that classes")
    assert score_coco(*files(coco_results([many(0.9)[0].defects], many(), CLASSES), truth)).warnings == ()


def test_shapes_that_are_there_twice_are_said(files):
    truth = coco_truth(many(), CLASSES, ["a.tif"])
    found = coco_results([many(0.9)[0].defects], many(), CLASSES)
    result = score_coco(*files([*found, *found[:3]], truth))
    assert result.warnings == ("predictions that repeat the shape and class of another, each counted: 3",)
    assert result.best.counts.predictions.sum() == 15
    boxes = score_coco(*files([*found, *found[:3]], truth), EvaluationSettings(match="box"))
    assert boxes.warnings == result.warnings


def test_images_without_labels_and_few_images_are_said(files):
    notes = score_coco(*files(whole())).notes
    assert "1 of 3 images have no label, as c.tif: they count as free of defects" in notes
    assert "intervals over 3 images only are too narrow" in notes
    one = score_coco(*files(coco_results([many(0.9)[0].defects], many(), CLASSES), coco_truth(many(), CLASSES, ["a"])))
    assert one.intervals == {} and not any("narrow" in note for note in one.notes)


def test_names_that_differ_by_capitals_are_one_image(files):
    result = score_coco(*files(whole(names=["A.TIF", "B.tif", "C.tif"])))
    assert result.images == 3 and result.best.f1_hm == 1
