"""Train a Mask R-CNN on patches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write
from tem_data.core.micrograph import RECORDED, Micrograph
from tem_data.detection.detectron import BitMasks, Boxes, EventStorage, Instances
from tem_data.detection.model import Detector, DetectorSettings, detector_config, new_detector

WARM_UP = 1000


def train_detector(
    patches: Sequence[Micrograph],
    classes: Sequence[str],
    settings: DetectorSettings,
    seed: int,
    checkpoints: str | os.PathLike,
) -> tuple[Detector, list[dict]]:
    """A detector trained on `patches`, and its losses, one dict per ten iterations.

    Defects marked `ignore` are not shown to it. From scratch, grey levels are
    normalised by the patches as they were recorded, so that adding generated or
    pasted ones changes nothing else. What iteration k does follows
    from `(seed, k)` alone, and the folder `checkpoints` keeps the state every
    `checkpointing_steps`: a training that was killed goes on where it stood and
    ends in the same weights. Raises TemDataError where there is nothing to
    learn from or the loss is no longer finite.
    """
    if not any(not d.ignore for patch in patches for d in patch.defects):
        raise TemDataError("the training patches hold no defect to learn from; look at the patch stage's counts")
    recorded = [patch for patch in patches if patch.origin in RECORDED] or patches
    grey = np.concatenate([patch.image.ravel()[::16] for patch in recorded])
    cfg = detector_config(settings, classes, float(grey.mean()), float(max(grey.std(), 1.0)))
    detector = new_detector(cfg, classes, settings.weights, seed)
    model = detector.model.train()
    optimizer = _optimizer(model, settings)
    schedule = _schedule(optimizer, settings)
    checkpoint = Path(checkpoints, "checkpoint.pt")
    start, history = _resume(checkpoint, model, optimizer, schedule)

    steps = tqdm(range(start, settings.iterations), "Mask R-CNN", initial=start, total=settings.iterations)
    for step in steps:
        torch.manual_seed(_step_seed(seed, step))
        rng = np.random.default_rng([seed, step])
        short_side = int(rng.choice(cfg.INPUT.MIN_SIZE_TRAIN))
        batch = [
            detectron2_dict(patches[i], classes, short_side)
            for i in batch_indices(len(patches), settings.batch_size, seed, step)
        ]
        losses = _losses(model, batch, step)
        total = sum(losses.values())
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            history.append({"step": step, "loss": total.item(), **{k: v.item() for k, v in losses.items()}})
            steps.set_postfix(loss=f"{total.item():.3f}")
        if (step + 1) % settings.checkpointing_steps == 0:
            _save(checkpoint, step + 1, history, model, optimizer, schedule)
    return Detector(model.eval(), cfg, tuple(classes)), history


def _losses(model: torch.nn.Module, batch: list[dict], step: int) -> dict[str, torch.Tensor]:
    """Raises TemDataError where one is not finite."""
    try:
        with EventStorage(step):  # detectron2 wants one open, though nothing reads it
            losses = model(batch)
        finite = all(torch.isfinite(loss) for loss in losses.values())
    except FloatingPointError:  # detectron2's, where its proposals are not finite
        finite = False
    if not finite:
        raise TemDataError(f"the detector's loss is no longer finite at iteration {step}; lower detector.learning_rate")
    return losses


def detectron2_dict(patch: Micrograph, classes: Sequence[str], short_side: int) -> dict:
    """A patch as detectron2's model takes it, brought to `short_side` px (0: as it is).

    `image` is (3, h, w) uint8, `instances` has boxes in px and bit masks; ignored defects are left out.
    """
    defects = [d for d in patch.defects if not d.ignore]
    image = torch.from_numpy(patch.image).expand(3, *patch.shape)
    masks = np.zeros((len(defects), *patch.shape), bool)
    for mask, defect in zip(masks, defects, strict=True):
        x, y, w, h = defect.bbox
        mask[y : y + h, x : x + w] = defect.mask
    masks = torch.from_numpy(masks)
    boxes = torch.tensor([(x, y, x + w, y + h) for x, y, w, h in (d.bbox for d in defects)]).reshape(-1, 4).float()
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
    instances.gt_classes = torch.tensor([classes.index(d.category) for d in defects], dtype=torch.int64)
    instances.gt_masks = BitMasks(masks)
    return {"image": image, "instances": instances, "height": patch.shape[0], "width": patch.shape[1]}


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Which of `count` items step `step` takes: every epoch is a permutation of its own."""
    picked = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, place = divmod(position, count)
        picked.append(int(_epoch_order(count, seed, epoch)[place]))
    return picked


@lru_cache(maxsize=2)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 1, epoch]).permutation(count)


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, 2, step]).generate_state(1)[0])


def _optimizer(model: torch.nn.Module, settings: DetectorSettings) -> torch.optim.Optimizer:
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


def _save(path: Path, step: int, history: list[dict], *parts: Iterable) -> None:
    with atomic_write(path) as draft:
        torch.save({"step": step, "history": history, "parts": [part.state_dict() for part in parts]}, draft)


def _resume(path: Path, *parts: Iterable) -> tuple[int, list[dict]]:
    if not path.exists():
        return 0, []
    state = torch.load(path, map_location="cpu", weights_only=True)
    for part, saved in zip(parts, state["parts"], strict=True):
        part.load_state_dict(saved)
    return state["step"], state["history"]
