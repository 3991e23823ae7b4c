"""The one reader, strict and lenient, and that `score` and `agree` see the same truths of odd files."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_ops

from tem_data.coco.faults import Fault, Faults, crowd, identity
from tem_data.coco.reading import read_truth
from tem_data.coco.results import read_found
from tem_data.core.errors import TemDataError
from tem_data.importing.micrographs import import_micrographs, read_labelled
from tem_data.importing.settings import ImportSettings
from tem_data.materials.coco import measure_coco
from tem_data.scoring.agreement import agree
from tem_data.scoring.coco import score_coco
from tem_data.scoring.evaluation import EvaluationSettings

H, W = 48, 64
SURROGATE = "\ud800"


def square(x, y, side=10):
    return [[float(v) for v in (x, y, x + side, y, x + side, y + side, x, y + side)]]


def code(polygons):
    packed = rle_ops.merge(rle_ops.frPyObjects(polygons, H, W))
    return {"size": [H, W], "counts": packed["counts"].decode()}


def annotation(number, image=1, category=7, at=(2, 2), **rest):
    entry = {"id": number, "image_id": image, "category_id": category, "segmentation": square(*at), "iscrowd": 0}
    return entry | rest


def truth_file(**first):
    """Three discs and a dot on two images; `first` changes the first disc."""
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": H, "width": W} for i in (1, 2)],
        "categories": [{"id": 7, "name": "disc"}, {"id": 9, "name": "dot"}],
        "annotations": [
            annotation(1) | first,
            annotation(2, at=(30, 30)),
            annotation(3, 2),
            annotation(4, 2, 9, (30, 30)),
        ],
    }


RESULTS = [
    {"image_id": image, "category_id": category, "segmentation": square(*at), "score": 0.9}
    for image, category, at in ((1, 7, (2, 2)), (1, 7, (30, 30)), (2, 9, (2, 2)), (2, 9, (30, 30)))
]


@pytest.fixture
def files(tmp_path):
    """Writes a ground truth and, beside it, results; gives their paths."""

    def write(truth, results=RESULTS):
        paths = tmp_path / "truth.json", tmp_path / "found.json"
        for path, content in zip(paths, (truth, results), strict=True):
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return paths

    return write


@pytest.fixture
def imported(tmp_path, files):
    """Imports a ground truth with blank images: how many labels each has, and the quarantine but for calibrations."""

    def run(truth):
        path, _ = files(truth)
        for name in ("1.png", "2.png"):
            Image.fromarray(np.full((H, W), 90, np.uint8)).save(tmp_path / name)
        places = {"images": str(tmp_path), "annotations": str(path)}
        settings = ImportSettings(source="coco", classes=["disc", "dot"], ignored=[], **places)
        micrographs, quarantine, *_ = import_micrographs(settings, progress=False)
        rows = [row for row in quarantine.rows if row["reason"] not in ("no calibration", "no image")]
        return [len(m.defects) for m in micrographs], rows

    return run


def changed(part, place, **changes):
    content = truth_file()
    content[part][place] |= changes
    return content


def without(field):
    content = truth_file()
    for entry in content["annotations"]:
        entry.pop(field, None)
    return content


def twice(part):
    content = truth_file()
    return content | {part: [*content[part], content[part][0]]}


TEXT_IDS = truth_file() | {
    "images": [{"id": str(i), "file_name": f"{i}.png", "height": H, "width": W} for i in (1, 2)],
    "categories": [{"id": "7", "name": "disc"}, {"id": 9.0, "name": "dot"}],
}

ODD = {
    **{f"iscrowd {value!r}": truth_file(iscrowd=value) for value in (True, False, 1, 0, 1.0, "1", "0", "true", None)},
    **{f"iscrowd {value!r}": truth_file(iscrowd=value) for value in (2, "yes", [1], "", -1)},
    "text ids": TEXT_IDS,
    "float ids": truth_file(image_id=1.0, category_id=7.0),
    "text image id": truth_file(image_id="1"),
    "float sizes": changed("images", 0, height=float(H), width=float(W)),
    "no area": without("area"),
    "no ids": without("id"),
    "area as text": truth_file(area="many"),
    "polygon that leaves the image": truth_file(segmentation=square(-4, -5, 14)),
    "polygon that leaves the image at its far corner": truth_file(segmentation=square(W - 6, H - 5, 300)),
    "polygon outside the image": truth_file(segmentation=square(W + 5, 2)),
    "polygon far outside the image": truth_file(segmentation=square(1e6, 2)),
    "stray part of two points": truth_file(segmentation=[*square(2, 2), [10.0, 10.0, 11.0, 10.0]]),
    "only a stray part": truth_file(segmentation=[[10.0, 10.0, 11.0, 10.0]]),
    "part of an odd number": truth_file(segmentation=[[0.0, 0, 1]]),
    "NaN": truth_file(segmentation=[[0.0, 0, 1, 0, 1, float("nan")]]),
    "number of 400 digits in a polygon": truth_file(segmentation=[[0.0, 0, 1, 0, 1, 10**400]]),
    "code": truth_file(segmentation=code(square(2, 2))),
    "code with a float size": truth_file(segmentation=code(square(2, 2)) | {"size": [float(H), float(W)]}),
    "counts as the text of bytes": truth_file(segmentation={"size": [H, W], "counts": "b'PT1'"}),
    "counts of text": truth_file(segmentation={"size": [H, W], "counts": ["0", "3072"]}),
    "truth of float runs": truth_file(segmentation={"size": [H, W], "counts": [float(H), 10.0, float(H * W - H - 10)]}),
    "code of another size": truth_file(segmentation={"size": [W, H], "counts": [W * H]}),
    "code of an absurd size": truth_file(segmentation={"size": [10**5, 10**5], "counts": [0, 10**10]}),
    "code without a size": truth_file(segmentation={"counts": [W * H]}),
    "endless run": truth_file(segmentation={"size": [H, W], "counts": "o" * 10_000}),
    "flat polygon": truth_file(segmentation=square(2, 2)[0]),
    "shape twice": changed("annotations", 1, segmentation=square(2, 2)),
    "shape in two classes": changed("annotations", 1, segmentation=square(2, 2), category_id=9),
    "duplicated annotation": twice("annotations"),
    "duplicated annotation id": changed("annotations", 1, id=1),
    "duplicated image id": changed("images", 1, id="1"),
    "duplicated category id": changed("categories", 1, id="7"),
    "no segmentation": without("segmentation"),
    "segmentation []": truth_file(segmentation=[]),
    "box of text": truth_file(bbox="2 2 10 10"),
    "unknown category": truth_file(category_id=8),
    "no category": truth_file(category_id=None),
    "category that cannot be hashed": truth_file(category_id=[7]),
    "object as category": truth_file(category_id={"id": 7}),
    "unknown image": truth_file(image_id=3),
    "infinite image id": truth_file(image_id=float("inf")),
    "true as image id": truth_file(image_id=True),
    "no object": truth_file() | {"annotations": ["no"]},
    "name of half a surrogate pair": changed("categories", 0, name=SURROGATE),
    "deep entry": truth_file(category_id=json.loads("[" * 500 + "]" * 500)),
    "images that are no list": truth_file() | {"images": {}},
    "nothing": "",
    "too deep": "[" * 100_000,
}


@pytest.mark.parametrize("truth", ODD.values(), ids=ODD)
def test_score_and_agree_see_the_same_truths(files, truth):
    """`agree` counts what `score` counts, or sets aside with the same words what `score` refuses."""
    paths = files(truth)
    try:
        scored = score_coco(*paths, EvaluationSettings(thresholds=[0.5])).best.counts
    except TemDataError as error:
        refused = str(error).replace(", or set `match` to box", "")
    else:
        refused = None
    try:
        (a, faults, *_), (b, *_) = (read_labelled(path, truth=paths[0]) for path in paths)
    except TemDataError as error:
        assert str(error) == refused
        return
    said = [f"{paths[0]}: {row['item']}: {row['detail']}" for row in faults.rows]
    if refused:
        assert refused in said
        return
    # what lies outside the image is left out by both, and counted by `score`
    assert {row["detail"] for row in faults.rows if row["action"] == "set aside"} <= {"covers no px of the image"}
    agreed = agree(a, b).scores
    found, held = agreed.counts, [("disc", "dot").index(name) for name in agreed.classes]
    assert found.truths.tolist() == scored.truths[held].tolist()
    assert found.predictions.tolist() == scored.predictions[held].tolist()
    assert found.confusion.tolist() == scored.confusion[np.ix_(held, held)].tolist()
    assert found.ignored == scored.ignored


USABLE = (
    "text ids", "float ids", "text image id", "float sizes", "no area", "no ids", "stray part of two points", "code",
    "code with a float size", "polygon that leaves the image", "duplicated annotation id", "iscrowd 0", "iscrowd '0'",
    "iscrowd False", "iscrowd None",
)  # fmt: skip


@pytest.mark.parametrize("name", USABLE)
def test_odd_but_clear_files_lose_nothing_in_any_reader(files, imported, tmp_path, name):
    paths = files(ODD[name])
    assert score_coco(*paths, EvaluationSettings(thresholds=[0.5])).best.counts.truths.tolist() == [3, 1]
    (tmp_path / "c.csv").write_text("file_name,nm_per_px\n1.png,1\n2.png,1\n")
    assert len(measure_coco(paths[0], None, tmp_path / "c.csv").measurement.defects) == 4
    micrographs = read_labelled(paths[0]).micrographs
    assert [sum(not d.ignore for d in m.defects) for m in micrographs] == [2, 2]
    assert imported(ODD[name])[0] == [2, 2]


FAULTS = {
    "iscrowd 2": "bad entry",
    "iscrowd 'yes'": "bad entry",
    "part of an odd number": "bad shape",
    "NaN": "bad shape",
    "number of 400 digits in a polygon": "bad shape",
    "counts as the text of bytes": "bad shape",
    "counts of text": "bad shape",
    "code of another size": "size mismatch",
    "code of an absurd size": "size mismatch",
    "code without a size": "bad shape",
    "endless run": "bad shape",
    "unknown category": "no class",
    "no category": "no class",
    "category that cannot be hashed": "bad entry",
    "object as category": "bad entry",
    "unknown image": "missing image",
    "infinite image id": "bad entry",
    "true as image id": "bad entry",
    "deep entry": "bad entry",
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_bad_entry_is_an_error_to_score_and_one_row_to_import(files, imported, name):
    with pytest.raises(TemDataError, match=r"truth.json: annotation(s\[0\]| 1): ") as error:
        score_coco(*files(ODD[name]))
    counts, (row,) = imported(ODD[name])
    assert counts == [1, 2] and (row["reason"], row["action"]) == (FAULTS[name], "set aside")
    assert str(error.value).endswith(f"{row['item']}: {row['detail']}") and len(row["detail"]) < 300


@pytest.mark.parametrize("part, place", [("images", 0), ("images", 1), ("categories", 1)])
@pytest.mark.parametrize("wrong", [None, {}, 7, {"id": [1]}, {"id": 3}, {"id": 3, "name": SURROGATE}])
def test_one_bad_image_or_category_costs_no_more_than_its_labels(files, imported, part, place, wrong):
    truth = truth_file()
    truth[part][place] = wrong
    with pytest.raises(TemDataError, match=rf"truth.json: {part}\[{place}\]: "):
        read_truth(Faults(files(truth)[0]), file_names=True)
    counts, rows = imported(truth)
    assert counts == ([2] if part == "images" else [2, 1]) and f"{part}[{place}]" in [row["item"] for row in rows]


@pytest.mark.parametrize("size", [(0, W), (H, -1), (True, W), ("tall", W), (H, None), (H + 0.5, W), (10**400, W)])
def test_an_impossible_size_is_refused_where_a_size_is_needed(files, imported, size):
    truth = changed("images", 0, height=size[0], width=size[1])
    with pytest.raises(TemDataError, match=r"truth.json: images\[0\]: image id 1: "):
        score_coco(*files(truth))
    counts, rows = imported(truth)
    assert counts == [2, 2] and rows[0]["reason"] == "bad entry"


def test_images_of_absurd_size_are_refused_before_anything_is_drawn(files, imported):
    truth = changed("images", 0, height=10**5, width=10**5)
    truth["annotations"][0]["segmentation"] = {"size": [10**5, 10**5], "counts": [0, 10**10]}
    for use in (lambda: score_coco(*files(truth)), lambda: read_truth(Faults(files(truth)[0]))):
        with pytest.raises(TemDataError, match=r"images\[0\]: image id 1: 100000×100000 px"):
            use()
    counts, rows = imported(truth)
    assert counts == [2] and rows[0]["item"] == "images[0]"


def test_a_code_is_not_drawn_on_an_image_of_unknown_size_that_is_another(imported):
    truth = truth_file(segmentation={"size": [30_000, 30_000], "counts": [0, 30_000**2]})
    for image in truth["images"]:
        del image["height"], image["width"]
    counts, (row,) = imported(truth)
    assert counts == [1, 2] and row["reason"] == "size mismatch"


def test_two_categories_of_one_id_leave_no_label_sure(files, imported):
    for key in (7, "7", 7.0):
        truth = changed("categories", 1, id=key)
        for use in (imported, lambda t: score_coco(*files(t)), lambda t: read_labelled(files(t)[0])):
            with pytest.raises(TemDataError, match=r"truth.json: categories\[1\]: category id 7 is there twice"):
                use(truth)


def test_a_stray_part_is_left_out_and_said(files, imported):
    truth = ODD["stray part of two points"]
    assert score_coco(*files(truth)).warnings == ("shapes without their parts of fewer than three points: 1",)
    _, (row,) = imported(truth)
    assert (row["item"], row["reason"], row["action"]) == ("annotation 1", "stray part", "kept")


def test_an_image_whose_labels_cannot_be_read_is_no_image_without_defects(imported):
    truth = truth_file()
    for entry in truth["annotations"][:2]:
        entry["iscrowd"] = "perhaps"
    counts, rows = imported(truth)
    assert counts == [2] and ("1.png", "no labels", "set aside") in [
        (row["file"], row["reason"], row["action"]) for row in rows
    ]


def test_labels_that_are_only_boxes_are_told_from_damaged_ones(imported):
    truth = truth_file(segmentation=[], bbox=[2, 2, 10, 10])
    counts, (row,) = imported(truth)
    assert counts == [1, 2] and row["reason"] == "only a box"


def test_a_bad_box_beside_a_shape_loses_no_label(files, imported):
    truth = truth_file(bbox=[2, 2])
    with pytest.raises(TemDataError, match="annotation 1: expected `bbox`"):
        score_coco(*files(truth))
    counts, (row,) = imported(truth)
    assert counts == [2, 2] and (row["reason"], row["action"]) == ("bad entry", "kept")


def test_paths_of_windows_are_paths(imported):
    assert imported(changed("images", 0, file_name="images\\1.png")) == ([2, 2], [])


@pytest.mark.parametrize("score", [float("nan"), float("inf"), True, "0.9", None, [0.9], 10**400, -0.1])
def test_scores_that_are_no_confidence_are_named(files, score):
    results = [RESULTS[0], RESULTS[1] | {"score": score}]
    paths = files(truth_file(), results)
    with pytest.raises(TemDataError, match=r"found.json: item 1: expected `score` to be a confidence in \[0, 1\]"):
        score_coco(*paths)
    micrographs, quarantine, *_ = read_labelled(paths[1], truth=paths[0])
    assert [len(m.defects) for m in micrographs] == [1, 0]
    assert [(row["item"], row["reason"]) for row in quarantine.rows] == [("item 1", "bad entry")]


def test_results_go_by_the_text_of_their_ids(files):
    results = [result | {"image_id": str(result["image_id"]), "category_id": 7.0} for result in RESULTS]
    paths = files(TEXT_IDS, results)
    found = read_found(read_truth(Faults(paths[0])), Faults(paths[1]))
    assert {key: len(instances) for key, instances in found.results.instances.items()} == {"1": 2, "2": 2}


def test_what_ids_and_marks_may_be():
    assert [identity(value, "id") for value in (1, 1.0, "1", -3, "a b")] == ["1", "1", "1", "-3", "a b"]
    for wrong in (True, None, 1.5, float("nan"), 10**400, "", " ", SURROGATE, [], {}):
        with pytest.raises(Fault, match="expected `id` to be text or a whole number, found "):
            identity(wrong, "id")
    assert crowd(" TRUE ") and not crowd("0.0")


@pytest.mark.parametrize(
    "name",
    [
        "http://host/sub/1.png?token=2.png",
        "s3://bucket/1.png",
        "/data/local-files/?d=1.png",
        "https://host/%31.png",
        "/home/somebody/images/1.png",
    ],
)
def test_addresses_and_paths_of_other_computers_are_paths(imported, name):
    assert imported(changed("images", 0, file_name=name)) == ([2, 2], [])


def test_a_path_from_the_root_on_is_no_other_file(imported, tmp_path):
    other = tmp_path / "sub" / "elsewhere.png"
    other.parent.mkdir()
    Image.fromarray(np.full((H, W), 90, np.uint8)).save(other)
    counts, rows = imported(changed("images", 0, file_name=str(other)))
    assert counts == [2] and [row["reason"] for row in rows] == ["missing image", "no labels"]


def test_blanks_around_a_class_are_no_other_class(imported):
    assert imported(changed("categories", 0, name=" disc ")) == ([2, 2], [])


def test_fractions_of_the_image_are_no_pixels(files, imported):
    truth = truth_file(segmentation=[[0.1, 0.2, 0.5, 0.2, 0.5, 0.6, 0.1, 0.6]])
    with pytest.raises(TemDataError, match="annotation 1: segmentation: all x and y are from 0 to 1"):
        score_coco(*files(truth))
    counts, (row,) = imported(truth)
    assert counts == [1, 2] and row["reason"] == "bad shape" and "multiply" in row["detail"]
    pixel = truth_file(segmentation=[[0, 0, 1, 0, 1, 1, 0, 1]])
    assert imported(pixel) == ([2, 2], [])


def test_a_list_of_points_is_named(imported):
    points = np.reshape(square(2, 2)[0], (-1, 2)).tolist()
    counts, (row,) = imported(truth_file(segmentation=points))
    assert counts == [1, 2] and "found points [[x1, y1], [x2, y2], ...]" in row["detail"]


def test_an_empty_box_says_nothing_of_the_shape(files, imported):
    truth = truth_file(bbox=[0, 0, 0, 0])
    paths = files(truth)
    assert score_coco(*paths).warnings == ("empty boxes of shapes: 1",)
    boxes = EvaluationSettings(match="box", thresholds=[0.5])
    assert score_coco(*files(truth), boxes).best.counts.truths.tolist() == [3, 1]
    counts, (row,) = imported(truth)
    assert counts == [2, 2] and (row["reason"], row["action"]) == ("bad entry", "recomputed")


def test_a_crowd_among_others_is_said_to_be_ignored(imported):
    counts, (row,) = imported(truth_file(iscrowd=1))
    assert counts == [2, 2] and (row["reason"], row["action"]) == ("crowd", "ignored") and "write 0" in row["detail"]


def test_labels_of_unlisted_images_name_the_ids_that_are_there(imported):
    _, (row,) = imported(truth_file(image_id="1.png"))
    assert row["detail"].endswith("whose ids are [1, 2]")


@pytest.mark.parametrize(
    "change, named",
    [
        ({"image_id": "1.png"}, "item 0: image id '1.png' is none of the 2 of the ground truth, whose ids are"),
        ({"segmentation": {"size": [W, H], "counts": [W * H]}}, "item 0: segmentation: expected a mask of the image"),
        ({"score": 90}, "item 0: expected `score`"),
        ({"score": None}, "give each result one"),
        ({"score": 0.2}, "4 results, none of which reaches the threshold 0.5 .the best has 0.2.; lower `threshold`"),
    ],
)
def test_results_of_which_none_is_of_use_are_no_agreement_of_0(files, change, named):
    paths = files(truth_file(), [result | change for result in RESULTS])
    with pytest.raises(TemDataError, match=named):
        read_labelled(paths[1], truth=paths[0], threshold=0.5)


@pytest.mark.parametrize(
    "truth, results, warning",
    [
        (truth_file(), [], "images, none of which has a prediction that counts: 2"),
        (truth_file() | {"annotations": []}, RESULTS, "images, none of which has a truth that counts: 2"),
        (
            truth_file(),
            [result | {"score": 0.03} for result in RESULTS],
            "predictions, none of which reaches the lowest threshold 0.1 (the best has 0.03): 4",
        ),
    ],
)
def test_scores_of_nothing_are_said(files, truth, results, warning):
    assert score_coco(*files(truth, results)).warnings == (warning,)


def test_what_is_odd_in_results_is_said(files, tmp_path):
    stray = RESULTS[0] | {"segmentation": [*square(2, 2), [10.0, 10.0, 11.0, 10.0]]}
    paths = files(truth_file(), [stray, *RESULTS[1:]])
    warning = "shapes without their parts of fewer than three points: 1"
    assert score_coco(*paths).warnings == (warning,)
    (tmp_path / "c.csv").write_text("file_name,nm_per_px\n1.png,1\n3.png,1\n")
    measured = measure_coco(*paths, tmp_path / "c.csv", threshold=0.9).warnings
    assert measured == (f"rows of {tmp_path / 'c.csv'} that name none of the images, as '3.png': 1", warning)


def test_results_under_the_threshold_are_said_where_they_are_measured(files, tmp_path):
    (tmp_path / "c.csv").write_text("file_name,nm_per_px\n1.png,1\n2.png,1\n")
    paths = files(truth_file(), [result | {"score": 0.2} for result in RESULTS])
    (warning,) = measure_coco(*paths, tmp_path / "c.csv").warnings
    assert warning == "results, none of which reaches the threshold 0.5 (the best has 0.2): 4"


def test_predictions_that_meet_nothing_are_said(files):
    away = [result | {"segmentation": square(50, 14 + k)} for k, result in enumerate(RESULTS)]
    (warning,) = score_coco(*files(truth_file(), away)).warnings
    assert warning == "predictions, none of which meets a truth; see that images, ids and px are the same: 4"


def test_boxes_as_corners_or_fractions_are_said(files):
    truth = truth_file()
    for entry in truth["annotations"]:
        x, y = entry.pop("segmentation")[0][:2]
        entry["bbox"] = [x, y, 10.0, 10.0]
    boxes = EvaluationSettings(match="box", thresholds=[0.5])
    plain = [{"score": 0.9, "image_id": e["image_id"], "category_id": e["category_id"]} for e in truth["annotations"]]
    places = [entry["bbox"][:2] for entry in truth["annotations"]]
    right = [result | {"bbox": [x, y, 10.0, 10.0]} for result, (x, y) in zip(plain, places, strict=True)]
    scores = score_coco(*files(truth, right), boxes)
    assert (scores.best.f1_hm, scores.warnings) == (1, ())
    corners = [result | {"bbox": [x, y, x + 10, y + 10]} for result, (x, y) in zip(plain, places, strict=True)]
    warnings = score_coco(*files(truth, corners), boxes).warnings
    assert "boxes that leave their image, as corners x, y, x, y do that are read as x, y, w, h: 2" in warnings
    fractions = [
        result | {"bbox": [x / W, y / H, 10 / W, 10 / H]} for result, (x, y) in zip(plain, places, strict=True)
    ]
    with pytest.raises(TemDataError, match=r"item 0: `bbox` .*: all x and y are from 0 to 1, as fractions"):
        score_coco(*files(truth, fractions), boxes)
