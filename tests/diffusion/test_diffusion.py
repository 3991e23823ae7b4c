"""What the denoiser is told, the denoiser itself, and its training on a toy."""

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.settings import read_section
from tem_data.diffusion import denoiser as denoiser_module
from tem_data.diffusion import train_ldm
from tem_data.diffusion.conditioning import NO_MASK, ImageMaskPairs, instance_edges, mask_condition
from tem_data.diffusion.denoiser import (
    DenoisingLoss,
    MaskDenoiser,
    SpatialNorm,
    build_denoiser,
    noise_scheduler,
    sizes_differ,
)
from tem_data.diffusion.settings import LDMSettings
from tem_data.diffusion.steps import conditioning_of
from tem_data.training.averaged import fit_averaged
from tests.helpers.processes import Killed, killer
from tests.helpers.toy_ldm import LDM, conditioning, toy, trained, untrained_autoencoder


def test_condition_holds_the_shares_at_their_places():
    masks, edges = np.zeros((1, 16, 16), np.uint8), np.zeros((1, 16, 16), bool)
    masks[0, 8:10, 4:8] = 1  # half of the upper right quarter of latent pixel (1, 0)
    masks[0, 12:16, 8:12] = 2  # all of the lower left quarter of latent pixel (1, 1)
    masks[0, 0:4, 8:12] = 4  # ignored: all of the upper left quarter of latent pixel (0, 1)
    edges[0, 4:8, 0] = True  # a quarter of the lower left quarter of latent pixel (0, 0)
    condition = mask_condition(masks, edges, 3, 8)
    expected = torch.zeros(1, 20, 2, 2)
    expected[0, 0 * 4 + 0 * 2 + 1, 1, 0] = 0.5
    expected[0, 1 * 4 + 1 * 2 + 0, 1, 1] = 1.0
    expected[0, 3 * 4 + 0 * 2 + 0, 0, 1] = 1.0
    expected[0, 4 * 4 + 1 * 2 + 0, 0, 0] = 0.25
    torch.testing.assert_close(condition, expected)


@given(st.integers(1, 5), st.sampled_from([2, 4, 8]), st.integers(0, 2**32))
def test_condition_keeps_every_area(n_classes, factor, seed):
    masks = np.random.default_rng(seed).integers(0, n_classes + 2, (2, 16, 24), np.uint8)
    edges = instance_edges(masks)
    condition = mask_condition(masks, edges, n_classes, factor)
    areas = condition.reshape(2, n_classes + 2, -1).sum(2) * (factor / 2) ** 2
    expected = [
        [*(int((m == k).sum()) for k in range(1, n_classes + 2)), int(e.sum())]
        for m, e in zip(masks, edges, strict=True)
    ]
    assert areas.round().int().tolist() == expected


def test_edges_tell_touching_defects_of_a_class_apart():
    instances = np.zeros((1, 16, 16), np.uint16)
    instances[0, 4:12, 2:8], instances[0, 4:12, 8:14] = 1, 2
    masks = (instances > 0).astype(np.uint8)
    seam = np.zeros_like(masks, bool)
    seam[0, 4:12, 7:9] = True
    np.testing.assert_array_equal(instance_edges(instances) & ~instance_edges(masks), seam & ~instance_edges(masks))
    apart, joined = (mask_condition(masks, instance_edges(ids), 1, 4) for ids in (instances, masks))
    assert torch.equal(apart[:, :4], joined[:, :4])
    differs = (apart - joined).abs().sum(1)[0] > 0
    assert differs[1:3, 1:3].all() and differs.sum() == 4


@given(st.integers(0, 2**32))
def test_edges_lie_where_a_neighbour_differs(seed):
    ids = np.random.default_rng(seed).integers(0, 3, (5, 7), np.uint16)
    padded = np.pad(ids, 1, mode="edge")
    neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    np.testing.assert_array_equal(instance_edges(ids), np.any([ids != other for other in neighbours], 0))


@pytest.mark.parametrize(
    "masks, edges, message",
    [
        (np.full((1, 8, 8), 4, np.uint8), (1, 8, 8), "holds the value 4, but there are 2 classes"),
        (np.zeros((1, 12, 8), np.uint8), (1, 12, 8), "12×8 px: expected sides that are multiples"),
        (np.zeros((1, 8, 8), np.float32), (1, 8, 8), "masks of float32"),
        (np.zeros((8, 8), np.uint8), (8, 8), r"shape \(8, 8\)"),
        (np.zeros((1, 8, 8), np.uint8), (1, 8, 16), r"edges of shape \(1, 8, 16\)"),
    ],
)
def test_condition_refuses_wrong_masks(masks, edges, message):
    with pytest.raises(TemDataError, match=message):
        mask_condition(masks, np.zeros(edges, bool), 2, 8)


def test_ignored_defects_are_told_as_such_and_under_all_others():
    ambiguous, sliver, dot = np.ones((4, 6), bool), np.ones((2, 1), bool), np.ones((2, 2), bool)
    defects = (
        Defect("ambiguous", 1, 1, ambiguous, ignore=True),
        Defect("a", 0, 9, sliver, ignore=True),
        Defect("b", 5, 2, dot),
    )
    told = conditioning_of(Micrograph("m", None, defects, (12, 12)), ("a", "b"))
    expected = np.zeros((12, 12), np.uint8)
    expected[1:5, 1:7] = expected[9:11, 0] = 3
    expected[2:4, 5:7] = 2
    np.testing.assert_array_equal(told.masks, expected)
    assert told.edges[1, 1] and told.edges[2, 5] and told.edges[9, 0] and not told.edges[8, 8]


def inputs(seed: int = 0, nm_per_px: float = 0.5) -> tuple[torch.Tensor, ...]:
    """Two noisy latents with the masks of the toy."""
    generator = torch.Generator().manual_seed(seed)
    masks = toy(2, seed).conditioning
    condition = mask_condition(masks.masks, masks.edges, 1, 4)
    latents = torch.randn(2, 2, 8, 8, generator=generator)
    return latents, torch.tensor([100, 900]), condition, torch.full((2,), nm_per_px)


def denoiser(pixel_size: bool = False, **changes) -> MaskDenoiser:
    return build_denoiser(LDMSettings(**(LDM | changes)), 2, 1, 8, pixel_size, 0)


def after_one_step(model: MaskDenoiser) -> MaskDenoiser:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(*inputs()).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    return model


@torch.no_grad()
def test_spade_starts_as_concat():
    spade, concat = denoiser(conditioning="spade"), denoiser(conditioning="concat")
    assert not any(isinstance(module, SpatialNorm) for module in concat.modules())
    velocity = spade(*inputs())
    assert velocity.shape == (2, 2, 8, 8) and velocity.std() > 0.01
    assert torch.equal(velocity, concat(*inputs()))


def test_spade_reaches_every_normalisation_at_every_scale():
    model, reached = after_one_step(denoiser()), {}
    norms = [module for module in model.unet.modules() if isinstance(module, SpatialNorm)]

    def note(modulation: nn.Module, to_features: tuple, _) -> None:
        reached[modulation] = to_features[0]

    for norm in norms:
        norm.modulation.register_full_backward_hook(note)
    latents, times, condition, sizes = inputs()
    condition.requires_grad_()
    model(latents, times, condition, sizes).square().sum().backward()
    assert len(norms) == len(reached) == 16  # two in each residual layer: 2 down, 2 in the middle, 4 up
    assert all(gradient.abs().max() > 0 for gradient in reached.values())
    assert {gradient.shape[-1] for gradient in reached.values()} == {8, 4}
    assert all(weights.grad.abs().max() > 0 for weights in model.pyramid.parameters())


@torch.no_grad()
def test_pixel_size_counts_where_the_network_is_told():
    blind, told = denoiser(pixel_size=False), denoiser(pixel_size=True)
    assert torch.equal(blind(*inputs(nm_per_px=0.5)), blind(*inputs(nm_per_px=float("nan"))))
    assert (told(*inputs(nm_per_px=0.5)) - told(*inputs(nm_per_px=1.0))).abs().max() > 1e-3
    half = told.to(torch.bfloat16)
    latents, times, condition, sizes = inputs()
    velocity = half(latents.bfloat16(), times, condition.bfloat16(), sizes)
    assert velocity.dtype == torch.bfloat16 and torch.isfinite(velocity).all()


def test_a_denoiser_keeps_nothing_of_what_it_saw():
    model = after_one_step(denoiser())
    torch.testing.assert_close(copy.deepcopy(model)(*inputs(1)), model(*inputs(1)))


@pytest.mark.parametrize(
    "sizes, differ",
    [([0.5, 0.5], False), ([0.5, 0.503], False), ([0.5, 0.6], True), ([0.5, np.nan], False), ([np.nan] * 2, False)],
)
def test_pixel_sizes_that_differ(sizes, differ):
    assert sizes_differ(np.array(sizes, np.float32)) is differ


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(conditioning="film"), "ldm.conditioning: expected one of spade, concat, found 'film'"),
        (dict(attention=[True]), "ldm.block_out_channels: 2 levels"),
        (dict(block_out_channels=(8,) * 5, attention=(False,) * 5), r"latents \(8 px\) that can be halved 4 times"),
    ],
)
def test_wrong_shapes_of_the_denoiser_are_explained(changes, message):
    with pytest.raises(TemDataError, match=message):
        denoiser(**changes)


class Offset(nn.Module):
    """Knows the velocity, and is off by one everywhere."""

    def __init__(self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor):
        super().__init__()
        self.register_parameter("velocity", nn.Parameter(noise_scheduler().get_velocity(latents, noise, times) + 1))

    def forward(self, noisy, times, condition, nm_per_px) -> torch.Tensor:
        self.condition = condition
        return self.velocity


def test_loss_is_the_squared_error_of_the_velocity_and_withholds_masks():
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[:, :4, :4] = 1
    rng = np.random.default_rng(0)
    latents, noise = (rng.standard_normal((2, 3, 2, 2), dtype=np.float32) for _ in range(2))
    times, dropped = np.array([10, 999]), np.array([False, True])
    model = Offset(*map(torch.from_numpy, (latents, noise, times)))
    loss = DenoisingLoss(torch.from_numpy(latents), conditioning(masks), 1, 4, noise_scheduler())
    assert loss(model, np.arange(2), noise, times, dropped).item() == pytest.approx(1, rel=1e-5)
    assert (model.condition[0] >= 0).all() and (model.condition[1] == NO_MASK).all()


@pytest.mark.parametrize("time, told", [(930, True), (931, False)])
def test_where_the_grey_level_is_decided_the_denoiser_does_not_see_the_mask(time, told):
    model, rng = build_denoiser(LDMSettings(**LDM | dict(steps=1)), 3, 1, 8, False, 0), np.random.default_rng(0)
    latents, condition = (torch.from_numpy(rng.random((2, n, 8, 8), np.float32)) for n in (3, 12))
    sizes, blind = torch.ones(2), torch.full_like(condition, NO_MASK)
    with torch.no_grad():
        seen, unseen = (model(latents, torch.tensor([time, 931]), mask, sizes) for mask in (condition, blind))
    np.testing.assert_array_equal((seen != unseen).flatten(1).any(1), [told, False])


def test_settings_are_checked():
    with pytest.raises(TemDataError, match="stepz"):
        read_section(LDMSettings, {"steps": 1, "stepz": 2})
    with pytest.raises(TemDataError, match="ldm.steps: expected a whole number of 1 or more, found -1"):
        read_section(LDMSettings, {"steps": -1})


@pytest.mark.slow
def test_denoiser_learns():
    history = trained()[3]
    assert history[-1]["val_loss"] < 0.5 * history[0]["loss"]


def short_ldm(workdir: Path, **changes) -> tuple[MaskDenoiser, list]:
    images, told = toy(8, 0)
    pairs = ImageMaskPairs(images, told._replace(nm_per_px=np.linspace(0.4, 0.6, 8, dtype=np.float32)))
    short = dict(steps=7, batch_size=4, checkpointing_steps=2, validation_steps=3, mask_dropout=0.5)
    settings = LDMSettings(**(LDM | short | changes))
    return train_ldm(untrained_autoencoder(), pairs, pairs, 1, settings, workdir, 5)


GOLDEN = [1.817871, 1.969542, 1.575709, 1.799999, 1.422943, 1.321629, 1.213412]


def test_killed_training_ends_with_the_same_bytes(tmp_path, monkeypatch):
    """The losses are golden: a change of them is a change of training; 1e-3 leaves room for other processors."""
    unet, history = short_ldm(tmp_path / "whole")
    assert unet.config.pixel_size
    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(denoiser_module, "fit_averaged", partial(fit_averaged, callback=killer(5)))
        short_ldm(tmp_path / "killed")
    resumed, resumed_history = short_ldm(tmp_path / "killed")
    assert resumed_history == history
    assert [row["step"] for row in history if "val_loss" in row] == [3, 6, 7]
    saved = []
    for folder, model in (("a", unet), ("b", resumed)):
        model.save_pretrained(tmp_path / folder)
        saved.append((tmp_path / folder / "diffusion_pytorch_model.safetensors").read_bytes())
    assert saved[0] == saved[1]
    assert [row["loss"] for row in history] == pytest.approx(GOLDEN, rel=1e-3)


def test_dropout_changes_the_training(tmp_path):
    some, none = (short_ldm(tmp_path / str(rate), steps=2, mask_dropout=rate)[1] for rate in (0.5, 0.0))
    assert [row["loss"] for row in some] != [row["loss"] for row in none]
