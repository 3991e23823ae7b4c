"""Pictures follow from their seeds with any scheduler of diffusers, and callbacks see each step."""

import diffusers
import diffusers.callbacks
import numpy as np
import pytest
import torch

from tem_data.core.errors import TemDataError
from tem_data.diffusion.known import KnownPictures
from tests.helpers.toy_ldm import conditioning, toy, untrained

STOCHASTIC = [
    ("EulerAncestralDiscreteScheduler", {}, {}),
    ("DDPMScheduler", {}, {}),
    ("DDIMScheduler", {}, {"eta": 1.0}),
    ("LCMScheduler", {}, {}),
    ("KDPM2AncestralDiscreteScheduler", {}, {}),
    ("TCDScheduler", {}, {}),
    ("SASolverScheduler", {}, {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ("DPMSolverSDEScheduler", {}, {}),
]
OTHERS = ["DDIM", "DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "DEISMultistep", "PNDM"]
OTHERS += ["EulerDiscrete", "HeunDiscrete", "KDPM2Discrete", "LMSDiscrete"]
MASK = toy(1, 3).conditioning.masks[0]


def pipeline_of(scheduler: str, **options):
    if scheduler == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    pipeline = untrained()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = getattr(diffusers, scheduler).from_config(pipeline.scheduler.config, **options)
    return pipeline


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.abs(one.astype(int) - other).max() <= 1 and (one != other).mean() < 0.01


@pytest.mark.parametrize(
    "name, options, more",
    STOCHASTIC + [(f"{name}Scheduler", {}, {}) for name in OTHERS],
    ids=[name for name, *_ in STOCHASTIC] + OTHERS,
)
def test_a_picture_follows_from_its_seed_whatever_the_batch(name, options, more):
    pipeline, seeds = pipeline_of(name, **options), [5, 6, 5, 8]

    def paint(batch_size):
        return pipeline([MASK] * 4, seeds, num_inference_steps=4, batch_size=batch_size, **more)

    torch.manual_seed(0)
    together = paint(None)
    torch.manual_seed(1)
    np.testing.assert_array_equal(paint(None), together)
    for batch_size in (1, 3):
        assert same(paint(batch_size), together)
    assert same(together[0], together[2]) and not same(together[0], together[1])
    assert together[0].std() > 5


def test_eta_of_1_is_that_of_ddpm_and_0_the_default():
    pipeline = pipeline_of("DDIMScheduler")
    none, zero, half, one = (pipeline(MASK, 5, num_inference_steps=3, eta=eta) for eta in (None, 0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none, zero)
    assert not same(half, zero) and not same(one, half)
    ddpm = pipeline_of("DDPMScheduler")(MASK, 5, num_inference_steps=3)
    assert np.abs(one.astype(int) - ddpm).mean() < 0.5


@pytest.mark.parametrize("name, options, more", STOCHASTIC, ids=[name for name, *_ in STOCHASTIC])
def test_the_noise_of_a_scheduler_comes_from_the_seed(name, options, more, monkeypatch):
    pipeline = pipeline_of(name, **options)
    one = pipeline(MASK, 5, num_inference_steps=3, **more)
    monkeypatch.setattr("tem_data.diffusion.solving.SOLVER_SEED", 3)
    assert not same(pipeline(MASK, 5, num_inference_steps=3, **more), one)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_noise_of_a_scheduler_is_not_that_of_the_start(steps, monkeypatch):
    drawn = []
    from diffusers.schedulers import scheduling_ddpm

    def recorded(*values, original=scheduling_ddpm.randn_tensor, **more):
        drawn.append(original(*values, **more))
        return drawn[-1]

    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", recorded)
    pipeline_of("DDPMScheduler")(MASK, 5, num_inference_steps=steps)
    start = torch.randn(drawn[0].shape[1:], generator=torch.Generator().manual_seed(5))
    assert len(drawn) == steps
    for noise in drawn:
        assert abs(torch.corrcoef(torch.stack([noise.ravel(), start.ravel()]))[0, 1]) < 0.3
    assert len(drawn) < 2 or not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize(
    "scheduler, options, message",
    [
        (
            "FlowMatchEulerDiscreteScheduler",
            {},
            "found FlowMatchEulerDiscreteScheduler; take one of DPMSolverMultistep",
        ),
        ("EDMEulerScheduler", {}, "found EDMEulerScheduler; take one of"),
        ("ScoreSdeVeScheduler", {}, "found ScoreSdeVeScheduler; take one of"),
        ("DDIMScheduler", {"prediction_type": "epsilon"}, "found a DDIMScheduler with 'epsilon'; make it by DDIMSch"),
        ("RePaintScheduler", {}, "RePaintScheduler fails in a step: .*missing"),
        ("LCMScheduler", {"original_inference_steps": 2}, "LCMScheduler fails with num_inference_steps=3: "),
    ],
)
def test_a_scheduler_that_does_not_suit_is_told_in_one_line(scheduler, options, message):
    pipeline = pipeline_of(scheduler, **options)
    with pytest.raises(TemDataError, match=message) as caught:
        pipeline(MASK, 5, num_inference_steps=3)
    assert "\n" not in str(caught.value)


def test_known_pictures_need_a_scheduler_of_which_the_noise_is_known():
    known = KnownPictures(MASK[None], MASK[None] > 0)
    with pytest.raises(TemDataError, match="EulerDiscreteScheduler cannot paint into known pictures; take DPM"):
        pipeline_of("EulerDiscreteScheduler").paint(conditioning(MASK[None]), [1], 2, known=known)


def test_latents_that_are_not_finite_are_told():
    pipeline = untrained()
    end = {"latents": torch.full((1, 2, 8, 8), torch.nan)}
    with pytest.raises(TemDataError, match="DPMSolverMultistepScheduler ended in latents that are not finite"):
        pipeline(MASK, 1, num_inference_steps=2, callback_on_step_end=lambda *_: end)


def test_a_callback_sees_each_step_of_each_batch_and_replaces_latents():
    pipeline, seen = untrained(), []
    pipeline.set_progress_bar_config(disable=True)

    def zero(called_by, step, time, given):
        assert called_by is pipeline
        seen.append((step, int(time), tuple(given["latents"].shape)))
        return {"latents": torch.zeros_like(given["latents"])}

    def paint(**more):
        return pipeline([MASK] * 3, 7, num_inference_steps=2, batch_size=2, **more)

    zeroed = paint(callback_on_step_end=zero)
    assert [(step, shape) for step, _, shape in seen] == [(k, (n, 2, 8, 8)) for n in (2, 1) for k in (0, 1)]
    assert seen[0][1] == 999 > seen[1][1]
    expected = pipeline.autoencoder.decode(torch.zeros(3, 2, 8, 8), [7, 8, 9])
    np.testing.assert_array_equal(zeroed, expected)
    for nothing in (lambda *_: None, lambda *given: given[-1], lambda *_: {}):
        np.testing.assert_array_equal(paint(callback_on_step_end=nothing), paint())
    without: list = []
    paint(callback_on_step_end=lambda *given: without.append(given[-1]), callback_on_step_end_tensor_inputs=[])
    assert without == [{}] * 4


@pytest.mark.parametrize("returned", [3, {"latents": None}, {"latents": torch.zeros(1)}])
def test_what_a_callback_returns_is_checked(returned):
    with pytest.raises(TemDataError, match="callback_on_step_end: expected it to return a dict, with latents of shape"):
        untrained()(MASK, 1, num_inference_steps=1, callback_on_step_end=lambda *_: returned)


def test_a_callback_of_diffusers_that_needs_other_tensors_is_refused():
    with pytest.raises(TemDataError, match=r"tensor_inputs: expected \['latents'\], found \['prompt_embeds'\]"):
        untrained()(MASK, 1, callback_on_step_end=diffusers.callbacks.SDCFGCutoffCallback(cutoff_step_ratio=0.5))
