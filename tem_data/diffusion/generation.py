"""Many generated pairs, in shards that a killed run neither repeats nor leaves out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from tqdm.auto import tqdm

from tem_data.core.errors import TemDataError
from tem_data.diffusion.conditioning import Conditioning
from tem_data.diffusion.pipeline import KnownPictures, MaskToMicrographPipeline
from tem_data.diffusion.settings import GenerationSettings


class GenerationRequest(NamedTuple):
    """One picture to paint, without the first axis; `item` is whatever the caller needs, `known` what it is part of."""

    item: Any
    conditioning: Conditioning
    seed: int
    known: KnownPictures | None = None


# An image follows from its seed alone: no scheduler that draws noise of its own.
SCHEDULERS = {kind.__name__: kind for kind in (DDIMScheduler, DPMSolverMultistepScheduler)}


def generate(
    pipeline: MaskToMicrographPipeline,
    requests: Iterable[GenerationRequest],
    write_shard: Callable[[Path, list[Any], np.ndarray], None],
    folder: str | os.PathLike,
    settings: GenerationSettings,
    name: str = "train",
    total: int | None = None,
) -> list[Path]:
    """Paint a micrograph for each request and write `folder/{name}-00000.parquet`, `-00001`, …

    `requests` must be the same each time. `write_shard(path, items, images)` gets
    their items and the images (n, H, W) uint8, and must move a whole file into
    place. A shard whose file is there is skipped, so that a run
    after `kill -9` ends with the same bytes as one without; processes of
    `accelerate launch` take turns. Returns the paths of all shards, in order.
    """
    accelerator = Accelerator()
    if settings.scheduler:
        pipeline.scheduler = SCHEDULERS[settings.scheduler].from_config(pipeline.scheduler.config)
    pipeline.to(accelerator.device)
    pipeline.set_progress_bar_config(disable=True)
    paths = []
    with tqdm(total=total, desc="generate", unit="image", disable=not accelerator.is_main_process) as bar:
        for number, shard in enumerate(_shards(requests, settings.shard_rows)):
            paths.append(Path(folder, f"{name}-{number:05d}.parquet"))
            if paths[-1].exists() or number % accelerator.num_processes != accelerator.process_index:
                bar.update(len(shard))
                continue
            items, conditioning, seeds, known = zip(*shard, strict=True)
            images = pipeline.paint(
                _stacked(conditioning, paths[-1]),
                seeds,
                settings.num_inference_steps,
                settings.guidance_scale,
                settings.batch_size,
                bar.update,
                None if known[0] is None else KnownPictures(*map(np.stack, zip(*known, strict=True))),
            )
            write_shard(paths[-1], list(items), images)
    accelerator.wait_for_everyone()
    return paths


def _shards(requests: Iterable[GenerationRequest], rows: int) -> Iterator[list[GenerationRequest]]:
    source = iter(requests)
    return iter(lambda: list(itertools.islice(source, rows)), [])


def _stacked(conditioning: tuple[Conditioning, ...], path: Path) -> Conditioning:
    sizes = sorted({one.masks.shape for one in conditioning})
    if len(sizes) > 1:
        raise TemDataError(f"{path}: its masks have the sizes {sizes}; draw masks of one size only")
    return Conditioning(*map(np.stack, zip(*conditioning, strict=True)))
