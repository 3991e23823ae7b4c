"""How the autoencoder and the denoiser are trained: an average of the weights is the result, measured on the way."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from torch import nn

from tem_data.core.errors import SettingError, TemDataError
from tem_data.training.checkpoints import History, Progress, Row
from tem_data.training.loop import BatchLoss, Network, fit
from tem_data.training.settings import TrainingSettings

Measure = Callable[[Any, int], dict[str, float]]


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


class Average:
    """The exponential average of the weights of `model`, and what it was at the lowest `val_loss`.

    `measures` are pairs `(every, measure)`: `measure(model, step)` scores the
    average after each `every` steps and after the last, on the main process.
    """

    def __init__(self, model: nn.Module, settings: TrainingSettings, measures: Sequence[tuple[int, Measure]]):
        self.settings = settings
        self.measures = measures
        self.ema = EMAModel(model.parameters(), decay=settings.ema_decay)
        self.best = copy.deepcopy(self.ema)
        self.best_step: int | None = None
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        self.device = device
        self.ema.to(device)
        self.best.to(device)

    def state_dict(self) -> dict[str, Any]:
        return {"ema": self.ema.state_dict(), "best": self.best.state_dict(), "best_step": self.best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ema.load_state_dict(state["ema"])
        self.best.load_state_dict(state["best"])
        self.best_step = state["best_step"]
        self.to(self.device)

    def due(self, step: int) -> list[Measure]:
        """What is to be measured after `step` steps."""
        return [measure for every, measure in self.measures if step == self.settings.steps or step % every == 0]

    def follow(self, accelerator: Accelerator, model: nn.Module, progress: Progress) -> None:
        """Take in the weights of the last step, and note in `progress` what is due and whether to stop."""
        self.ema.step(model.parameters())
        row = progress.history[-1]
        if not self.due(row["step"]):
            return
        scores = self._scores(accelerator, model, row["step"])
        row.update(scores)
        progress.stopped = stop_reason(progress.history, self.settings)
        if progress.stopped:
            row["stopped"] = progress.stopped
        elif "val_loss" in scores and best_validation(progress.history) is row:
            self.best.load_state_dict(self.ema.state_dict())
            self.best_step = row["step"]

    @torch.no_grad()
    def _scores(self, accelerator: Accelerator, model: nn.Module, step: int) -> dict[str, float]:
        """What the average scores on the main process; all processes learn it."""
        scores: dict[str, float] = {}
        if accelerator.is_main_process:
            model = accelerator.unwrap_model(model)
            self.ema.store(model.parameters())
            self.ema.copy_to(model.parameters())
            model.eval()
            for measure in self.due(step):
                scores.update({name: float(value) for name, value in measure(model, step).items()})
            self.ema.restore(model.parameters())
        scores = broadcast_object_list([scores])[0]
        if not all(map(math.isfinite, scores.values())):
            raise TemDataError(f"the averaged weights score {scores}; expected finite numbers: lower learning_rate")
        return scores

    def copy_to(self, model: nn.Module, stopped: bool) -> None:
        """Give `model` the average; where the training was `stopped`, the best one before, if there is one."""
        (self.best if stopped and self.best_step else self.ema).copy_to(model.parameters())


def fit_averaged(
    model: Network,
    batch_loss: BatchLoss,
    validate: Callable[[Network], dict[str, float]],
    settings: TrainingSettings,
    workdir: str | os.PathLike,
    seed: int,
    callback: Callable[[int], None] | None = None,
    *,
    section: str,
    sample: Measure | None = None,
) -> tuple[Network, History]:
    """Train `model` with `fit`, as `settings` say. Returns it with the averaged weights, and `fit`'s history.

    `validate(model)` scores the averaged weights; so does `sample(model, step)`,
    which also draws a sheet of its own. The scores are in the history, and
    `stopped`, in its last row, says why the training ended early.

    Raises TemDataError where samples are to end the training and none are
    drawn, where a score is not finite, and as `fit` does.
    """
    sampled = [(settings.sample_steps, sample)] if sample is not None and settings.sample_steps > 0 else []
    if settings.min_memorisation_ratio and not sampled:
        raise SettingError(
            section,
            "min_memorisation_ratio",
            f"{settings.min_memorisation_ratio:g} is measured on samples, and none are drawn; set sample_steps",
        )
    measures: list[tuple[int, Measure]]
    measures = [(settings.validation_steps, lambda model, step: validate(model)), *sampled]
    # LambdaLR multiplies the optimizer's own rate, and `learning_rate` is all of it.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate, settings=settings))
    average = Average(model, settings, measures)
    run = settings, workdir, seed, callback
    return fit(model, batch_loss, optimizer, schedule, *run, section=section, average=average)
