"""A published model is fine-tuned on few patches of perhaps other classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tem_data.core.errors import SettingError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.core.schema import Classes, write_dataset
from tem_data.diffusion import MaskToMicrographPipeline
from tem_data.diffusion.autoencoder import load_autoencoder
from tem_data.diffusion.conditioning import mask_condition
from tem_data.diffusion.finetuning import pretrained_ldm
from tem_data.diffusion.ldm_steps import train_autoencoder_and_ldm_on, train_ldm_on
from tem_data.diffusion.settings import AutoencoderSettings, LDMSettings
from tem_data.diffusion.steps import train_autoencoder_on
from tests.helpers.toy_ldm import LDM, toy, trained, untrained, untrained_autoencoder


def patches(folder, classes=("square",), nm_per_px=0.5):
    def rows(n, seed):
        pairs = toy(n, seed)
        for number, (image, mask) in enumerate(zip(pairs.images, pairs.conditioning.masks, strict=True)):
            y, x = np.argwhere(mask)[0]
            square = Defect(classes[number % len(classes)], int(x), int(y), np.ones((12, 12), bool))
            yield Micrograph(f"{seed}-{number}", image, (square,), image.shape, nm_per_px=nm_per_px)

    write_dataset(folder, {"train": rows(16, 5), "validation": rows(8, 6)}, Classes(tuple(classes)))
    return folder


def velocity(denoiser, classes, category):
    """What a denoiser says of noise under one square of a class."""
    latents = torch.randn((1, 2, 8, 8), generator=torch.Generator().manual_seed(1))
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[0, 4:20, 8:24] = classes.index(category) + 1
    condition = mask_condition(mask, np.zeros(mask.shape, bool), len(classes), 4)
    with torch.no_grad():
        return denoiser.eval()(latents, torch.tensor([500]), condition, torch.tensor([0.5]))


@pytest.mark.parametrize("conditioning", ["spade", "concat"])
def test_a_class_that_the_model_knows_keeps_its_weights_wherever_it_stands(tmp_path, conditioning):
    pipeline = untrained(conditioning=conditioning)
    for weights in pipeline.unet.parameters():
        torch.nn.init.normal_(weights, std=0.1, generator=torch.Generator().manual_seed(weights.numel()))
    pipeline.save_pretrained(tmp_path / "ldm")
    start = pretrained_ldm(tmp_path / "ldm", untrained_autoencoder())
    before = velocity(start.denoiser, ["square"], "square")
    classes = ["void", "square", "line"]
    after = start.for_classes(classes, 32, True)
    torch.testing.assert_close(velocity(after, classes, "square"), before)
    torch.testing.assert_close(velocity(after, classes, "void"), before)  # of one class the mean is that class
    assert after.config.n_classes == 3


@pytest.mark.slow
def test_fine_tuning_begins_where_the_model_stopped(tmp_path):
    trained()[1].save_pretrained(tmp_path / "base")
    folder = patches(tmp_path / "patches", ("square", "void"))
    train_autoencoder_on(folder, tmp_path / "ae", AutoencoderSettings(pretrained=str(tmp_path / "base")), 0)
    short = LDMSettings(**LDM | dict(steps=10, warmup_steps=2, validation_steps=5, sample_steps=0))
    tuned = replace(short, pretrained=str(tmp_path / "base"))
    losses = {
        name: train_ldm_on(folder, tmp_path / "ae", tmp_path / name, settings, 0)[-1]["val_loss"]
        for name, settings in (("new", short), ("tuned", tuned))
    }
    assert losses["tuned"] < 0.6 * losses["new"]
    pipeline = MaskToMicrographPipeline.from_pretrained(tmp_path / "tuned")
    assert tuple(pipeline.config.class_names) == ("square", "void")
    mask = toy(1, 9).conditioning.masks
    painted = pipeline(mask * 2, seeds=0)[0]  # a void: what a square looks like
    assert painted[mask[0] > 0].mean() < painted[mask[0] == 0].mean() - 50


def test_what_does_not_fit_is_said(tmp_path):
    untrained(pixel_size=True).save_pretrained(tmp_path / "ldm")
    own = untrained_autoencoder()
    start = pretrained_ldm(tmp_path / "ldm", own)
    with pytest.raises(SettingError, match="not all training patches have"):
        start.for_classes(["square"], 32, False)
    with pytest.raises(SettingError, match="a multiple of 8 px: set patch.size"):
        start.for_classes(["square"], 36, True)
    with pytest.raises(SettingError, match="autoencoder.pretrained"):
        pretrained_ldm(tmp_path / "ldm", untrained_autoencoder(3))


def test_a_model_of_the_hub_is_fine_tuned_by_its_name(hub, tmp_path):
    untrained().save_pretrained(str(tmp_path / "ldm"), push_to_hub=True, repo_id="org/ldm")
    folder = patches(tmp_path / "patches")
    settings = LDMSettings(**LDM | dict(steps=1, validation_steps=1, sample_steps=0, pretrained="org/ldm"))
    train_autoencoder_and_ldm_on(folder, tmp_path / "out", AutoencoderSettings(pretrained="org/ldm"), settings, 0)
    given, own = (load_autoencoder(place).model.state_dict() for place in (tmp_path / "out", tmp_path / "ldm"))
    assert all(torch.equal(given[name], own[name]) for name in own)
