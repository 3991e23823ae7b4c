import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_ops

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, defect_from_ellipse, defect_from_polygons
from tem_data.core.rle import run_lengths
from tem_data.scoring import (
    Counts,
    Labels,
    Rule,
    best,
    compare,
    count_images,
    f1_scores,
    labels_from_boxes,
    labels_from_instances,
    labels_from_polygons,
    labels_of,
    match_labels,
    score_images,
    scores_of,
    sweep,
)
from tem_data.scoring.average_precision import AveragePrecision, average_precision
from tem_data.scoring.coco import score_coco
from tem_data.scoring.evaluation import EvaluationSettings
from tem_data.scoring.matching import overlap

CLASSES = ("100", "111", "bdot")
SIDE = 48


def box(x, y, w=10, h=10, category="111", ignore=False, score=1.0):
    return Defect(category, x, y, np.ones((h, w), bool), ignore, score)


def labels(*defects):
    return labels_of(defects, (SIDE, SIDE), CLASSES)


def one(truths, predictions, threshold=0.0, **options):
    return sweep({"m": truths}, {"m": predictions}, CLASSES, [threshold], Rule(**options))[0]


def taken(of, indices):
    rles = tuple(of.rles[i] for i in indices)
    return Labels(of.category[indices], of.boxes[indices], of.scores[indices], of.ignore[indices], rles)


# Known answers


def test_published_counts_give_the_published_f1():
    f1 = f1_scores(np.array([[1540]]), np.array([1851]), np.array([3073]))
    assert (f1.precision.round(3), f1.recall.round(3), f1.detect.round(3)) == (0.501, 0.832, 0.626)


def test_published_confusion_matrix_gives_the_published_f1_by_class():
    confusion = np.array([[392, 119, 16], [70, 671, 34], [33, 91, 114]])
    counts = Counts(confusion, np.array([600, 951, 300]), np.array([1000, 1500, 573]))
    scores = scores_of(counts, CLASSES, 0.5)
    assert [round(f1, 3) for f1 in scores.f1_by_class.values()] == [0.767, 0.810, 0.567]
    assert (round(scores.f1_detect, 3), round(scores.f1_class, 3)) == (0.626, 0.715)
    assert scores.f1_hm == pytest.approx(2 * 0.6255 * 0.7148 / (0.6255 + 0.7148), abs=1e-3)


@pytest.mark.parametrize("distance", [0, 15, 30, 45, 60])
def test_discs_overlap_as_geometry_says(distance):
    radius = 30
    half = distance / 2
    lens = 2 * radius**2 * math.acos(half / radius) - distance * math.sqrt(radius**2 - half**2)
    expected = lens / (2 * math.pi * radius**2 - lens)
    pair = [defect_from_ellipse("111", 40 + shift, 40, 60, 60, 0, (80, 150)) for shift in (0, distance)]
    truth, prediction = (labels_of([d], (80, 150), CLASSES) for d in pair)
    assert overlap(truth, prediction).iou[0, 0] == pytest.approx(expected, abs=0.01)
    found = match_labels(truth, prediction, Rule(iou=0.3)).pairs
    assert len(found) == (expected >= 0.3)


def test_box_and_mask_iou_differ_for_thin_diagonals():
    diagonal = Defect("100", 0, 0, np.eye(20, dtype=bool))
    other = Defect("100", 0, 0, np.eye(20, dtype=bool)[::-1])
    assert one(labels(diagonal), labels(other), match="box").f1_hm == 1
    assert one(labels(diagonal), labels(other), match="mask").f1_hm == 0


def test_an_iou_equal_to_the_cutoff_matches():
    assert one(labels(box(0, 0, 10)), labels(box(0, 0, 5)), iou=0.5).recall == 1
    assert one(labels(box(0, 0, 10)), labels(box(0, 0, 4)), iou=0.5).recall == 0


def test_greedy_loses_a_pair_that_optimal_finds():
    truths = labels(box(0, 0, 10), box(2, 0, 12))
    predictions = labels(box(0, 0, 5), box(1, 0, 10))
    # the left truth takes the better prediction, and nothing is left that the right one overlaps by half
    assert match_labels(truths, predictions, Rule(0.5, assignment="greedy")).pairs.tolist() == [[0, 1]]
    pairs = match_labels(truths, predictions, Rule(0.5, assignment="optimal")).pairs
    assert sorted(pairs.tolist()) == [[0, 0], [1, 1]]


def test_optimal_prefers_two_poor_pairs_to_one_perfect_pair():
    truths = labels(box(0, 0, 10), box(4, 0, 10))
    predictions = labels(box(0, 0, 10), box(0, 0, 4))
    pairs = match_labels(truths, predictions, Rule(assignment="optimal")).pairs
    assert sorted(pairs.tolist()) == [[0, 1], [1, 0]]


def test_confusion_rows_are_truths():
    truths = labels(box(0, 0, category="100"), box(20, 20, category="100"))
    predictions = labels(box(0, 0, category="bdot"), box(20, 20, category="100"), box(0, 30, category="111"))
    counts = one(truths, predictions).counts
    assert counts.confusion.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert (counts.truths.tolist(), counts.predictions.tolist()) == ([2, 0, 0], [1, 1, 1])


def test_greedy_goes_by_box_x_then_y():
    both = box(0, 5, 10, 10)
    upper, lower = box(0, 0, 10, 10), box(0, 9, 10, 10)
    matching = match_labels(labels(lower, upper), labels(both))
    assert matching.pairs.tolist() == [[1, 0]] and matching.missed.tolist() == [0]


def test_the_threshold_keeps_scores_at_or_above_it():
    truths = labels(box(0, 0), box(20, 20))
    predictions = labels(box(0, 0, score=0.5), box(20, 20, score=0.9), box(30, 0, score=0.2))
    low, middle, high = sweep({"m": truths}, {"m": predictions}, CLASSES, [0.1, 0.5, 0.6])
    assert [low.precision, middle.precision, high.precision] == [pytest.approx(2 / 3), 1, 1]
    assert [low.recall, middle.recall, high.recall] == [1, 1, 0.5]
    assert best([low, middle, high]) is middle


def test_best_of_equal_scores_has_the_lowest_threshold():
    scores = sweep({"m": labels(box(0, 0))}, {"m": labels(box(0, 0))}, CLASSES, [0.9, 0.3, 0.6])
    assert best(scores).threshold == 0.3
    with pytest.raises(TemDataError, match="threshold"):
        best([])


# Ambiguous truths


def test_predictions_on_ambiguous_truths_do_not_count():
    truths = labels(box(0, 0), box(20, 20, 20, 20, category="ambiguous", ignore=True))
    hit, inside, outside = box(20, 20, 18, 18), box(22, 22, 4, 4), box(0, 30)
    scores = one(truths, labels(box(0, 0), hit, inside, outside))
    assert (scores.precision, scores.recall, scores.counts.ignored) == (0.5, 1, 2)
    off = one(truths, labels(box(0, 0), hit, inside, outside), ignore_ambiguous=False)
    assert (off.precision, off.recall, off.counts.ignored) == (0.25, 1, 0)


def test_ambiguous_truths_are_matched_last():
    truths = labels(box(0, 0, category="ambiguous", ignore=True), box(2, 0))
    scores = one(truths, labels(box(0, 0)))
    assert (scores.recall, scores.counts.ignored) == (1, 0)


def test_more_than_half_of_a_prediction_has_to_be_inside_an_ambiguous_truth():
    truths = labels(box(0, 0, 40, 40, category="ambiguous", ignore=True))
    assert one(truths, labels(box(35, 0, 10))).counts.ignored == 0
    assert one(truths, labels(box(34, 0, 10))).counts.ignored == 1


# No truths, no predictions, absent classes


@pytest.mark.parametrize("truths, predictions", [([], []), ([box(0, 0)], []), ([], [box(0, 0)])])
@pytest.mark.parametrize("assignment", ["greedy", "optimal"])
def test_nothing_to_find_or_nothing_found_gives_zero(truths, predictions, assignment):
    scores = one(labels(*truths), labels(*predictions), assignment=assignment)
    assert (scores.precision, scores.recall, scores.f1_detect, scores.f1_class, scores.f1_hm) == (0,) * 5
    json.dumps(scores.to_dict(), allow_nan=False)


def test_absent_classes_are_left_out_and_named_but_missed_ones_count():
    scores = one(labels(box(0, 0), box(20, 20, category="bdot")), labels(box(0, 0)))
    assert scores.f1_by_class == {"111": 1, "bdot": 0} and scores.absent == ("100",)
    assert scores.f1_class == 0.5
    by_class = scores.to_dict()["by_class"]
    assert by_class["bdot"] == {"truths": 1, "predictions": 0, "matched": 0}
    assert by_class["111"] == {"truths": 1, "predictions": 1, "matched": 1}


def test_counts_are_summed_over_images_before_the_ratio():
    truths = {"a": labels(box(0, 0)), "b": labels(box(0, 0), box(20, 0), box(0, 20))}
    predictions = {"a": labels(box(0, 0))}
    scores = sweep(truths, predictions, CLASSES, [0.5])[0]
    assert (scores.recall, scores.precision) == (0.25, 1)
    by_image = count_images(compare(truths, predictions), 3, threshold=0.5)
    assert [c.truths.sum() for c in by_image.values()] == [1, 3]


def test_many_counts_at_once_score_as_each_alone():
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 9, (5, 3, 3)) * rng.integers(0, 2, (5, 3, 3))
    truths, predictions = confusion.sum(2) + rng.integers(0, 3, (5, 3)), confusion.sum(1)
    together = f1_scores(confusion, truths, predictions)
    for i in range(5):
        alone = scores_of(Counts(confusion[i], truths[i], predictions[i]), CLASSES, 0.5)
        assert (together.hm[i], together.detect[i]) == (alone.f1_hm, alone.f1_detect)
        held = dict(zip(CLASSES, together.by_class[i], strict=True))
        assert {name: f1 for name, f1 in held.items() if not np.isnan(f1)} == alone.f1_by_class


def test_a_higher_iou_cutoff_needs_no_new_overlaps():
    images = compare({"m": labels(box(0, 0))}, {"m": labels(box(0, 4))})  # IoU 60/140
    assert [score_images(images, CLASSES, Rule(iou)).recall for iou in (0.4, 0.45)] == [1, 0]


def test_outlines_boxes_and_maps_are_labels_too():
    defects = [box(3, 4, 6, 5), box(20, 9, 4, 8, "bdot", score=0.7)]
    outlines = [[[x, y, x + w, y, x + w, y + h, x, y + h]] for x, y, w, h in (d.bbox for d in defects)]
    names, scores = [d.category for d in defects], [d.score for d in defects]
    instances = np.zeros((SIDE, SIDE), np.uint16)
    for number, defect in enumerate(defects, 7):
        x, y, w, h = defect.bbox
        instances[y : y + h, x : x + w] = number
    given_as = [
        labels_from_polygons(outlines, (SIDE, SIDE), names, CLASSES, scores),
        labels_from_instances(instances, {7: "111", 8: "bdot"}, CLASSES, {7: 1.0, 8: 0.7}),
    ]
    for found in given_as:
        assert found.rles == labels(*defects).rles
        assert np.array_equal(found.boxes, labels(*defects).boxes)
        assert (found.category.tolist(), found.scores.tolist()) == ([1, 2], [1.0, 0.7])
    boxes = labels_from_boxes([d.bbox for d in defects], names, CLASSES, scores)
    assert sweep({"m": labels(*defects)}, {"m": boxes}, CLASSES, [0], Rule(match="box"))[0].f1_hm == 1
    assert len(labels_from_instances(np.zeros((9, 9), int), {}, CLASSES, scores={})) == 0
    ambiguous = labels_from_instances(instances, {7: "111", 8: "?"}, CLASSES, ignore=[8])
    assert ambiguous.category.tolist() == [1, -1] and ambiguous.ignore.tolist() == [False, True]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: labels_from_boxes([[0, 0, 1, 1]], [], CLASSES), "1 shapes, 0 categories"),
        (lambda: labels_from_boxes([[0, 0, 1, 1]], ["111"], CLASSES, [1.2]), "rescale"),
        (lambda: labels_from_boxes([[0, 0, 1, 1]], ["111"], CLASSES, [float("nan")]), "rescale"),
        (lambda: labels_from_boxes([[0, 0, 1, 1]], ["void"], CLASSES), "found 'void'"),
        (lambda: labels_from_polygons([[[0, 0, float("nan")]]], (9, 9), ["111"], CLASSES), "finite"),
        (lambda: labels_from_instances(np.eye(3, dtype=int), {}, CLASSES), "`categories` does not name"),
        (lambda: labels_from_instances(np.eye(3, dtype=int), {1: "111"}, CLASSES, {}), "`scores` does not name"),
    ],
)
def test_labels_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(TemDataError, match=said):
        wrong()


# Properties

defect_lists = st.lists(
    st.builds(
        box,
        x=st.integers(0, 30),
        y=st.integers(0, 30),
        w=st.integers(1, 18),
        h=st.integers(1, 18),
        category=st.sampled_from(CLASSES),
        ignore=st.sampled_from([False, False, False, True]),
        score=st.sampled_from([0.2, 0.5, 0.9]),
    ),
    max_size=8,
)
assignments = st.sampled_from(["greedy", "optimal"])
few = settings(max_examples=60, deadline=None)


def certain(defects):
    return labels(*(d for d in defects if not d.ignore))


@few
@given(defect_lists, defect_lists, assignments, st.randoms(use_true_random=False))
def test_order_does_not_matter(truths, predictions, assignment, random):
    before = one(labels(*truths), labels(*predictions), 0.5, assignment=assignment)
    random.shuffle(truths)
    random.shuffle(predictions)
    assert one(labels(*truths), labels(*predictions), 0.5, assignment=assignment).to_dict() == before.to_dict()


@few
@given(defect_lists, assignments)
def test_a_perfect_prediction_gives_one(defects, assignment):
    perfect = certain({d.bbox: d for d in defects}.values())  # two classes of one shape could be exchanged
    scores = one(perfect, perfect, assignment=assignment)
    assert (scores.f1_detect, scores.f1_class, scores.f1_hm) == (float(len(perfect) > 0),) * 3


@few
@given(defect_lists, defect_lists)
def test_greedy_never_finds_more_than_optimal(truths, predictions):
    found = [one(labels(*truths), labels(*predictions), assignment=a).recall for a in ("greedy", "optimal")]
    assert found[0] <= found[1]


@few
@given(defect_lists, defect_lists, assignments)
def test_losing_a_true_positive_never_raises_recall(truths, predictions, assignment):
    truth, prediction = labels(*truths), certain(predictions)
    rule = Rule(assignment=assignment)
    before = match_labels(truth, prediction, rule).pairs
    for lost in before[:, 1]:
        rest = taken(prediction, [i for i in range(len(prediction)) if i != lost])
        assert len(match_labels(truth, rest, rule).pairs) <= len(before)


@few
@given(defect_lists, defect_lists, assignments, st.booleans())
def test_every_defect_is_counted_once(truths, predictions, assignment, ignore_ambiguous):
    truth, prediction = labels(*truths), certain(predictions)
    matching = match_labels(truth, prediction, Rule(assignment=assignment, ignore_ambiguous=ignore_ambiguous))
    assert sorted([*matching.pairs[:, 0], *matching.missed]) == np.flatnonzero(~truth.ignore).tolist()
    used = [*matching.pairs[:, 1], *matching.false, *matching.ignored]
    assert sorted(used) == list(range(len(prediction)))
    assert (matching.iou >= 0.3).all()


@few
@given(defect_lists, defect_lists)
def test_rectangles_have_the_same_mask_and_box_iou(truths, predictions):
    by_mask, by_box = (overlap(labels(*truths), labels(*predictions), match) for match in ("mask", "box"))
    assert np.allclose(by_mask.iou, by_box.iou) and np.array_equal(by_mask.inside, by_box.inside)


@few
@given(st.lists(st.booleans(), min_size=12, max_size=600))
def test_run_lengths_are_what_pycocotools_encodes(bits):
    column = np.array(bits, np.uint8)[:, None]
    runs = run_lengths(rle_ops.encode(np.asfortranarray(column))["counts"].decode())
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), column[:, 0])


# What is refused


def test_a_class_that_is_not_known_is_refused():
    with pytest.raises(TemDataError, match="'void'.*classes"):
        labels(box(0, 0, category="void"))


def test_predictions_of_unknown_images_are_refused():
    with pytest.raises(TemDataError, match="'b'"):
        sweep({"a": labels()}, {"b": labels()}, CLASSES, [0.5])


def test_masks_of_different_images_are_refused():
    with pytest.raises(TemDataError, match="m: .*sizes"):
        one(labels(box(0, 0)), labels_of([box(0, 0)], (SIDE, 2 * SIDE), CLASSES))


@pytest.mark.parametrize("option", [{"iou": 0}, {"iou": float("nan")}, {"match": "area"}, {"assignment": "best"}])
def test_unknown_rules_are_refused(option):
    with pytest.raises(TemDataError, match=next(iter(option))):
        one(labels(), labels(), **option)


# COCO's average precision


def precision_of(truths, predictions, **options):
    found = average_precision({"m": labels(*truths)}, {"m": labels(*predictions)}, CLASSES, **options)
    by_class = {name: round(ap, 9) for name, ap in found.by_class.items()}
    return AveragePrecision(*(ap if ap is None else round(ap, 9) for ap in found[:3]), by_class)


def test_average_precision_of_a_perfect_prediction_is_one():
    defects = [box(0, 0), box(20, 20, category="bdot")]
    assert precision_of(defects, defects) == (1, 1, 1, {"111": 1, "bdot": 1})


def test_average_precision_falls_at_the_cutoffs_that_are_missed():
    ap = precision_of([box(0, 0)], [box(0, 2)])  # IoU 8/12: found at 0.50, 0.55, 0.60, 0.65 of ten cutoffs
    assert (ap.ap, ap.ap50, ap.ap75) == (0.4, 1, 0)


def test_a_surer_false_prediction_halves_average_precision():
    ap = precision_of([box(0, 0)], [box(0, 0, score=0.5), box(30, 30, score=0.9)])
    assert ap.ap == 0.5


def test_average_precision_knows_ambiguous_truths_and_absent_classes():
    truths = [box(0, 0), box(20, 20, category="?", ignore=True)]
    ap = precision_of(truths, [box(0, 0, score=0.5), box(20, 20, score=0.9)])
    assert ap == (1, 1, 1, {"111": 1})
    assert precision_of(truths[1:], [box(0, 0)]) == (None, None, None, {})
    assert precision_of(truths, []).ap == 0


def test_average_precision_counts_more_than_a_hundred_defects_and_boxes_alone():
    many = [box(x, y, 2, 2) for x in range(0, 48, 4) for y in range(0, 48, 4)]
    assert len(many) > 100 and precision_of(many, many).ap == pytest.approx(1)
    boxes = labels_from_boxes([d.bbox for d in many], ["111"] * len(many), CLASSES)
    assert average_precision({"m": boxes}, {"m": boxes}, CLASSES, match="box").ap == pytest.approx(1)


# COCO files

SQUARE = [[2.0, 2, 12, 2, 12, 12, 2, 12]]
FAR = [[30.0, 30, 40, 30, 40, 40, 30, 40]]


def truth_file():
    return {
        "images": [{"id": 1, "height": 48, "width": 64}, {"id": 2, "height": 48, "width": 64}],
        "categories": [{"id": 7, "name": "111"}, {"id": 9, "name": "bdot"}, {"id": 11, "name": "ambiguous"}],
        "annotations": [
            {"image_id": 1, "category_id": 7, "segmentation": SQUARE, "bbox": [2, 2, 10, 10]},
            {"image_id": 1, "category_id": 11, "segmentation": FAR, "bbox": [30, 30, 10, 10]},
            {"image_id": 2, "category_id": 9, "segmentation": FAR, "bbox": [30, 30, 10, 10], "iscrowd": 0},
        ],
    }


def result(image=1, category=7, segmentation=SQUARE, **rest):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "score": 0.8, **rest}


@pytest.fixture
def score(tmp_path):
    def run(truth, results, **options):
        paths = [tmp_path / "truth.json", tmp_path / "results.json"]
        for path, content in zip(paths, (truth, results), strict=True):
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        ignore = {"ignore": options.pop("ignore")} if "ignore" in options else {}
        return score_coco(*paths, EvaluationSettings(**options), **ignore)

    return run


def test_coco_files_are_scored(score):
    runs = [30 * 48 + 30, 10, 38, 10, 48 * 64 - 30 * 48 - 30 - 58]
    found = score(
        truth_file(),
        [result(), result(1, 9, FAR), result(2, 9, {"size": [48, 64], "counts": runs}), result(2, 7)],
    )
    scores = found.best
    assert found.images == 2 and scores.classes == ("111", "bdot") and found.warnings == ()
    # the second lies on the ambiguous truth; the third covers a fifth of its truth; the fourth finds nothing
    assert (scores.counts.confusion.tolist(), scores.counts.ignored) == ([[1, 0], [0, 0]], 1)
    assert (scores.counts.truths.tolist(), scores.counts.predictions.tolist()) == ([1, 1], [2, 1])
    json.dumps(found.to_dict(), allow_nan=False)


def test_coco_crowds_are_ambiguous_and_box_files_are_scored_by_box(score):
    truth = truth_file()
    for annotation in truth["annotations"]:
        del annotation["segmentation"]
    truth["annotations"][0]["iscrowd"] = 1
    results = [{"image_id": 1, "category_id": 7, "bbox": [2, 2, 10, 10], "score": 1.0}]
    scores = score(truth, results, match="box").best
    assert (scores.counts.ignored, scores.counts.truths.tolist()) == (1, [0, 1])
    with pytest.raises(TemDataError, match=r"truth.json: annotations\[0\].*set `match` to box"):
        score(truth, results)


def test_shapes_without_area_are_counted_and_named(score):
    truth = truth_file()
    truth["annotations"][0]["segmentation"] = [[1.0, 1, 5, 5]]
    found = score(truth, [result(segmentation=[[1.0, 1, 1, 1, 1, 1]])])
    assert found.best.counts.truths.tolist() == [0, 1] and found.best.counts.predictions.tolist() == [1, 0]
    assert found.warnings == ("truths without area, left out: 1", "predictions without area, counted as false: 1")


def test_no_results_score_zero(score):
    assert score(truth_file(), []).best.f1_hm == 0


@pytest.mark.parametrize(
    "wrong, said",
    [
        (result(image=3), "item 0: image id 3"),
        (result(category=8), "item 0: category id 8"),
        (result(score=1.5), r"item 0: .*\[0, 1\], found 1.5"),
        (result(score=float("nan")), r"item 0: .*\[0, 1\], found nan"),
        (result(score=None), r"item 0: .*\[0, 1\], found None"),
        (result(segmentation=[[0.0, 0, 1]]), "item 0: segmentation"),
        (result(segmentation=[[0.0, 0, 1, 0, 1, float("nan")]]), "item 0: segmentation"),
        (result(segmentation=[[0.0, 0, 1e9, 0, 1e9, 1e9]]), "item 0: segmentation.*in px"),
        (result(segmentation={"size": [64, 48], "counts": [64 * 48]}), r"item 0: .*\[48, 64\]"),
        (result(segmentation={"size": [48, 64], "counts": [9]}), "item 0: .*damaged"),
        (result(segmentation={"size": [48, 64], "counts": ""}), "item 0: .*damaged"),
        (result(segmentation={"size": [48, 64], "counts": "ab c"}), "item 0: .*run-length"),
        (result(bbox=[0, 0, -1, 2]), "item 0: expected `bbox`"),
        ("no", "item 0: expected an object"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(score, wrong, said):
    with pytest.raises(TemDataError, match=f"results.json: {said}"):
        score(truth_file(), [wrong])


@pytest.mark.parametrize(
    "part, wrong, said",
    [
        ("images", [{"id": 1, "width": 64}], "image id 1: expected `height`"),
        ("images", truth_file()["images"] * 2, "image id 1 is there twice"),
        ("categories", truth_file()["categories"] * 2, "category id 7 is there twice"),
        ("categories", [{"id": 7}], "`name`"),
        ("categories", [{"id": [7], "name": "111"}], "`name`"),
        ("annotations", None, "`annotations`"),
    ],
)
def test_ground_truths_with_faults_are_refused(score, part, wrong, said):
    with pytest.raises(TemDataError, match=f"truth.json: .*{said}"):
        score(truth_file() | {part: wrong}, [])


def test_files_that_are_not_coco_are_refused(score, tmp_path):
    with pytest.raises(TemDataError, match="results.json: not a JSON file"):
        score(truth_file(), "")
    with pytest.raises(TemDataError, match="results.json: expected a list of results"):
        score(truth_file(), truth_file())
    with pytest.raises(TemDataError, match="nowhere.json: cannot be read"):
        score_coco(tmp_path / "nowhere.json", tmp_path / "results.json")
    with pytest.raises(TemDataError, match="'ambigous'"):
        score(truth_file(), [], ignore=["ambigous"])


# Real micrographs


def test_two_people_agree_as_they_did_before(shared: Path):
    """DATA.md: labeller A against B, 11 images, F1_detect 0.823, F1_class 0.769, F1_HM 0.795.

    Half a pixel in how ellipses are drawn moves F1_detect by 0.006.
    """
    folder = shared / "data/fecral"
    coco = json.loads((folder / "polygons.json").read_text())
    faulty = {f"grid1_roi1_500kx_0p5nm_haadf1_{n}.jpg" for n in ("0003", "0027")} | {"BF X500K, 06 (2).jpg"}
    with open(folder / "ellipses.csv", newline="") as file:
        rows = {tuple(r.values()) for r in csv.DictReader(file) if math.isfinite(float(r["major_px"]))}
    truths, predictions = {}, {}
    for image in coco["images"]:
        name, shape = image["file_name"], (image["height"], image["width"])
        own = [(r[1], *map(float, r[2:])) for r in sorted(rows) if r[0] == name]
        if not own or name in faulty:
            continue
        ellipses = [defect_from_ellipse(*r, shape, ignore=r[0] == "ambiguous") for r in own]
        polygons = [
            defect_from_polygons({1: "111", 2: "bdot"}.get(a["category_id"], "100"), a["segmentation"], shape)
            for a in coco["annotations"]
            if a["image_id"] == image["id"]
        ]
        truths[name] = labels_of([d for d in ellipses if d], shape, CLASSES)
        predictions[name] = labels_of([d for d in polygons if d], shape, CLASSES)
    scores = sweep(truths, predictions, CLASSES, [0.5])[0]
    assert len(truths) == 11
    assert (scores.f1_detect, scores.f1_class, scores.f1_hm) == pytest.approx((0.823, 0.769, 0.795), abs=0.007)
