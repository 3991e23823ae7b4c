"""Tiny networks on a toy: bright squares on a dark noisy ground."""

import os
import pickle
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.model_zoo.model_zoo import _ModelZooUrls
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from safetensors.torch import save_file
from torch import nn

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, defect_from_mask
from tem_data.core.settings import read_section
from tem_data.detection import training
from tem_data.detection.augmentation import Look, draw_look, draw_side
from tem_data.detection.detector import Detector
from tem_data.detection.ignoring import IGNORED, ignoring
from tem_data.detection.model import BASE, detector_config, new_network
from tem_data.detection.prediction import predict_patches, predict_wanted
from tem_data.detection.settings import DetectorSettings
from tem_data.detection.training import batch_indices, detectron2_dict, train_detector
from tem_data.scoring import best, labels_of, sweep
from tests.helpers.toy_detector import untrained

CLASSES = ("square",)
TINY = {
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 1,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[1.0]],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "INPUT.MIN_SIZE_TRAIN": [0],
    "INPUT.MIN_SIZE_TEST": 0,
}
PLAIN = dict(brightness=0, contrast=0, blur=0, noise=0, scale=1)
SHORT = DetectorSettings(network="r50", iterations=6, batch_size=2, checkpointing_steps=2, config=TINY, **PLAIN)
PRETRAINED = replace(SHORT, weights="given below")


def toy(count: int, seed: int) -> list[Micrograph]:
    """Patches of 64 px with one square in each quarter, or none."""
    rng = np.random.default_rng(seed)
    patches = []
    for number in range(count):
        image, defects = rng.integers(60, 90, (64, 64)).astype(np.uint8), []
        for left, top in ((0, 0), (32, 0), (0, 32), (32, 32)):
            side = int(rng.integers(12, 20))
            x, y = left + int(rng.integers(2, 30 - side)), top + int(rng.integers(2, 30 - side))
            if rng.random() < 0.6:
                image[y : y + side, x : x + side] = rng.integers(180, 220)
                defects.append(defect_from_mask("square", np.ones((side, side), bool), x, y))
        patches.append(Micrograph(f"m{number}", image, tuple(defects), (64, 64)))
    return patches


def train(patches, folder, chosen=SHORT, seed=0, pairs=()):
    return train_detector(patches, CLASSES, chosen, seed, folder, pairs)


def weights_of(detector):
    return {name: tensor.cpu().numpy().tobytes() for name, tensor in detector.model.state_dict().items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    chosen = replace(SHORT, iterations=120, learning_rate=3e-3, checkpointing_steps=1000)
    return train(toy(24, 0), tmp_path_factory.mktemp("trained"), chosen)


@pytest.fixture(scope="module")
def pretrained():
    """The state of a network with frozen BatchNorm and two classes."""
    names = ("square", "disc")
    return new_network(detector_config(PRETRAINED, names, 80, 20), None, 1).state_dict()


# Training


@pytest.mark.slow
def test_squares_are_learnt(trained):
    detector, history = trained
    patches = toy(12, 1)
    truths = {p.micrograph_id: labels_of(p.defects, p.shape, CLASSES) for p in patches}
    found = predict_patches(detector, [p.image for p in patches], progress=False)
    predictions = {p.micrograph_id: labels_of(f, p.shape, CLASSES) for p, f in zip(patches, found, strict=True)}
    assert best(sweep(truths, predictions, CLASSES, [0.2, 0.3, 0.4, 0.5])).f1_detect > 0.7
    assert [line["step"] for line in history] == list(range(0, 120, 10))
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    for defects in found:
        assert [d.score for d in defects] == sorted((d.score for d in defects), reverse=True)


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_weights(tmp_path, monkeypatch):
    patches, asked = toy(5, 0), []

    def indices(*given):
        asked.append(given[-1])
        if len(asked) == 6:
            raise KeyboardInterrupt
        return batch_indices(*given)

    chosen = replace(SHORT, brightness=20, contrast=0.2, blur=1, noise=5, scale=1.3)
    whole, history = train(patches, tmp_path / "whole", chosen)
    monkeypatch.setattr(training, "batch_indices", indices)
    with pytest.raises(KeyboardInterrupt):
        train(patches, tmp_path / "killed", chosen)
    resumed, resumed_history = train(patches, tmp_path / "killed", chosen)
    assert asked == [0, 1, 2, 3, 4, 5, 4, 5]
    assert weights_of(resumed) == weights_of(whole) and resumed_history == history
    assert weights_of(resumed) != weights_of(untrained(SHORT, CLASSES))


def test_patches_without_defects_are_learnt_from_too(tmp_path):
    patch = toy(1, 0)[0]
    ignored = replace(patch, defects=tuple(replace(d, ignore=True) for d in patch.defects))
    _, history = train([patch, ignored], tmp_path, replace(SHORT, iterations=1))
    assert np.isfinite(history[0]["loss"])
    with pytest.raises(TemDataError, match="no defect"):
        train([ignored, ignored], tmp_path)


def test_generated_patches_do_not_change_how_grey_levels_are_normalised(tmp_path):
    patch, once = toy(1, 0)[0], replace(SHORT, iterations=1, batch_size=1)
    generated = replace(patch, image=patch.image // 2, origin="gen")
    means = [
        train(patches, tmp_path / str(number), once, pairs=pairs)[0].cfg.MODEL.PIXEL_MEAN[0]
        for number, (patches, pairs) in enumerate([([patch], []), ([patch], [generated]), ([generated], [])])
    ]
    assert means[0] == means[1] == patch.image.ravel()[::16].mean() and means[2] < means[0]


@pytest.mark.parametrize("schedule, optimizer", [("one_cycle", "adamw"), ("constant", "sgd")])
def test_every_schedule_runs(tmp_path, schedule, optimizer):
    chosen = replace(SHORT, iterations=9, batch_size=1, schedule=schedule, optimizer=optimizer, checkpointing_steps=99)
    assert train(toy(1, 0), tmp_path, chosen)[1]


def test_a_training_that_diverges_is_stopped(tmp_path):
    chosen = replace(SHORT, learning_rate=1e30, batch_size=1, optimizer="sgd", iterations=20)
    with pytest.raises(TemDataError, match="detector.learning_rate: .*; lower it"):
        train(toy(1, 0), tmp_path, chosen)


def test_every_epoch_takes_every_patch_once():
    four = replace(SHORT, batch_size=4)
    taken = [i for step in range(10) for i in batch_indices(20, 0, four, 7, step)]
    assert sorted(taken[:20]) == sorted(taken[20:]) == list(range(20)) and taken[:20] != taken[20:]
    assert taken[8:12] == batch_indices(20, 0, four, 7, 2) and taken[8:12] != batch_indices(20, 0, four, 8, 2)


def test_pairs_have_their_share_until_the_last_iterations():
    chosen = replace(SHORT, batch_size=5, iterations=100, pairs_share=0.3, real_last=0.4)
    batches = [batch_indices(20, 30, chosen, 7, step) for step in range(100)]
    added = np.array([sum(i >= 20 for i in batch) for batch in batches])
    assert all(len(batch) == 5 for batch in batches) and not added[60:].any()
    assert added[:60].sum() == 90 and set(added[:60]) == {1, 2}
    for low, high in ((0, 20), (20, 50)):
        of_kind = [i for batch in batches for i in batch if low <= i < high]
        assert sorted(of_kind[: high - low]) == list(range(low, high))
    as_they_are = [batch_indices(20, 30, replace(chosen, pairs_share=None, real_last=0), 7, k) for k in range(10)]
    assert sum(i >= 20 for batch in as_they_are for i in batch) == 30
    assert not any(i >= 20 for k in range(100) for i in batch_indices(20, 0, chosen, 7, k))


def test_what_is_mostly_ignored_is_neither_defect_nor_background(tmp_path):
    shown = next(patch for patch in toy(24, 0) if len(patch.defects) >= 2)
    labelled = new_network(ignoring(detector_config(SHORT, CLASSES, 80, 20)), None, 0).train()
    hidden = replace(shown.defects[0], category="ambiguous", ignore=True)
    truth = detectron2_dict(replace(shown, defects=(hidden, *shown.defects[1:])), CLASSES, ignored=True)["instances"]
    x, y, w, h = hidden.bbox
    inside = [x + 1, y + 1, x + w - 1, y + h - 1]
    elsewhere = [30.0, 30.0, 34.0, 34.0]
    anchors = Boxes(
        torch.tensor([inside, [x - 20.0, y - 20, x + 2, y + 2], elsewhere, *truth.gt_boxes.tensor.tolist()])
    )
    with EventStorage():
        labels, _ = labelled.proposal_generator.label_and_sample_anchors([anchors], [truth])
        assert labels[0].tolist()[:4] == [-1, 0, 0, -1] and (labels[0][4:] == 1).all()
        proposals = Instances((64, 64), proposal_boxes=anchors, objectness_logits=torch.zeros(len(anchors)))
        sampled = labelled.roi_heads.label_and_sample_proposals([proposals], [truth])[0]
    boxes = sampled.proposal_boxes.tensor.tolist()
    assert inside not in boxes and elsewhere in boxes
    assert set(sampled.gt_classes.tolist()) == {0, 1}
    assert (sampled.gt_classes == 0).sum() == 2 * (len(shown.defects) - 1)  # proposals, and truths added to them


def test_an_ignoring_training_leaves_a_plain_detector(tmp_path):
    detector, _ = train(toy(3, 0), tmp_path, replace(SHORT, iterations=1))
    assert detector.cfg.MODEL.ROI_HEADS.NAME == "StandardROIHeads"
    assert detector.cfg.MODEL.PROPOSAL_GENERATOR.NAME == "RPN"


def test_looks_change_what_they_say():
    image = np.tile(np.linspace(60, 160, 64), (64, 1)).astype(np.uint8)
    same = Look(0, 1, 0, 0, 0)
    np.testing.assert_array_equal(same.of(image), image)
    np.testing.assert_array_equal(same._replace(brightness=10).of(image), image + 10)
    assert same._replace(contrast=1.5).of(image).std() == pytest.approx(1.5 * image.std(), rel=0.02)
    noisy, blurred = same._replace(noise=6).of(image), same._replace(noise=6, blur=2).of(image)
    assert np.std(noisy.astype(float) - image) == pytest.approx(6, rel=0.05)
    rng = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    assert same._replace(blur=2).of(rng).std() < 0.3 * rng.std() and blurred.dtype == np.uint8


def test_looks_are_drawn_within_the_settings():
    chosen = replace(SHORT, brightness=20, contrast=0.25, blur=1, noise=5)
    rng = np.random.default_rng(0)
    looks = np.array([draw_look(rng, chosen)[:4] for _ in range(400)])
    assert np.abs(looks[:, 0]).max() <= 20 and looks[:, 0].std() == pytest.approx(20 / np.sqrt(3), rel=0.1)
    assert 0.8 <= looks[:, 1].min() < 0.82 and 1.22 < looks[:, 1].max() <= 1.25
    for column, most in ((2, 1), (3, 5)):
        assert 0.4 < (looks[:, column] == 0).mean() < 0.6 and 0.9 * most < looks[:, column].max() <= most
    assert draw_look(rng, SHORT)[:4] == (0, 1, 0, 0)
    sides = {draw_side(rng, 256, 1.25) for _ in range(200)}
    assert sides == {192, 224, 256, 288, 320} and {draw_side(rng, 100, 1.0) for _ in range(9)} == {100}


@pytest.mark.parametrize("short_side", [0, 64, 128])
def test_patches_are_scaled_with_their_labels(short_side):
    patch = toy(1, 0)[0]
    ignored = defect_from_mask("square", np.ones((4, 4), bool), 0, 0, ignore=True)
    taken = detectron2_dict(replace(patch, defects=(*patch.defects, ignored)), CLASSES, short_side)
    scale = (short_side or 64) / 64
    assert taken["image"].shape == (3, 64 * scale, 64 * scale) and taken["image"].dtype == torch.uint8
    corners = [[x, y, x + w, y + h] for x, y, w, h in (d.bbox for d in patch.defects)]
    assert taken["instances"].gt_boxes.tensor.tolist() == (scale * np.array(corners)).tolist()
    areas = taken["instances"].gt_masks.tensor.sum((1, 2)).tolist()
    assert areas == pytest.approx([d.area * scale**2 for d in patch.defects], rel=0.05)
    kept = detectron2_dict(replace(patch, defects=(ignored, *patch.defects)), CLASSES, short_side, ignored=True)
    assert kept["instances"].gt_classes.tolist() == [IGNORED] + [0] * len(patch.defects)
    empty = detectron2_dict(replace(patch, defects=()), CLASSES, short_side)["instances"]
    assert len(empty) == 0 and empty.gt_masks.tensor.shape == (0, *taken["image"].shape[1:])


# The model


def test_from_scratch_has_group_norm_and_nothing_frozen():
    model = new_network(detector_config(SHORT, CLASSES, 80, 20), None, 0)
    kinds = {type(module) for module in model.modules()}
    assert nn.GroupNorm in kinds and not kinds & {FrozenBatchNorm2d, nn.BatchNorm2d, nn.SyncBatchNorm}
    for part in (model.backbone.bottom_up, model.backbone.fpn_lateral2, model.roi_heads.mask_head):
        last = getattr(part, "predictor", None)
        convolutions = [m for m in part.modules() if isinstance(m, nn.Conv2d) and m is not last]
        assert convolutions and all(isinstance(c.norm, nn.GroupNorm) for c in convolutions)
    assert all(p.requires_grad for p in model.parameters())
    assert (model.pixel_mean.unique().tolist(), model.pixel_std.unique().tolist()) == ([80], [20])


def test_with_weights_two_stages_and_batch_norm_are_frozen():
    model = new_network(detector_config(PRETRAINED, CLASSES, 80, 20), None, 0)
    body = model.backbone.bottom_up
    assert any(isinstance(m, FrozenBatchNorm2d) for m in body.modules())
    assert not any(isinstance(m, nn.GroupNorm) for m in model.modules())
    frozen = {name for name, stage in body.named_children() if not any(p.requires_grad for p in stage.parameters())}
    assert frozen == {"stem", "res2"}
    assert len(set(model.pixel_mean.flatten().tolist())) == 3  # the zoo's own, not ours


def write_weights(path, state, old_numpy=False):
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    elif path.suffix == ".pth":
        torch.save({"model": state, "iteration": 3}, path)
    else:
        content = {"model": {name: tensor.numpy() for name, tensor in state.items()}, "__author__": "a test"}
        code = pickle.dumps(content, protocol=2)
        path.write_bytes(code.replace(b"numpy._core", b"numpy.core") if old_numpy else code)


@pytest.mark.parametrize("name, old_numpy", [("a.pth", 0), ("a.safetensors", 0), ("a.pkl", 0), ("a.pkl", 1)])
def test_weights_are_laid_over_all_but_the_class_heads(tmp_path, pretrained, name, old_numpy, capsys):
    write_weights(tmp_path / name, pretrained, old_numpy)
    model = new_network(detector_config(PRETRAINED, CLASSES, 80, 20), str(tmp_path / name), 0)
    state = model.state_dict()
    new = {k for k in state if not (state[k].shape == pretrained[k].shape and torch.equal(state[k], pretrained[k]))}
    heads = ("box_predictor.cls_score", "box_predictor.bbox_pred", "mask_head.predictor")
    assert new == {f"roi_heads.{head}.{part}" for head in heads for part in ("weight", "bias")}
    assert f"{len(state) - 6} tensors taken, 6 stay new" in capsys.readouterr().out


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["a.pkl", "a.pth"])
def test_a_malicious_pickle_is_refused(tmp_path, name):
    content = {"model": {"x": Malicious(str(tmp_path / "harm"))}}
    torch.save(content, tmp_path / name) if name == "a.pth" else (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(TemDataError, match="mkdir|a.pth"):
        new_network(detector_config(PRETRAINED, CLASSES, 80, 20), str(tmp_path / name), 0)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["a.pkl", "a.pth", "a.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"not weights", pickle.dumps([1, 2], 2), pickle.dumps({"model": {"x": 3}}, 2)]
)
def test_files_that_hold_no_weights_are_refused(tmp_path, name, content, tiny):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TemDataError, match="detector.weights"):
        new_network(tiny, str(tmp_path / name), 0)


@pytest.fixture
def tiny(monkeypatch):
    """A configuration whose model costs nothing to build."""
    model = nn.ModuleDict({"backbone": nn.Linear(1, 1)})
    monkeypatch.setattr("tem_data.detection.model.build_model", lambda cfg: model)
    return detector_config(PRETRAINED, CLASSES, 80, 20)


def test_weights_of_another_network_are_refused(tmp_path, tiny):
    save_file({"backbone.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(TemDataError, match="do not fit the backbone"):
        new_network(tiny, str(tmp_path / "a.safetensors"), 0)


def test_a_name_of_the_model_zoo_is_fetched(tmp_path, tiny, monkeypatch):
    arrays = {"backbone.weight": np.full((1, 1), 7.0), "backbone.bias": np.zeros(1)}
    content, paths = pickle.dumps({"model": arrays}, protocol=2), []

    class Zoo(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Zoo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(_ModelZooUrls, "S3_PREFIX", f"http://127.0.0.1:{server.server_port}/")
    try:
        model = new_network(tiny, BASE, 0)
    finally:
        server.shutdown()
        server.server_close()
    assert model["backbone"].weight.item() == 7
    assert paths and paths[0].startswith("/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/")


def test_a_name_that_is_neither_file_nor_in_the_zoo(tiny):
    with pytest.raises(TemDataError, match="'COCO-InstanceSegmentation/nothing.yaml' is no file"):
        new_network(tiny, "COCO-InstanceSegmentation/nothing.yaml", 0)


@pytest.mark.parametrize(
    "config", [{"MODEL.NOTHING": 3}, {"MODEL.RESNETS.DEPTH": "deep"}, {"MODEL.RESNETS.DEPTH": 19}, {"MODEL": 3}]
)
def test_faults_in_the_configuration_are_said(config):
    with pytest.raises(TemDataError, match="detector.config: detectron2 says"):
        cfg = detector_config(replace(SHORT, config=TINY | config), CLASSES, 80, 20)
        new_network(cfg, None, 0)


@pytest.mark.parametrize("wrong", [{"optimizer": "adam"}, {"schedule": "cosine"}, {"steps": 3}])
def test_faults_in_the_settings_are_said(wrong):
    with pytest.raises(TemDataError, match=next(iter(wrong))):
        read_section(DetectorSettings, {"iterations": 3} | wrong)
    with pytest.raises(TemDataError, match="detector.iterations: expected a whole number of 1 or more, found None"):
        read_section(DetectorSettings, {"iterations": None})


@pytest.mark.slow
def test_a_saved_detector_finds_the_same(trained, tmp_path):
    detector, images = trained[0], [patch.image for patch in toy(3, 2)]
    detector.save_pretrained(tmp_path / "detector")
    again = Detector.from_pretrained(tmp_path / "detector")
    one, other = (predict_patches(d, images, progress=False) for d in (detector, again))
    assert again.about == detector.about and again.classes == CLASSES and any(one)
    for a, b in zip(one, other, strict=True):
        assert [(d.bbox, d.score, d.mask.tobytes()) for d in a] == [(d.bbox, d.score, d.mask.tobytes()) for d in b]
    with pytest.raises(TemDataError, match="holds no model.safetensors"):
        Detector.from_pretrained(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("short_side", [0, 80])
def test_only_what_is_wanted_gets_a_mask_and_it_is_the_same(trained, short_side):
    cfg = trained[0].cfg.clone()
    cfg.INPUT.MIN_SIZE_TEST = short_side
    detector, images = replace(trained[0], cfg=cfg), [patch.image for patch in toy(6, 2)]
    every = predict_patches(detector, images, progress=False)
    some = [
        tile.defects for tile in predict_wanted(detector, images, 0.3, lambda k, centres, margin: centres[:, 0] < 32)
    ]
    expected = [[d for d in found if d.score >= 0.3 and d.x + d.mask.shape[1] / 2 < 32] for found in every]
    assert 0 < sum(map(len, some)) < sum(map(len, every))
    for one, other in zip(some, expected, strict=True):
        assert [(d.category, d.score) for d in one] == [(d.category, d.score) for d in other]
        assert all(np.array_equal(d.mask, e.mask) and d.bbox == e.bbox for d, e in zip(one, other, strict=True))
    (nothing,) = predict_wanted(detector, images[:1], 0.3, lambda k, centres, margin: np.zeros(len(centres), bool))
    assert nothing == ((), 0.0)


@pytest.mark.slow
def test_a_micrograph_is_searched_alike_every_time(trained):
    patches = toy(9, 3)
    image = np.vstack([np.hstack([patch.image for patch in patches[k : k + 3]]) for k in (0, 3, 6)])
    first, second = (trained[0].predict(image, threshold=0.3).defects for _ in range(2))
    assert [(d.bbox, d.score, d.mask.tobytes()) for d in first] == [(d.bbox, d.score, d.mask.tobytes()) for d in second]
    true = [defect for patch in patches for defect in patch.defects]
    assert len(first) == pytest.approx(len(true), rel=0.4)
