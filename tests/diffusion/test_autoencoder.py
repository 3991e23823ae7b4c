"""Autoencoders: read from a folder, trained on a toy, killed, saved and damaged."""

import json
import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, VQModel

from tem_data.core.errors import TemDataError
from tem_data.diffusion import autoencoder as autoencoder_module
from tem_data.diffusion import grain, load_autoencoder, train_autoencoder
from tem_data.diffusion.autoencoder import build_autoencoder, own_device, psnr, save_autoencoder
from tem_data.diffusion.settings import AutoencoderSettings
from tem_data.training.averaged import fit_averaged
from tests.helpers.processes import Killed, contents, killer, permissions, umask
from tests.helpers.toy_ldm import AUTOENCODER, toy, trained, untrained_autoencoder


@pytest.mark.slow
def test_autoencoder_learns_and_standardises_its_latents():
    autoencoder, _, history, _ = trained()
    images = toy(64, 0).images
    latents = autoencoder.encode(images)
    assert latents.shape == (64, 4, 8, 8) and latents.dtype == torch.float32
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    unseen = toy(16, 1).images
    decoded = autoencoder.decode(autoencoder.encode(unseen))
    assert decoded.shape == unseen.shape and decoded.dtype == np.uint8
    assert psnr(unseen, decoded) == pytest.approx(history[-1]["val_psnr"], abs=0.05)
    assert history[-1]["val_psnr"] > 18  # the mean grey alone gives 14.5


def test_latent_noise_is_for_training_only(tmp_path, monkeypatch):
    monkeypatch.setattr(grain, "STEPS", 1)
    images, fixed = (
        toy(4, 0).images,
        AutoencoderSettings(**(AUTOENCODER | dict(steps=1, batch_size=4, learning_rate=1e-30))),
    )

    def row(noise: float) -> dict:
        settings = replace(fixed, latent_noise=noise)
        return train_autoencoder(images, images, settings, tmp_path / str(noise), 0)[1][0]

    clean, noisy = row(0.0), row(3.0)
    assert clean["val_psnr"] == noisy["val_psnr"]
    assert clean["loss"] < 0.99 * noisy["loss"]


def test_psnr_of_a_known_difference():
    assert psnr(np.zeros((1, 2, 2), np.uint8), np.full((1, 2, 2), 51, np.uint8)) == pytest.approx(13.979, abs=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        ),
        VQModel(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            num_vq_embeddings=8,
        ),
        build_autoencoder(AutoencoderSettings(steps=1, width=8, factor=8, latent_channels=4), 0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_diffusers_autoencoder_is_read_from_a_folder(model, tmp_path):
    model.save_pretrained(tmp_path / "vae")
    autoencoder = load_autoencoder(tmp_path)
    assert type(autoencoder.model) is type(model)
    images = toy(3, 0).images
    latents = autoencoder.encode(images)
    assert latents.shape == (3, autoencoder.latent_channels, 32 // autoencoder.factor, 32 // autoencoder.factor)
    assert autoencoder.decode(latents).shape == images.shape
    with pytest.raises(TemDataError, match="multiples"):
        autoencoder.encode(np.zeros((1, 31, 31), np.uint8))


def test_missing_autoencoder_is_explained(tmp_path):
    with pytest.raises(TemDataError, match="AutoencoderTiny"):
        load_autoencoder(tmp_path)


def test_wrong_factor_is_explained(tmp_path):
    images = toy(4, 0).images
    with pytest.raises(TemDataError, match="autoencoder.factor: expected one of 2, 4, 8, 16, found 6"):
        train_autoencoder(images, images, AutoencoderSettings(**(AUTOENCODER | {"factor": 6})), tmp_path, 0)


def test_autoencoder_lies_on_the_gpu_of_its_process(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_device() == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device() == torch.device("cuda:1")
    save_autoencoder(untrained_autoencoder(), tmp_path / "ae")
    monkeypatch.setattr(autoencoder_module, "own_device", lambda: torch.device("meta"))
    loaded = load_autoencoder(tmp_path / "ae")
    assert loaded.model.device == loaded.grain.device == torch.device("meta")


def test_loading_warns_of_odd_settings_only(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    build_autoencoder(AutoencoderSettings(steps=1, width=8), 0).save_pretrained(tmp_path)
    load_autoencoder(tmp_path)
    assert not caplog.records
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"odd": 1}))
    load_autoencoder(tmp_path)
    assert "'odd': 1" in caplog.text


def test_killed_autoencoder_training_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(grain, "STEPS", 3)
    images, val_images = toy(8, 0).images, toy(4, 1).images
    settings = AutoencoderSettings(**(AUTOENCODER | dict(steps=5, batch_size=4, checkpointing_steps=2)))

    def train(name: str) -> None:
        autoencoder, _ = train_autoencoder(images, val_images, settings, tmp_path / name, 0)
        save_autoencoder(autoencoder, tmp_path / f"{name}_saved")

    train("whole")
    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(autoencoder_module, "fit_averaged", partial(fit_averaged, callback=killer(3)))
        train("killed")
    train("killed")
    assert contents(tmp_path / "killed_saved") == contents(tmp_path / "whole_saved")
    assert {"config.json", "latents.json", "grain/config.json"} < set(contents(tmp_path / "whole_saved"))


def test_a_saved_autoencoder_is_as_readable_as_other_files(tmp_path):
    with umask(0o022):
        save_autoencoder(untrained_autoencoder(), tmp_path / "ae")
    assert permissions(tmp_path / "ae") == {(False, 0o644), (True, 0o755)}


@pytest.mark.slow
def test_saved_autoencoder_decodes_the_same(tmp_path):
    autoencoder = trained()[0]
    save_autoencoder(autoencoder, tmp_path / "ae")
    again = load_autoencoder(tmp_path / "ae")
    images = toy(3, 2).images
    latents = autoencoder.encode(images)
    assert torch.equal(again.encode(images), latents)
    np.testing.assert_array_equal(again.decode(latents, [7, 8, 9]), autoencoder.decode(latents, np.array([7, 8, 9])))
    assert (again.decode(latents, [7, 8, 9]) != again.decode(latents)).any()


@pytest.mark.parametrize(
    "damaged", ["diffusion_pytorch_model.safetensors", "grain/diffusion_pytorch_model.safetensors"]
)
def test_damaged_autoencoder_is_explained(damaged, tmp_path):
    save_autoencoder(untrained_autoencoder(), tmp_path / "ae")
    file = tmp_path / "ae" / damaged
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TemDataError, match=f"{file}") as caught:
        load_autoencoder(tmp_path / "ae")
    assert "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(TemDataError, match=f"{file.parent}"):
        load_autoencoder(tmp_path / "ae")
