"""Training that survives being killed: the one loop of the autoencoder and of the denoiser.

What step k sees (batch, noise, timesteps) comes from a generator seeded by
`(seed, k)` alone, and the learning rate is a function of k, so that a run that
was killed and started again ends, on the CPU, with the same bytes as one that
was not.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.training_utils import EMAModel
from torch import nn
from tqdm.auto import tqdm

from tem_data.errors import TemDataError
from tem_data.files import read_json, write_json

History = list[dict[str, float | None]]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    `steps` of AdamW on `batch_size` patches, which all processes and the
    `gradient_accumulation_steps` parts share; the learning rate rises linearly
    over `warmup_steps` to `learning_rate` and falls to 0 as a cosine. The
    result is the average of the weights with `ema_decay`. `mixed_precision` is
    no, fp16 or bf16. A checkpoint every `checkpointing_steps`, of which the last
    `checkpoints_total_limit` stay; validation on `validation_patches` evenly
    spaced patches every `validation_steps`.
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


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Of step 0, 1, …: a linear rise, then half a cosine down to 0 after the last step."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def evenly_spaced(n: int, wanted: int) -> np.ndarray:
    """At most `wanted` of the indices 0 … n - 1, from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, wanted)).round().astype(int))


def fit(
    model: nn.Module,
    batch_loss: Callable[[nn.Module, np.random.Generator, slice], torch.Tensor],
    validate: Callable[[nn.Module], dict[str, float]],
    settings: TrainingSettings,
    workdir: str | os.PathLike,
    seed: int,
    callback: Callable[[int], None] | None = None,
) -> tuple[nn.Module, History]:
    """Train `model`, going on from the latest checkpoint in `workdir` if there is one.

    `batch_loss(model, rng, part)` draws a whole batch of `settings.batch_size`
    from `rng` and returns the mean loss of its `part`. `validate(model)` scores
    the averaged weights. `callback(step)` runs after each step. Returns the
    model with the averaged weights and one row for each step: step, loss and,
    where it was measured, what `validate` returned.

    Raises TemDataError where the batch cannot be shared out evenly, where the
    loss is not finite, and where the checkpoint was made with other settings.
    """
    # All Accelerators of a process share one mixed precision, that of the first; this is a new training.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=settings.mixed_precision, gradient_accumulation_steps=settings.gradient_accumulation_steps
    )
    _check_batch(settings, accelerator)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    ema = EMAModel(model.parameters(), decay=settings.ema_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(ema)
    ema.to(accelerator.device)
    checkpoints = Checkpoints(Path(workdir), accelerator, {**asdict(settings), "seed": seed}, settings)
    history = checkpoints.resume()
    ema.to(accelerator.device)

    steps = range(len(history), settings.steps)
    bar = tqdm(steps, initial=len(history), total=settings.steps, disable=not accelerator.is_main_process)
    for step in bar:
        loss = _step(accelerator, model, optimizer, batch_loss, settings, seed, step)
        ema.step(model.parameters())
        history.append({"step": step + 1, "loss": loss})
        done = step + 1
        if done % settings.validation_steps == 0 or done == settings.steps:
            history[-1].update(_validate(accelerator.unwrap_model(model), ema, validate))
        if done % settings.checkpointing_steps == 0 or done == settings.steps:
            checkpoints.save(history)
        bar.set_postfix({name: f"{value:.4g}" for name, value in history[-1].items() if name != "step"})
        if callback:
            callback(done)
    model = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    ema.copy_to(model.parameters())
    return model.eval(), history


def _check_batch(settings: TrainingSettings, accelerator: Accelerator) -> None:
    parts = accelerator.num_processes * settings.gradient_accumulation_steps
    if settings.batch_size % parts:
        raise TemDataError(
            f"params.yaml: batch_size {settings.batch_size} is no multiple of {accelerator.num_processes} processes "
            f"× gradient_accumulation_steps {settings.gradient_accumulation_steps}; make it one"
        )


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


@torch.no_grad()
def _validate(model: nn.Module, ema: EMAModel, validate: Callable) -> dict[str, float]:
    ema.store(model.parameters())
    ema.copy_to(model.parameters())
    model.eval()
    scores = validate(model)
    ema.restore(model.parameters())
    return scores


@dataclass(frozen=True)
class Checkpoints:
    """The folders `checkpoint-N` in `folder`: the whole state after N steps, each of them complete."""

    folder: Path
    accelerator: Accelerator
    identity: dict
    settings: TrainingSettings

    def found(self) -> list[Path]:
        """All checkpoints, the latest last."""
        return sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))

    def resume(self) -> History:
        """Load the latest checkpoint and return its history; an empty one if there is no checkpoint."""
        found = self.found()
        if not found:
            return []
        stored = read_json(found[-1] / "history.json")
        now = json.loads(json.dumps(self.identity))
        changed = sorted(name for name in now if stored["identity"].get(name) != now[name])
        if changed:
            raise TemDataError(f"{found[-1]}: made with another {changed}; delete {self.folder} or set them back")
        self.accelerator.load_state(str(found[-1]))
        return stored["history"]

    def save(self, history: History) -> None:
        """Write `checkpoint-N` under a temporary name, move it into place and delete the oldest ones."""
        target = self.folder / f"checkpoint-{len(history)}"
        draft = target.with_name(f".{target.name}.partial")
        if self.accelerator.is_main_process:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(draft))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            write_json(draft / "history.json", {"identity": self.identity, "history": history})
            os.replace(draft, target)
            for old in self.found()[: -self.settings.checkpoints_total_limit]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()
