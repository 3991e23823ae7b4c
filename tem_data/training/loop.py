"""Training that survives being killed: the one loop of the autoencoder and of the denoiser.

What step k sees (batch, noise, timesteps) comes from a generator seeded by
`(seed, k)` alone, and the learning rate is a function of k, so that a run that
was killed and started again ends, on the CPU, with the same bytes as one that
was not.
"""

from __future__ import annotations

import copy
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from torch import nn
from tqdm.auto import tqdm

from tem_data.core.errors import TemDataError
from tem_data.training.checkpoints import Checkpoints, History, Row
from tem_data.training.tracking import check_trackers, trackers

Measure = Callable[[nn.Module], dict[str, float]]
REPORT_STEPS = 10


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    `steps` of AdamW on `batch_size` patches, which all processes and the
    `gradient_accumulation_steps` parts share; the learning rate rises linearly
    over `warmup_steps` to `learning_rate` and falls to 0 as a cosine. The
    result is the average of the weights with `ema_decay`. `mixed_precision` is
    no, fp16 or bf16. A checkpoint every `checkpointing_steps`, of which the last
    `checkpoints_total_limit` stay; validation on `validation_patches` evenly
    spaced patches every `validation_steps`, a sample sheet every `sample_steps`
    (0: never). The training ends early when `patience` validations in a row
    bring no lower `val_loss`, or when a sample's `memorisation_ratio` is below
    `min_memorisation_ratio` (0: never); the result is then that of the
    validation with the lowest `val_loss` before. `report_to` lists tensorboard
    and dvclive, which show the progress.
    """

    steps: int
    batch_size: int = 16
    learning_rate: float = 3e-4
    warmup_steps: int = 100
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.999
    gradient_accumulation_steps: int = 1
    mixed_precision: str = "no"
    checkpointing_steps: int = 500
    checkpoints_total_limit: int = 2
    validation_steps: int = 200
    validation_patches: int = 64
    sample_steps: int = 0
    patience: int = 0
    min_memorisation_ratio: float = 0.0
    report_to: Sequence[str] = ()


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Of step 0, 1, …: a linear rise, then half a cosine down to 0 after the last step."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def evenly_spaced(n: int, wanted: int) -> np.ndarray:
    """At most `wanted` of the indices 0 … n - 1, from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, wanted)).round().astype(int))


def best_validation(history: History) -> Row | None:
    """The row with the lowest `val_loss`, the first of equal ones; None if there is none."""
    return min((row for row in history if "val_loss" in row), key=lambda row: row["val_loss"], default=None)


def stop_reason(history: History, settings: TrainingSettings) -> str | None:
    """Why to end the training after the last row of `history`, and the step whose weights are kept; None to go on."""
    last, best = history[-1], best_validation(history)
    ratio = last.get("memorisation_ratio", math.inf)
    waited = sum("val_loss" in row for row in history[best["step"] :]) if best else 0
    if ratio < settings.min_memorisation_ratio:
        why = f"memorisation_ratio {ratio:.3g} is below {settings.min_memorisation_ratio:g}"
    elif settings.patience and waited >= settings.patience:
        why = f"val_loss has not improved for {waited} validations"
    else:
        return None
    kept = best_validation(history[:-1]) or last
    return f"{why}; the weights are those of step {kept['step']}"


def fit(
    model: nn.Module,
    batch_loss: Callable[[nn.Module, np.random.Generator, slice], torch.Tensor],
    validate: Measure,
    settings: TrainingSettings,
    workdir: str | os.PathLike,
    seed: int,
    callback: Callable[[int], None] | None = None,
    *,
    sample: Callable[[nn.Module, int], dict[str, float]] | None = None,
) -> tuple[nn.Module, History]:
    """Train `model`, going on from the latest checkpoint in `workdir` if there is one.

    `batch_loss(model, rng, part)` draws a whole batch of `settings.batch_size`
    from `rng` and returns the mean loss of its `part`. `validate(model)` scores
    the averaged weights; so does `sample(model, step)`, which also draws a sheet
    of its own. Both run on the main process, and after the last step too.
    `callback(step)` runs after each step. Returns the model with the averaged
    weights and one row for each step: step, loss and, where they were measured,
    what `validate` and `sample` returned; `stopped`, in the last row, says why
    the training ended early. Trackers write to `workdir`/tensorboard and
    `workdir`/dvclive.

    Raises TemDataError where the batch cannot be shared out evenly, where the
    settings ask for what cannot be had, where the loss is not finite, and where
    the checkpoint is damaged or was made with other settings.
    """
    accelerator = _accelerator(settings, workdir)
    _check(settings, accelerator, sample)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    ema = EMAModel(model.parameters(), decay=settings.ema_decay)
    best = copy.deepcopy(ema)
    identity = {**asdict(settings), "seed": seed}
    averages = {"ema": ema, "best": best}
    checkpoints = Checkpoints(Path(workdir), accelerator, averages, identity, settings.checkpoints_total_limit)
    history = checkpoints.resume()

    bar = tqdm(initial=len(history), total=settings.steps, disable=not accelerator.is_main_process)
    with bar, trackers(accelerator, Path(workdir)):
        for row in history:
            _report(accelerator, row, settings)
        while not _ended(history, settings):
            loss = _step(accelerator, model, optimizer, batch_loss, settings, seed, len(history))
            ema.step(model.parameters())
            history.append({"step": len(history) + 1, "loss": loss})
            row, done = history[-1], len(history)
            row.update(_measure(accelerator, model, ema, _due(done, settings, validate, sample)))
            if reason := _measured(row) and stop_reason(history, settings):
                row["stopped"] = reason
                accelerator.on_main_process(tqdm.write)(f"stopped at step {done}: {reason}", file=sys.stderr)
            elif "val_loss" in row and row is best_validation(history):
                best.load_state_dict(ema.state_dict())
            if done % settings.checkpointing_steps == 0 or _ended(history, settings):
                checkpoints.save(history)
            _report(accelerator, row, settings)
            bar.set_postfix({name: f"{value:.4g}" for name, value in row.items() if isinstance(value, float)})
            bar.update()
            if callback:
                callback(done)
    model = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    kept = best if "stopped" in history[-1] and best_validation(history[:-1]) else ema
    kept.copy_to(model.parameters())
    return model.eval(), history


def _accelerator(settings: TrainingSettings, workdir: str | os.PathLike) -> Accelerator:
    check_trackers(settings.report_to)
    # All Accelerators of a process share one mixed precision, that of the first; this is a new training.
    AcceleratorState._reset_state()
    try:
        return Accelerator(
            mixed_precision=settings.mixed_precision,
            gradient_accumulation_steps=settings.gradient_accumulation_steps,
            log_with=list(settings.report_to) or None,
            project_dir=workdir,
        )
    except ValueError as error:
        raise TemDataError(
            f"params.yaml: mixed_precision is {settings.mixed_precision!r} ({error}); expected no, fp16 or bf16"
        ) from error


def _check(settings: TrainingSettings, accelerator: Accelerator, sample: Callable | None) -> None:
    parts = accelerator.num_processes * settings.gradient_accumulation_steps
    if settings.batch_size % parts:
        raise TemDataError(
            f"params.yaml: batch_size {settings.batch_size} is no multiple of {accelerator.num_processes} processes "
            f"× gradient_accumulation_steps {settings.gradient_accumulation_steps}; make it one"
        )
    if settings.mixed_precision == "fp16" and not accelerator.native_amp:
        raise TemDataError("params.yaml: mixed_precision fp16 needs a GPU, and there is none; choose bf16 or no")
    if settings.min_memorisation_ratio and not (sample and settings.sample_steps):
        raise TemDataError(
            f"params.yaml: min_memorisation_ratio {settings.min_memorisation_ratio:g} is measured on samples, and "
            "none are drawn; set sample_steps of the ldm, or min_memorisation_ratio to 0"
        )


def _ended(history: History, settings: TrainingSettings) -> bool:
    return len(history) == settings.steps or (bool(history) and "stopped" in history[-1])


def _step(accelerator, model, optimizer, batch_loss, settings: TrainingSettings, seed: int, step: int) -> float:
    """One optimizer step; the mean loss over all parts of the batch."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, settings)
    size = settings.batch_size // (accelerator.num_processes * settings.gradient_accumulation_steps)
    total = torch.zeros((), device=accelerator.device)
    for turn in range(settings.gradient_accumulation_steps):
        start = (turn * accelerator.num_processes + accelerator.process_index) * size
        with accelerator.accumulate(model):
            loss = batch_loss(model, np.random.default_rng([seed, step]), slice(start, start + size))
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        total += loss.detach() / settings.gradient_accumulation_steps
    loss = accelerator.reduce(total, "mean").item()
    if not math.isfinite(loss):
        raise TemDataError(f"the loss of step {step + 1} is {loss}; lower learning_rate in params.yaml and start again")
    return loss


def _due(done: int, settings: TrainingSettings, validate: Measure, sample: Callable | None) -> list[Measure]:
    """What is to be measured after `done` steps."""

    def now(every: int) -> bool:
        return done == settings.steps or done % every == 0

    due = [validate] if now(settings.validation_steps) else []
    if sample and settings.sample_steps and now(settings.sample_steps):
        due.append(lambda model: sample(model, done))
    return due


@torch.no_grad()
def _measure(accelerator: Accelerator, model: nn.Module, ema: EMAModel, due: list[Measure]) -> dict[str, float]:
    """What the averaged weights score on the main process; all processes learn it."""
    if not due:
        return {}
    scores: dict[str, float] = {}
    if accelerator.is_main_process:
        model = accelerator.unwrap_model(model)
        ema.store(model.parameters())
        ema.copy_to(model.parameters())
        model.eval()
        for measure in due:
            scores.update({name: float(value) for name, value in measure(model).items()})
        ema.restore(model.parameters())
    scores = broadcast_object_list([scores])[0]
    if not all(map(math.isfinite, scores.values())):
        raise TemDataError(f"the averaged weights score {scores}; expected finite numbers: lower learning_rate")
    return scores


def _measured(row: Row) -> bool:
    return len(row) > 2


def _report(accelerator: Accelerator, row: Row, settings: TrainingSettings) -> None:
    """Every REPORT_STEPS and all that was measured, as DVCLive takes milliseconds a step."""
    step = row["step"]
    if step % REPORT_STEPS == 0 or _measured(row):
        values = {name: value for name, value in row.items() if name != "step"}
        accelerator.log({**values, "learning_rate": learning_rate(step - 1, settings)}, step=step)
