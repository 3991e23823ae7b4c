"""Train a Mask R-CNN on patches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.micrograph import Micrograph, paste
from tem_data.detection.about import about_patches
from tem_data.detection.augmentation import Look, draw_look, draw_side
from tem_data.detection.detector import Detector
from tem_data.detection.detectron import BitMasks, Boxes, EventStorage, Instances
from tem_data.detection.ignoring import IGNORED, ignoring
from tem_data.detection.model import detector_config, new_network
from tem_data.detection.settings import DetectorSettings
from tem_data.training.checkpoints import History
from tem_data.training.loop import REPORT_STEPS, fit

WARM_UP = 1000


def train_detector(
    patches: Sequence[Micrograph],
    classes: Sequence[str],
    settings: DetectorSettings,
    seed: int,
    workdir: str | os.PathLike,
    pairs: Sequence[Micrograph] = (),
) -> tuple[Detector, History]:
    """A detector trained on `patches` and added `pairs`, and its losses, one row for ten iterations.

    Defects marked `ignore` are neither defects nor background. From scratch, grey
    levels are normalised by `patches` alone, so that adding pairs changes
    nothing else. An interrupted training resumes from the
    checkpoints in `workdir`. Raises TemDataError where there is nothing to learn
    from, and as `fit` does.
    """
    if not any(not d.ignore for patch in patches for d in patch.defects):
        raise TemDataError("the training patches hold no defect to learn from; look at the patch stage's counts")
    about = about_patches(patches, classes, settings.network)
    cfg = detector_config(settings, classes, about.grey_mean, max(about.grey_std, 1.0))
    model = new_network(ignoring(cfg), settings.weights, seed)
    pool, side = [*patches, *pairs], patches[0].shape[0]

    def batch_loss(model: nn.Module, rng: np.random.Generator, step: int, part: slice) -> dict[str, torch.Tensor]:
        short_side = draw_side(rng, int(rng.choice(cfg.INPUT.MIN_SIZE_TRAIN)) or side, settings.scale)
        looks = [draw_look(rng, settings) for _ in range(settings.batch_size)]
        chosen = batch_indices(len(patches), len(pairs), settings, seed, step)
        batch = list(zip(chosen, looks, strict=True))[part]
        return _losses(
            model, [detectron2_dict(pool[i], classes, short_side, look, ignored=True) for i, look in batch], step
        )

    optimizer = _optimizer(model, settings)
    schedule = _schedule(optimizer, settings)
    run = settings, workdir, seed
    model, rows = fit(model.train(), batch_loss, optimizer, schedule, *run, section="detector")
    history = [row | {"step": k} for k, row in enumerate(rows) if k % REPORT_STEPS == 0]
    return Detector(model, cfg, about), history


def _losses(model: nn.Module, batch: list[dict], step: int) -> dict[str, torch.Tensor]:
    """detectron2's, and `loss`, their sum. Raises SettingError where its proposals are not finite."""
    try:
        with EventStorage(step):  # detectron2 wants one open, though nothing reads it
            losses = model(batch)
    except FloatingPointError as error:
        problem = f"the detector's proposals are no longer finite at iteration {step}; lower it and start again"
        raise SettingError("detector", "learning_rate", problem) from error
    return {"loss": sum(losses.values()), **losses}


def detectron2_dict(
    patch: Micrograph, classes: Sequence[str], short_side: int = 0, look: Look | None = None, ignored: bool = False
) -> dict:
    """A patch as detectron2's model takes it, brought to `short_side` px (0: as it is) and changed as `look` says.

    `image` is (3, h, w) uint8, `instances` has boxes in px and bit masks; ignored defects are left out, or with
    `ignored` of class IGNORED, which `ignoring` models know.
    """
    defects = [d for d in patch.defects if ignored or not d.ignore]
    image = torch.from_numpy(look.of(patch.pixels) if look else patch.pixels).expand(3, *patch.shape)
    drawn = np.zeros((len(defects), *patch.shape), bool)
    for mask, defect in zip(drawn, defects, strict=True):
        paste(mask, defect, 1)
    masks = torch.from_numpy(drawn)
    edges = [(x, y, x + w, y + h) for x, y, w, h in (d.bbox for d in defects)]
    boxes = torch.tensor(edges).reshape(-1, 4).float()
    scale = short_side / min(patch.shape) if short_side else 1.0
    if scale != 1.0:
        size = tuple(round(side * scale) for side in patch.shape)
        image = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
        if defects:
            masks = F.interpolate(masks[None].float(), size, mode="bilinear")[0] > 0.5
        else:
            masks = masks.new_zeros((0, *size))
        boxes = boxes * scale
    instances = Instances(tuple(image.shape[1:]))
    instances.gt_boxes = Boxes(boxes)
    numbers = [IGNORED if d.ignore else classes.index(d.category) for d in defects]
    instances.gt_classes = torch.tensor(numbers, dtype=torch.int64)
    instances.gt_masks = BitMasks(masks)
    return {"image": image, "instances": instances, "height": patch.shape[0], "width": patch.shape[1]}


def batch_indices(real: int, added: int, settings: DetectorSettings, seed: int, step: int) -> list[int]:
    """Which of `real` patches, and of `added` pairs numbered after them, step `step` takes.

    Pairs are the share `pairs_share` of all that was taken so far, and none in the last `real_last` of the
    iterations. Every epoch, of patches and of pairs, is a permutation of its own.
    """
    share = added / (real + added) if settings.pairs_share is None else settings.pairs_share
    mixed = round((1 - settings.real_last) * settings.iterations)

    def pairs_before(step: int) -> int:
        return int(share * settings.batch_size * min(step, mixed)) if added else 0

    first, last = (pairs_before(k) for k in (step, step + 1))
    size = settings.batch_size
    chosen = [_shuffled(real, seed, place) for place in range(step * size - first, (step + 1) * size - last)]
    return chosen + [real + _shuffled(added, seed, place) for place in range(first, last)]


def _shuffled(count: int, seed: int, place: int) -> int:
    epoch, within = divmod(place, count)
    return int(_epoch_order(count, seed, epoch)[within])


@lru_cache(maxsize=4)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 1, epoch]).permutation(count)


def _optimizer(model: nn.Module, settings: DetectorSettings) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(trained, settings.learning_rate, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(trained, settings.learning_rate, weight_decay=settings.weight_decay)


def _schedule(optimizer: torch.optim.Optimizer, settings: DetectorSettings) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "constant":
        return torch.optim.lr_scheduler.LinearLR(optimizer, 0.001, total_iters=WARM_UP)
    warm_up = min(0.1, 500 / settings.iterations)
    total = max(settings.iterations, 10) + 1  # with less, the warm-up's one step makes it divide by zero
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total, pct_start=warm_up)
