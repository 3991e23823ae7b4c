"""Datasets as a stranger loads them, and their rows as targets of other tools."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from datasets import Dataset, Image, load_dataset
from hypothesis import given, settings
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import DataLoader
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.ops import masks_to_boxes

from tem_data.coco.writing import coco_results
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, class_mask, defect_from_mask, instance_map
from tem_data.core.schema import Classes, features, read_dataset, to_row, write_dataset, write_readme
from tem_data.targets import Targets, write_coco
from tests.core.test_schema import CLASSES, assert_same, micrographs

NAMES = CLASSES.names
SIDE = 32


def block(category, x, y, width, height, ignore=False):
    return defect_from_mask(category, np.ones((height, width), bool), x, y, ignore)


def patch(name, *defects, **rest):
    image = np.random.default_rng(len(name)).integers(0, 256, (SIDE, SIDE), np.uint8)
    return Micrograph(name, image, defects, (SIDE, SIDE), **rest)


DOTS = [block("bdot", i % SIDE, i // SIDE, 1, 1) for i in range(300)]
ROWS = [
    patch("overlapping", block("111", 2, 3, 8, 4), block("bdot", 4, 3, 2, 2), nm_per_px=0.5, specimen="s"),
    patch("ignored", block("100", 0, 0, 5, 6), block("ambiguous", 9, 9, 6, 6, True), block("bdot", 31, 0, 1, 3, True)),
    patch("many", *DOTS, origin="gen", seed=2**60 + 1, guidance_scale=1.5, num_inference_steps=20, symmetry=5),
    patch("none", thickness_nm=100.0),
]
MASKS = [replace(ROWS[0], image=None, origin="sim"), replace(ROWS[3], image=None, origin="sim")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("targets") / "dataset"
    write_dataset(path, {"train": ROWS, "test": MASKS}, CLASSES)
    return path


@pytest.fixture(scope="module")
def load(folder):
    return lambda split="train", **how: load_dataset(str(folder), split=split, cache_dir=str(folder / "cache"), **how)


@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_loaded_is_what_the_stage_wrote(load, folder, streaming):
    for loaded, written in zip(load(streaming=streaming), read_dataset(folder, "train"), strict=True):
        pictures = {name: np.array(loaded[name]) for name in ("image", "mask", "instances")}
        assert [p.dtype for p in pictures.values()] == [np.uint8, np.uint8, np.uint16]
        assert np.array_equal(pictures["image"], written.image)
        assert np.array_equal(pictures["mask"], class_mask(written.defects, NAMES, written.shape))
        assert np.array_equal(pictures["instances"], instance_map(written.defects, written.shape))
        row = to_row(written, CLASSES)
        assert all(loaded[name] == row[name] for name in row if name not in pictures)


def test_every_16_bit_instance_survives(tmp_path):
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    row = to_row(ROWS[0], CLASSES)
    row["instances"] = {"bytes": cv2.imencode(".png", every)[1].tobytes(), "path": None}
    (tmp_path / "d/data").mkdir(parents=True)
    Dataset.from_list([row], features=features(CLASSES)).to_parquet(tmp_path / "d/data/train-00000.parquet")
    write_readme(tmp_path / "d", CLASSES)
    how = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    for streaming in (False, True):
        loaded = next(iter(load_dataset(str(tmp_path / "d"), streaming=streaming, **how)))
        assert np.array_equal(np.array(loaded["instances"]), every)
    data = load_dataset(str(tmp_path / "d"), **how).with_format("torch")
    assert np.array_equal(data[0]["instances"][0].numpy(), every)


def as_loaded(data, form):
    if form == "bytes":
        return data.cast_column("image", Image(decode=False)).cast_column("mask", Image(decode=False))
    return data.with_format(form)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("form", [None, "torch", "numpy", "bytes"])
@pytest.mark.parametrize("split, written", [("train", ROWS), ("test", MASKS)])
def test_a_row_of_any_format_is_its_micrograph(load, split, written, form, streaming):
    data = load(split, streaming=streaming)
    targets = Targets.of(data)
    for row, micrograph in zip(as_loaded(data, form), written, strict=True):
        assert_same(targets.to_micrograph(row), micrograph)


def test_a_row_without_instances_and_with_columns_of_its_own(load):
    data = load().remove_columns(["instances", "scene"]).add_column("mine", list(range(len(ROWS))))
    assert_same(Targets.of(data).to_micrograph(data[1]), ROWS[1])


def test_a_torch_loader_takes_rows(load):
    loaded = list(DataLoader(load().with_format("torch"), batch_size=1))
    assert [tuple(row["image"].shape) for row in loaded] == [(1, 1, SIDE, SIDE)] * len(ROWS)
    assert [row["objects"]["category"].shape[1] for row in loaded] == [len(m.defects) for m in ROWS]
    # PyTorch's own collate knows no None, the null of a picture: no batches, or no such column
    assert [row["image"] for row in DataLoader(load("test").with_format("torch"), batch_size=None)] == [None, None]
    masks = list(DataLoader(load("test").remove_columns("image").with_format("torch"), batch_size=1))
    assert [int(row["mask"].max()) for row in masks] == [3, 0]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("form", [None, "torch"])
def test_a_torch_loader_makes_batches_of_targets(load, form, streaming):
    data = load(streaming=streaming)
    targets = Targets.of(data, NAMES)
    loader = DataLoader(
        data.with_format(form),
        batch_size=3,
        collate_fn=lambda rows: tuple(zip(*map(targets.to_torchvision, rows), strict=True)),
    )
    batches = [(len(images), [len(t["labels"]) for t in found]) for images, found in loader]
    assert batches == [(3, [2, 1, 300]), (1, [0])]


@pytest.mark.parametrize("form, workers", [(None, 0), ("torch", 0), ("numpy", 0), ("torch", 1)])
def test_the_collate_fn_gives_images_and_targets(load, form, workers):
    data = load().with_format(form)
    targets = Targets.of(data, NAMES)
    loader = DataLoader(data, batch_size=3, collate_fn=targets.collate_fn, num_workers=workers)
    (images, found), (last_images, last_found) = loader
    assert [tuple(image.shape) for image in images + last_images] == [(3, SIDE, SIDE)] * 4
    assert [target["labels"].tolist() for target in found + last_found] == [[2, 3], [1], [3] * 300, []]
    assert found[1]["boxes"].tolist() == [[0, 0, 5, 6]] and last_found[0]["boxes"].shape == (0, 4)
    for row, image, target in zip(load(), images, found, strict=False):
        expected_image, expected = targets.to_torchvision(row)
        assert torch.equal(image, expected_image) and all(
            torch.equal(target[name], expected[name]) for name in expected
        )


def test_torch_keeps_the_integers_of_masks_and_instances(load):
    data = load().with_format("torch")
    for rows in (data[:4], next(iter(DataLoader(data.select_columns(["mask", "instances"]), batch_size=4)))):
        assert (rows["mask"].dtype, rows["instances"].dtype) == (torch.uint8, torch.uint16)
        for mask, instances, micrograph in zip(rows["mask"], rows["instances"].long(), ROWS, strict=True):
            assert mask[0].tolist() == class_mask(micrograph.defects, NAMES, micrograph.shape).tolist()
            assert instances[0].tolist() == instance_map(micrograph.defects, micrograph.shape).tolist()


def test_torchvision_target_of_known_objects(load):
    image, target = Targets.of(load()).to_torchvision(load()[1], image_id=7)
    assert (image.dtype, tuple(image.shape)) == (torch.float32, (3, SIDE, SIDE))
    assert all(np.allclose(channel * 255, ROWS[1].image) for channel in image.numpy())
    assert target["boxes"].tolist() == [[0, 0, 5, 6]] and target["boxes"].dtype == torch.float32
    assert (target["labels"].tolist(), target["labels"].dtype) == ([1], torch.int64)
    assert (target["area"].tolist(), target["iscrowd"].tolist(), target["image_id"]) == ([30], [0], 7)
    assert target["masks"].dtype == torch.uint8 and int(target["masks"].sum()) == 30
    assert target["masks"][0, :6, :5].all()
    ignored = np.zeros((SIDE, SIDE))
    ignored[9:15, 9:15] = ignored[0:3, 31] = 1
    assert np.array_equal(target["ignored"], ignored)


@settings(max_examples=30, deadline=None)
@given(micrographs())
def test_torchvision_target_of_any_row(micrograph):
    targets = Targets(CLASSES.labels, CLASSES.labels)
    row = features(CLASSES).decode_example(to_row(micrograph, CLASSES))
    if micrograph.image is None:
        with pytest.raises(TemDataError, match="without a picture"):
            targets.to_torchvision(row)
        return
    _, target = targets.to_torchvision(row)
    taught = [d for d in micrograph.defects if not d.ignore]
    assert [CLASSES.labels[k - 1] for k in target["labels"]] == [d.category for d in taught]
    assert target["area"].tolist() == target["masks"].sum((1, 2)).tolist() == [d.area for d in taught]
    if taught:  # torchvision's box of a mask ends at its last pixel, a COCO box behind it
        assert torch.equal(masks_to_boxes(target["masks"]) + torch.tensor([0, 0, 1, 1]), target["boxes"])
    ignored = class_mask(
        [replace(d, category="any") for d in micrograph.defects if d.ignore], ["any"], micrograph.shape
    )
    assert np.array_equal(target["ignored"], ignored)


def test_torchvisions_mask_rcnn_trains_on_it(load):
    data = load()
    targets = Targets.of(data, NAMES)
    model = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=1 + len(NAMES), min_size=SIDE, max_size=SIDE
    )
    images, truths = zip(*(targets.to_torchvision(data[i]) for i in (0, 1, 3)), strict=True)
    losses = model(images, truths)
    assert set(losses) >= {"loss_classifier", "loss_box_reg", "loss_mask"}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_detectron2_dict_of_known_objects(load):
    row = Targets.of(load()).to_detectron2(load()[1], image_id=7)
    assert (row["image"].dtype, tuple(row["image"].shape)) == (torch.uint8, (3, SIDE, SIDE))
    assert (row["height"], row["width"], row["image_id"], row["file_name"]) == (SIDE, SIDE, 7, "000007.png")
    known = [([0, 0, 5, 6], 0, 0), ([9, 9, 6, 6], 3, 1), ([31, 0, 1, 3], 2, 1)]
    assert [(a["bbox"], a["category_id"], a["iscrowd"]) for a in row["annotations"]] == known
    assert row["instances"].gt_classes.tolist() == [0]
    assert row["instances"].gt_boxes.tensor.tolist() == [[0, 0, 5, 6]]
    assert "image_id" not in Targets.of(load()).to_detectron2(load()[1])


def test_detectron2_makes_the_same_instances_of_the_annotations(load):
    from detectron2.data.detection_utils import annotations_to_instances, transform_instance_annotations
    from detectron2.data.transforms import NoOpTransform

    data = load()
    targets = Targets.of(data, NAMES)
    for row in map(targets.to_detectron2, data):
        size, given = (row["height"], row["width"]), row["instances"]
        shown = [a for a in row["annotations"] if not a["iscrowd"]]
        boxes = [transform_instance_annotations(dict(a), [NoOpTransform()], size) for a in shown]
        made = annotations_to_instances(boxes, size, mask_format="bitmask")
        assert torch.equal(made.gt_boxes.tensor, given.gt_boxes.tensor)
        assert torch.equal(made.gt_classes, given.gt_classes)
        assert not shown or torch.equal(made.gt_masks.tensor, given.gt_masks.tensor)


def test_detectron2_trains_on_it(load):
    from detectron2.data import build_detection_train_loader
    from detectron2.utils.events import EventStorage

    from tem_data.detection.model import detector_config, new_network
    from tests.detection.test_detection import SHORT

    targets = Targets.of(load(), NAMES)
    loader = build_detection_train_loader(load(), mapper=targets.to_detectron2, total_batch_size=2)
    model = new_network(detector_config(SHORT, NAMES, 128.0, 74.0), None, 0)
    with EventStorage():
        losses = model.train()(next(iter(loader)))
    assert "loss_mask" in losses and all(torch.isfinite(loss) for loss in losses.values())


def test_detectron2_catalog_and_coco_file_agree(load, tmp_path):
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.data.datasets.coco import convert_to_coco_dict, load_coco_json

    data = load()
    targets = Targets.of(data, NAMES)
    write_coco(data, tmp_path / "truth.json", NAMES, images=tmp_path / "images")
    read = load_coco_json(str(tmp_path / "truth.json"), str(tmp_path / "images"))
    DatasetCatalog.register("targets", lambda: [targets.to_detectron2(row, i) for i, row in enumerate(data, 1)])
    MetadataCatalog.get("targets").thing_classes = list(NAMES)
    try:
        made = convert_to_coco_dict("targets")
    finally:
        DatasetCatalog.remove("targets")
        MetadataCatalog.remove("targets")
    written = json.loads((tmp_path / "truth.json").read_text())
    assert [a["bbox"] for a in made["annotations"]] == [a["bbox"] for a in written["annotations"]]
    assert [a["category_id"] + 1 for a in made["annotations"]] == [a["category_id"] for a in written["annotations"]]
    for from_file, row, (number, micrograph) in zip(read, data, enumerate(ROWS, 1), strict=True):
        ours = targets.to_detectron2(row, number)
        assert [a["segmentation"] for a in from_file["annotations"]] == [a["segmentation"] for a in ours["annotations"]]
        assert (from_file["image_id"], from_file["file_name"]) == (number, str(tmp_path / "images" / ours["file_name"]))
        assert np.array_equal(cv2.imread(from_file["file_name"], cv2.IMREAD_UNCHANGED), micrograph.image)


@pytest.mark.parametrize("streaming", [False, True])
def test_coco_file_is_read_by_pycocotools(load, tmp_path, streaming):
    write_coco(load(streaming=streaming), tmp_path / "truth.json")
    coco = COCO(tmp_path / "truth.json")
    assert [coco.cats[k]["name"] for k in sorted(coco.cats)] == list(CLASSES.labels)
    for image_id, micrograph in enumerate(ROWS, 1):
        for annotation, defect in zip(coco.imgToAnns[image_id], micrograph.defects, strict=True):
            mask = np.zeros(micrograph.shape, np.uint8)
            mask[defect.y :, defect.x :][: defect.mask.shape[0], : defect.mask.shape[1]] = defect.mask
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["iscrowd"] == defect.ignore


def test_coco_evaluation_counts_no_find_on_ignored_objects(load, tmp_path):
    write_coco(load(), tmp_path / "truth.json")
    coco = COCO(tmp_path / "truth.json")
    small = [m for m in ROWS if len(m.defects) < 100]
    found = [m.defects if m in small else () for m in ROWS]
    evaluation = COCOeval(coco, coco.loadRes(coco_results(found, ROWS, CLASSES)), "segm")
    evaluation.params.imgIds = [ROWS.index(m) + 1 for m in small]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_numbers_follow_names_not_the_order_of_another_dataset(load, tmp_path):
    turned = Classes(("bdot", "100", "111"), ("ambiguous",))
    write_dataset(tmp_path / "d", {"train": ROWS}, turned)
    other = load_dataset(str(tmp_path / "d"), split="train", cache_dir=str(tmp_path / "cache"))
    assert Targets.of(other).classes == turned.labels
    ours, theirs = Targets.of(load(), NAMES), Targets.of(other, NAMES)
    for one, two in zip(load(), other, strict=True):
        assert torch.equal(ours.to_torchvision(one)[1]["labels"], theirs.to_torchvision(two)[1]["labels"])
        a, b = ours.to_detectron2(one), theirs.to_detectron2(two)
        assert a["annotations"] == b["annotations"]
        assert torch.equal(a["instances"].gt_classes, b["instances"].gt_classes)
    write_coco(load(), tmp_path / "a.json", NAMES)
    write_coco(other, tmp_path / "b.json", NAMES)
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


def test_labels_of_the_mask_are_those_of_torchvision(load):
    _, target = Targets.of(load()).to_torchvision(load()[1])
    mask = np.array(load()[1]["mask"])
    assert set(mask[target["masks"][0].numpy() > 0]) == set(target["labels"].tolist())


def test_an_object_of_no_class_is_never_background(load, tmp_path):
    targets = Targets.of(load(), ("100", "111"))
    with pytest.raises(TemDataError, match="overlapping: object 2 is of class 'bdot'.*add it"):
        targets.to_torchvision(load()[0])
    with pytest.raises(TemDataError, match="'bdot'"):
        targets.to_detectron2(load()[0])
    with pytest.raises(TemDataError, match="'bdot'"):
        write_coco(load(), tmp_path / "truth.json", ("100", "111"), tmp_path / "images")
    assert not list(tmp_path.iterdir())
    assert targets.to_torchvision(load()[1])[1]["labels"].tolist() == [1]  # its bdot is ignored


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_without_ignored_objects_can_be_chosen(load, streaming):
    kept = load(streaming=streaming).filter(lambda objects: not any(objects["ignore"]), input_columns="objects")
    assert [row["micrograph_id"] for row in kept] == ["overlapping", "many", "none"]
    assert Targets.of(kept).labels == CLASSES.labels


def test_what_holds_no_class_names_is_refused(folder, load):
    every = load_dataset(str(folder), cache_dir=str(folder / "cache"))
    streamed = load(streaming=True).map(lambda row: {"micrograph_id": "m"})
    for wrong in (every, streamed, load().remove_columns("objects")):
        with pytest.raises(TemDataError, match='split="train"'):
            Targets.of(wrong)
    with pytest.raises(TemDataError, match="twice"):
        Targets.of(load(), ("100", "100"))


BROKEN = {
    "a row without mask": {"mask": None},
    "many: image: .*8-bit grey": {"image": np.zeros((2, SIDE, SIDE), np.uint8)},
    "many: image: .*found no picture": {"image": {"bytes": b"damaged"}},
    "many: .*found one of .32, 32": {"image": np.zeros((SIDE, 5), np.uint8)},
    "many: expected category, segmentation and ignore": {"ignore": [False]},
    "many: object 1: category 4": {"category": 4},
    "many: object 1: .*damaged": {"segmentation": {"size": [SIDE, SIDE], "counts": "01_<"}},
    "many: object 1: .*at least one pixel": {"segmentation": {"size": [SIDE, SIDE], "counts": "PP1"}},
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_row_is_named(load, message):
    row = dict(load()[2])
    (column, value), *_ = BROKEN[message].items()
    if column == "ignore":
        row["objects"] = row["objects"] | {column: value}
    elif column in row["objects"]:
        row["objects"] = row["objects"] | {column: [value, *row["objects"][column][1:]]}
    elif value is None:
        del row[column]
    else:
        row[column] = value
    with pytest.raises(TemDataError, match=message):
        Targets.of(load()).to_micrograph(row)


def test_coco_keeps_what_is_there(load, tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(TemDataError, match=re.escape(str(tmp_path / "images"))):
        write_coco(load(), tmp_path / "truth.json", images=tmp_path / "images")
    with pytest.raises(TemDataError, match="overlapping: a row of origin 'sim' without a picture"):
        write_coco(load("test"), tmp_path / "truth.json", images=tmp_path / "pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    write_coco(load("test"), tmp_path / "truth.json")
    assert len(json.loads((tmp_path / "truth.json").read_text())["annotations"]) == 2
