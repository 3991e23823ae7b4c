"""Masks from fitted shapes or from a brush, and micrographs painted under them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZipFile

import cv2
import numpy as np
from PIL import Image

from tem_data.app.session import check, held
from tem_data.core.errors import TemDataError
from tem_data.figures.pictures import colour_of
from tem_data.masks.sampler import MaskSampler
from tem_data.masks.settings import MaskSettings
from tem_data.masks.shapes import load_shapes

if TYPE_CHECKING:
    from tem_data.diffusion import MaskToMicrographPipeline

OPAQUE = 128


class Masks(NamedTuple):
    """Class masks (n, h, w) uint8, instance maps (n, h, w) uint16, and nm per px (n,), None where it is not known."""

    classes: np.ndarray
    instances: np.ndarray
    nm_per_px: np.ndarray | None


class Asked(NamedTuple):
    """How pictures are painted: the first seed, those of the others follow it."""

    seed: int
    guidance: float
    steps: int


def sampled(shapes: Path, class_names: Sequence[str], settings: MaskSettings, seed: int, count: int) -> Masks:
    """Masks drawn from a file of `fit-shapes`. Raises TemDataError where it has other classes than the model."""
    fitted = load_shapes(shapes)
    if set(fitted.classes) != set(class_names):
        raise TemDataError(
            f"{shapes}: classes {list(fitted.classes)}; the model paints {list(class_names)}: give shapes of these"
        )
    sampler = MaskSampler(fitted, settings)
    batches = list(sampler.batches(seed, 0, count))
    values = np.array([0, *(class_names.index(name) + 1 for name in sampler.classes)], np.uint8)
    classes, instances, scales = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("class_masks", "instances", "unit_per_px")
    )
    return Masks(values[classes], instances, scales if fitted.unit == "nm" else None)


def brushed(layers: Sequence[np.ndarray], class_names: Sequence[str], side_px: int, count: int) -> Masks:
    """The mask that was drawn with a brush in the colours of the classes, `count` times.

    `layers` are RGBA pictures. Parts of one class that do not touch are defects of their own. Raises TemDataError
    where nothing was drawn.
    """
    colours = np.array([_rgb(colour_of(name, class_names)) for name in class_names], int)
    mask = np.zeros((side_px, side_px), np.uint8)
    for layer in layers:
        small = cv2.resize(layer, (side_px, side_px), interpolation=cv2.INTER_NEAREST)
        distance = np.abs(small[:, :, None, :3].astype(int) - colours).sum(-1)
        mask = np.where(small[:, :, 3] >= OPAQUE, distance.argmin(-1).astype(np.uint8) + 1, mask)
    if not mask.any():
        raise TemDataError("the mask is empty: draw defects with the brush, a colour for each class")
    instances = np.zeros(mask.shape, np.uint16)
    for value in np.unique(mask[mask > 0]):
        parts = cv2.connectedComponents((mask == value).astype(np.uint8))[1]
        instances[parts > 0] = parts[parts > 0] + instances.max()
    return Masks(np.repeat(mask[None], count, 0), np.repeat(instances[None], count, 0), None)


def paint(
    pipeline: MaskToMicrographPipeline,
    lock: Lock,
    stop: Event,
    masks: Masks,
    asked: Asked,
    told: Callable[[float, str], None],
) -> np.ndarray:
    """Micrographs (n, h, w) uint8. Raises TemDataError for what the model cannot paint, and Stopped."""
    count, done = len(masks.classes), 0

    def step(_: Any, number: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        check(stop)
        told((done + (number + 1) / asked.steps) / count, f"picture {done + 1} of {count}")
        return tensors

    pictures = []
    with held(lock, stop):
        for done in range(count):
            pictures.append(
                pipeline(
                    masks.classes[done],
                    [asked.seed + done],
                    masks.instances[done],
                    None if masks.nm_per_px is None else float(masks.nm_per_px[done]),
                    asked.steps,
                    asked.guidance,
                    callback_on_step_end=step,
                )
            )
    return np.concatenate(pictures)


def coloured(mask: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """A class mask (h, w) as RGB uint8, on black."""
    return np.array([(0, 0, 0), *(_rgb(colour_of(name, class_names)) for name in class_names)], np.uint8)[mask]


def packed(path: Path, images: np.ndarray, masks: Masks, class_names: Sequence[str], asked: Asked) -> Path:
    """A zip file with each picture, its class mask and its instance map as PNG, and how they were made."""
    about = {
        "classes": {name: value for value, name in enumerate(class_names, 1)},
        "nm_per_px": None if masks.nm_per_px is None else masks.nm_per_px.tolist(),
        "seeds": list(range(asked.seed, asked.seed + len(images))),
        "guidance_scale": asked.guidance,
        "num_inference_steps": asked.steps,
    }
    with ZipFile(path, "w") as file:
        file.writestr("painted.json", json.dumps(about, indent=2))
        for number, parts in enumerate(zip(images, masks.classes, masks.instances, strict=True), 1):
            for kind, array in zip(("images", "masks", "instances"), parts, strict=True):
                with file.open(f"{kind}/{number:03d}.png", "w") as stream:
                    Image.fromarray(array).save(stream, "PNG")
    return path


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))
