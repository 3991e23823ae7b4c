"""A scheduler of diffusers taken through its steps, so that a picture follows from its seed with any of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import SchedulerMixin

from tem_data.core.errors import TemDataError
from tem_data.diffusion.arguments import function_or_none, shown

# A seed also starts the diffusion (0) and the grain (1) of its picture; what a scheduler adds is to be independent.
SOLVER_SEED = 2
SUITABLE = "DPMSolverMultistepScheduler", "DDIMScheduler", "EulerAncestralDiscreteScheduler"
# What a callback at the end of a step may see and replace.
TENSOR_INPUTS = ("latents",)
# Given to a step's number, its time and its latents; gives the latents to go on with.
StepEnd = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]


class Solver:
    """A scheduler set to paint one batch: `times`, and `step` from one to the next.

    Where the scheduler adds noise, that of picture i is drawn on the CPU from `seeds[i]`
    alone. `eta` is DDIM's and TCD's share of such noise, by default the
    scheduler's own. Raises TemDataError where the scheduler cannot solve for a
    velocity, in so many steps, or with an `eta`.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        steps: int,
        seeds: Sequence[int],
        device: torch.device,
        eta: float | None = None,
    ):
        self.scheduler, self.name = scheduler, type(scheduler).__name__
        known = inspect.signature(scheduler.step).parameters if hasattr(scheduler, "step") else {}
        self._check(known, eta)
        self.options: dict[str, Any] = {}
        if "generator" in known:
            self.options["generator"] = [torch.Generator().manual_seed(_solver_seed(seed)) for seed in seeds]
        if eta is not None:
            # at 1 DDIM takes the root of a rounding error, which may be below 0
            self.options["eta"] = min(eta, 1 - 1e-6) if eta <= 1 else eta
        self._asked(f"with num_inference_steps={steps}", scheduler.set_timesteps, steps, device=device)
        if hasattr(scheduler, "set_begin_index"):  # many steps begin with several of one rounded time
            scheduler.set_begin_index(0)
        if hasattr(scheduler, "noise_sampler_seed"):  # DPMSolverSDE: a Brownian path for each picture
            scheduler.noise_sampler_seed = [_solver_seed(seed) for seed in seeds]

    @property
    def times(self) -> torch.Tensor:
        return self.scheduler.timesteps

    def step(self, velocity: torch.Tensor, time: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The latents at the next time."""
        return self._asked("in a step", self.scheduler.step, velocity, time, latents, **self.options).prev_sample

    def solved(self, latents: torch.Tensor) -> torch.Tensor:
        """The same latents. Raises TemDataError where they are not finite."""
        if not torch.isfinite(latents).all():
            raise TemDataError(
                f"{self.name} ended in latents that are not finite; take another scheduler, or a dtype of a wider range"
            )
        return latents

    def _check(self, known: Any, eta: float | None) -> None:
        if not known or not hasattr(self.scheduler, "alphas_cumprod"):
            raise TemDataError(
                f"scheduler: expected one that takes the noise off that the model was trained with, found {self.name}; "
                f"take one of {', '.join(SUITABLE)}"
            )
        if (told := self.scheduler.config.get("prediction_type")) != "v_prediction":
            raise TemDataError(
                f"scheduler: expected prediction_type 'v_prediction', found a {self.name} with {shown(told)}; make it "
                f"by {self.name}.from_config(pipeline.scheduler.config)"
            )
        if eta is not None and "eta" not in known:
            raise TemDataError(f"eta: expected None, since {self.name} has none, found {eta}; take DDIMScheduler")

    def _asked(self, doing: str, function: Callable[..., Any], *values: Any, **options: Any) -> Any:
        try:
            return function(*values, **options)
        except (ValueError, TypeError, NotImplementedError, ImportError) as error:
            line = str(error).strip().split("\n")[0]
            raise TemDataError(f"{self.name} fails {doing}: {line}; take other steps or another scheduler") from error


def _solver_seed(seed: int) -> int:
    return int(np.random.SeedSequence([int(seed), SOLVER_SEED]).generate_state(1)[0])


def step_end(pipeline: Any, callback: Any, names: Any) -> StepEnd | None:
    """diffusers' `callback_on_step_end(pipeline, step, timestep, callback_kwargs)`, which may replace the latents.

    `names` are its `callback_on_step_end_tensor_inputs`; its own `tensor_inputs`, where it has some, come first.
    Raises TemDataError for what is no function, and for other names than "latents".
    """
    function = function_or_none(callback, "callback_on_step_end")
    names = getattr(callback, "tensor_inputs", names)
    if not isinstance(names, (list, tuple)) or not all(name in TENSOR_INPUTS for name in names):
        raise TemDataError(
            f"callback_on_step_end_tensor_inputs: expected {list(TENSOR_INPUTS)}, found "
            f"{names if isinstance(names, (list, tuple)) else shown(names)}"
        )
    if function is None:
        return None

    def end(step: int, time: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        given = {"latents": latents} if "latents" in names else {}
        return _replaced(function(pipeline, step, time, given), latents)

    return end


def _replaced(returned: Any, latents: torch.Tensor) -> torch.Tensor:
    if returned is None:
        return latents
    changed = returned.get("latents", latents) if isinstance(returned, dict) else returned
    if not isinstance(changed, torch.Tensor) or changed.shape != latents.shape:
        raise TemDataError(
            f"callback_on_step_end: expected it to return a dict, with latents of shape {tuple(latents.shape)}, found "
            f"{shown(changed) if not isinstance(changed, torch.Tensor) else tuple(changed.shape)}"
        )
    return changed.to(latents)
