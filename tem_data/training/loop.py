"""Training that survives being killed: the one loop of autoencoder, denoiser and detector.

What step k sees (batch, noise, timesteps, proposals) comes from generators
seeded by `(seed, k)` alone, so that a run that was killed and started again
ends, on the CPU, with the same bytes as one that was not.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm.auto import tqdm

from tem_data.core.errors import SettingError
from tem_data.training.checkpoints import Checkpoints, History, Row, Stateful
from tem_data.training.settings import LoopSettings
from tem_data.training.tracking import check_trackers, trackers

if TYPE_CHECKING:
    from tem_data.training.averaged import Average

Network = TypeVar("Network", bound=nn.Module)
BatchLoss = Callable[[nn.Module, np.random.Generator, int, slice], dict[str, torch.Tensor]]
REPORT_STEPS = 10


def fit(
    model: Network,
    batch_loss: BatchLoss,
    optimizer: Optimizer,
    schedule: LRScheduler,
    settings: LoopSettings,
    workdir: str | os.PathLike,
    seed: int,
    callback: Callable[[int], None] | None = None,
    *,
    section: str,
    average: Average | None = None,
) -> tuple[Network, History]:
    """Train `model`, going on from the latest checkpoint in `workdir` if there is one.

    `batch_loss(model, rng, step, part)` draws the whole batch of step 0, 1, …,
    `settings.batch_size` items, and returns losses by name, the mean over its
    `part`; `loss` is what the training lowers. Chance comes from `rng` or from
    torch's global generator, which each part has seeded for it. `schedule` moves
    on after each step, then runs `callback(step)`. Errors are of `section`.
    Trackers write to `workdir`/tensorboard and `workdir`/dvclive.

    Returns the model and one row for each step: step 1, 2, …, and the losses.
    With `average` the weights are its, and its scores are in the rows where they
    were measured; it may stop the training early.

    Raises SettingError where the batch cannot be shared out evenly, where the
    settings ask for what cannot be had and where the loss is not finite, and
    TemDataError where the checkpoint is damaged or was made with other settings.
    """
    accelerator = _accelerator(settings, workdir, section)
    model, optimizer = accelerator.prepare(model, optimizer)
    parts: dict[str, Stateful] = {"schedule": schedule}
    if average:
        parts["average"] = average
    identity = {**asdict(settings), "seed": seed}
    checkpoints = Checkpoints(Path(workdir), accelerator, parts, identity, settings.checkpoints_total_limit)
    progress = checkpoints.resume()
    if average:
        average.to(accelerator.device)

    bar = tqdm(desc=section, initial=progress.step, total=settings.steps, disable=not accelerator.is_main_process)
    with bar, trackers(accelerator, Path(workdir)):
        for row, rate in zip(progress.history, progress.rates, strict=True):
            _report(accelerator, average, row, rate)
        while not progress.ended(settings.steps):
            rate = optimizer.param_groups[0]["lr"]
            losses = _step(accelerator, model, optimizer, batch_loss, settings, seed, progress.step)
            schedule.step()
            row = progress.add(losses, rate)
            _check_finite(row, section)
            if average:
                average.follow(accelerator, model, progress)
            if progress.stopped:
                accelerator.on_main_process(tqdm.write)(
                    f"stopped at step {progress.step}: {progress.stopped}", file=sys.stderr
                )
            if progress.step % settings.checkpointing_steps == 0 or progress.ended(settings.steps):
                checkpoints.save(progress)
            _report(accelerator, average, row, rate)
            bar.set_postfix({name: f"{value:.4g}" for name, value in row.items() if isinstance(value, float)})
            bar.update()
            if callback:
                callback(progress.step)
    model = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    if average:
        average.copy_to(model, stopped=progress.stopped is not None)
    return model.eval(), progress.history


def _accelerator(settings: LoopSettings, workdir: str | os.PathLike, section: str) -> Accelerator:
    check_trackers(settings.report_to, section)
    # All Accelerators of a process share one mixed precision, that of the first; this is a new training.
    AcceleratorState._reset_state()
    if settings.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise SettingError(section, "mixed_precision", "fp16 needs a GPU, and there is none; choose bf16 or no")
    accelerator = Accelerator(
        mixed_precision=settings.mixed_precision,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        log_with=list(settings.report_to) or None,
        project_dir=workdir,
    )
    if settings.batch_size % (accelerator.num_processes * settings.gradient_accumulation_steps):
        raise SettingError(
            section,
            "batch_size",
            f"{settings.batch_size} is no multiple of {accelerator.num_processes} processes × "
            f"gradient_accumulation_steps {settings.gradient_accumulation_steps}; make it one",
        )
    return accelerator


def _step(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Optimizer,
    batch_loss: BatchLoss,
    settings: LoopSettings,
    seed: int,
    step: int,
) -> dict[str, float]:
    """One optimizer step; the mean losses over all parts of the batch."""
    model.train()
    turns, processes = settings.gradient_accumulation_steps, accelerator.num_processes
    size = settings.batch_size // (processes * turns)
    total: torch.Tensor | float = 0.0
    for turn in range(turns):
        part = turn * processes + accelerator.process_index
        torch.manual_seed(_part_seed(seed, step, part))
        with accelerator.accumulate(model):
            rng = np.random.default_rng([seed, step])
            losses = batch_loss(model, rng, step, slice(part * size, (part + 1) * size))
            accelerator.backward(losses["loss"])
            if accelerator.sync_gradients and settings.max_grad_norm:
                accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        total += torch.stack([loss.detach() for loss in losses.values()]) / turns
    return dict(zip(losses, accelerator.reduce(total, "mean").tolist(), strict=True))


def _part_seed(seed: int, step: int, part: int) -> int:
    # 2, as other streams of the same seed and step have other numbers there: `rng` none, the detector's epochs 1.
    return int(np.random.SeedSequence([seed, 2, step, part]).generate_state(1)[0])


def _check_finite(row: Row, section: str) -> None:
    if not math.isfinite(row["loss"]):
        problem = f"the loss of step {row['step']} is {row['loss']}; lower it and start again"
        raise SettingError(section, "learning_rate", problem)


def _report(accelerator: Accelerator, average: Average | None, row: Row, rate: float) -> None:
    """Every REPORT_STEPS and where something was measured, as DVCLive takes milliseconds a step."""
    step = row["step"]
    if step % REPORT_STEPS == 0 or (average and average.due(step)):
        values = {name: value for name, value in row.items() if name != "step"}
        accelerator.log({**values, "learning_rate": rate}, step=step)
