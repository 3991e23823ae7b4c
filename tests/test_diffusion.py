"""Tiny networks on a toy: dark squares on a bright noisy ground, the mask being the squares."""

import io
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, VQModel
from hypothesis import given
from hypothesis import strategies as st

from tem_data.diffusion import (
    Autoencoder,
    MaskToMicrographPipeline,
    datasets,
    generate,
    load_autoencoder,
    train_autoencoder,
    train_ldm,
)
from tem_data.diffusion import autoencoder as autoencoder_module
from tem_data.diffusion.autoencoder import AutoencoderSettings, build_autoencoder, own_device, psnr
from tem_data.diffusion.conditioning import defect_share, mask_condition
from tem_data.diffusion.training import TrainingSettings, evenly_spaced, learning_rate
from tem_data.errors import TemDataError
from tem_data.micrograph import Micrograph, defect_from_mask
from tem_data.schema import Classes, read_dataset, write_dataset
from tem_data.settings import read_settings

AUTOENCODER = dict(
    steps=60,
    batch_size=16,
    factor=4,
    latent_channels=4,
    width=16,
    gradient_weight=0.0,
    learning_rate=2e-3,
    warmup_steps=10,
    ema_decay=0.9,
)
LDM = dict(
    steps=120,
    batch_size=16,
    block_out_channels=(16, 32),
    attention=(False, False),
    layers_per_block=1,
    learning_rate=5e-3,
    warmup_steps=10,
    ema_decay=0.95,
    validation_steps=60,
)


def toy(n: int, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, size, size), np.uint8)
    for mask, (y, x) in zip(masks, rng.integers(0, size - 12, (n, 2))):
        mask[y : y + 12, x : x + 12] = 1
    images = np.where(masks, 60, 190) + rng.normal(0, 5, masks.shape)
    return images.clip(0, 255).astype(np.uint8), masks


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The autoencoder, the pipeline and their histories."""
    (images, masks), (val_images, val_masks) = toy(64, 0), toy(16, 1)
    workdir = tmp_path_factory.mktemp("work")
    autoencoder, ae_history = train_autoencoder(images, val_images, AUTOENCODER, workdir / "ae", 0)
    unet, history = train_ldm(autoencoder, images, masks, val_images, val_masks, 1, LDM, workdir / "ldm", 0)
    return autoencoder, MaskToMicrographPipeline.assemble(unet, autoencoder, ["square"], 0.5), ae_history, history


def test_autoencoder_learns_and_standardises_its_latents(trained):
    autoencoder, _, history, _ = trained
    images = toy(64, 0)[0]
    latents = autoencoder.encode(images)
    assert latents.shape == (64, 4, 8, 8) and latents.dtype == torch.float32
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    unseen = toy(16, 1)[0]
    decoded = autoencoder.decode(autoencoder.encode(unseen))
    assert decoded.shape == unseen.shape and decoded.dtype == np.uint8
    assert psnr(unseen, decoded) == pytest.approx(history[-1]["val_psnr"], abs=0.05)
    assert history[-1]["val_psnr"] > 18  # the mean grey alone gives 14.5


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
    images = toy(3, 0)[0]
    latents = autoencoder.encode(images)
    assert latents.shape == (3, autoencoder.latent_channels, 32 // autoencoder.factor, 32 // autoencoder.factor)
    assert autoencoder.decode(latents).shape == images.shape
    with pytest.raises(TemDataError, match="multiples"):
        autoencoder.encode(np.zeros((1, 31, 31), np.uint8))


def test_missing_autoencoder_is_explained(tmp_path):
    with pytest.raises(TemDataError, match="AutoencoderTiny"):
        load_autoencoder(tmp_path)


def test_autoencoder_lies_on_the_gpu_of_its_process(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_device() == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device() == torch.device("cuda:1")
    build_autoencoder(AutoencoderSettings(steps=1, width=8), 0).save_pretrained(tmp_path)
    monkeypatch.setattr(autoencoder_module, "own_device", lambda: torch.device("meta"))
    assert load_autoencoder(tmp_path).model.device == torch.device("meta")


def test_loading_warns_of_odd_settings_only(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    build_autoencoder(AutoencoderSettings(steps=1, width=8), 0).save_pretrained(tmp_path)
    load_autoencoder(tmp_path)
    assert not caplog.records
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"odd": 1}))
    load_autoencoder(tmp_path)
    assert "'odd': 1" in caplog.text


def test_condition_holds_the_class_shares_at_their_places():
    masks = np.zeros((1, 16, 16), np.uint8)
    masks[0, 8:10, 4:8] = 1  # half of the upper right quarter of latent pixel (1, 0)
    masks[0, 12:16, 8:12] = 2  # all of the lower left quarter of latent pixel (1, 1)
    condition = mask_condition(masks, 3, 8)
    assert condition.shape == (1, 12, 2, 2)
    expected = torch.zeros(1, 12, 2, 2)
    expected[0, 0 * 4 + 0 * 2 + 1, 1, 0] = 0.5
    expected[0, 1 * 4 + 1 * 2 + 0, 1, 1] = 1.0
    torch.testing.assert_close(condition, expected)
    torch.testing.assert_close(defect_share(condition)[0, 0], torch.tensor([[0, 0], [0.125, 0.25]]))


@given(st.integers(1, 5), st.sampled_from([2, 4, 8]), st.integers(0, 2**32))
def test_condition_keeps_every_class_area(n_classes, factor, seed):
    masks = np.random.default_rng(seed).integers(0, n_classes + 1, (2, 16, 24), np.uint8)
    condition = mask_condition(masks, n_classes, factor)
    areas = condition.reshape(2, n_classes, -1).sum(2) * (factor / 2) ** 2
    assert areas.round().int().tolist() == [[int((m == k + 1).sum()) for k in range(n_classes)] for m in masks]


def test_condition_refuses_unknown_classes_and_odd_sizes():
    with pytest.raises(TemDataError, match="value 3"):
        mask_condition(np.full((1, 8, 8), 3, np.uint8), 2, 8)
    with pytest.raises(TemDataError, match="multiples"):
        mask_condition(np.zeros((1, 12, 8), np.uint8), 2, 8)


def test_no_mask_is_not_an_empty_mask(trained):
    _, pipeline, _, _ = trained
    empty = np.zeros((1, 32, 32), np.uint8)
    assert (pipeline(empty, [0], 4) != pipeline(empty, [0], 4, guidance_scale=0.0)).any()


def test_learning_rate_rises_and_falls_to_zero():
    settings = TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[10] == 1.0 and rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)


def test_settings_are_checked(tmp_path):
    with pytest.raises(TemDataError, match="stepz"):
        read_settings(TrainingSettings, {"steps": 1, "stepz": 2}, "ldm")
    with pytest.raises(TemDataError, match="steps"):
        read_settings(TrainingSettings, {}, "ldm")
    images = toy(4, 0)[0]
    with pytest.raises(TemDataError, match="factor is 6"):
        train_autoencoder(images, images, AUTOENCODER | {"factor": 6}, tmp_path, 0)
    with pytest.raises(TemDataError, match="batch_size 16 is no multiple"):
        train_autoencoder(images, images, AUTOENCODER | {"gradient_accumulation_steps": 3}, tmp_path, 0)


@given(st.integers(1, 500), st.integers(2, 100))
def test_evenly_spaced_indices(n, wanted):
    chosen = evenly_spaced(n, wanted)
    assert len(chosen) == min(n, wanted) and chosen[0] == 0
    assert chosen[-1] == n - 1


class Killed(Exception):
    pass


def killer(at: int):
    def kill(step: int) -> None:
        if step == at:
            raise Killed

    return kill


def files_of(checkpoint: Path) -> dict[str, bytes]:
    return {name: (checkpoint / name).read_bytes() for name in ("model.safetensors", "history.json")}


def short_ldm(workdir: Path, callback=None, **changes):
    images, masks = toy(8, 0)
    autoencoder = Autoencoder(build_autoencoder(AutoencoderSettings(steps=1, width=8, factor=4, latent_channels=2), 0))
    settings = LDM | dict(steps=7, batch_size=4, checkpointing_steps=2, validation_steps=3, checkpoints_total_limit=2)
    return train_ldm(autoencoder, images, masks, images, masks, 1, settings | changes, workdir, 5, callback)


def test_killed_training_ends_with_the_same_bytes(tmp_path):
    unet, history = short_ldm(tmp_path / "whole")
    for step in (1, 5):
        with pytest.raises(Killed):
            short_ldm(tmp_path / "killed", killer(step))
    half = tmp_path / "killed/.checkpoint-6.partial"  # as a kill while saving leaves it
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    resumed, resumed_history = short_ldm(tmp_path / "killed")
    assert resumed_history == history and [row["step"] for row in history] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["step"] for row in history if "val_loss" in row] == [3, 6, 7]
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["checkpoint-6", "checkpoint-7"]
    assert files_of(tmp_path / "killed/checkpoint-7") == files_of(tmp_path / "whole/checkpoint-7")
    saved = []
    for folder, model in (("a", unet), ("b", resumed)):
        model.save_pretrained(tmp_path / folder)
        saved.append((tmp_path / folder / "diffusion_pytorch_model.safetensors").read_bytes())
    assert saved[0] == saved[1]


def test_killed_autoencoder_training_ends_with_the_same_bytes(tmp_path):
    images, val_images = toy(8, 0)[0], toy(4, 1)[0]
    settings = AUTOENCODER | dict(steps=5, batch_size=4, checkpointing_steps=2)
    train_autoencoder(images, val_images, settings, tmp_path / "whole", 0)
    with pytest.raises(Killed):
        train_autoencoder(images, val_images, settings, tmp_path / "killed", 0, killer(3))
    train_autoencoder(images, val_images, settings, tmp_path / "killed", 0)
    assert files_of(tmp_path / "killed/checkpoint-5") == files_of(tmp_path / "whole/checkpoint-5")


def test_other_settings_do_not_resume(tmp_path):
    short_ldm(tmp_path, steps=2)
    with pytest.raises(TemDataError, match="learning_rate"):
        short_ldm(tmp_path, steps=2, learning_rate=1e-4)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path):
    whole, history = short_ldm(tmp_path / "whole", steps=2, mask_dropout=0.0)
    parts, parts_history = short_ldm(tmp_path / "parts", steps=2, mask_dropout=0.0, gradient_accumulation_steps=2)
    assert parts_history[0]["loss"] == pytest.approx(history[0]["loss"], rel=1e-5)
    for one, other in zip(whole.parameters(), parts.parameters()):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)


def test_two_trainings_in_one_process_differ_in_precision(tmp_path):
    (_, single), (_, half) = (
        short_ldm(tmp_path / name, steps=1, mixed_precision=name, mask_dropout=0.0) for name in ("no", "bf16")
    )
    assert half[0]["loss"] != single[0]["loss"]
    assert half[0]["loss"] == pytest.approx(single[0]["loss"], rel=0.05)


def test_denoiser_learns_where_defects_lie(trained):
    _, pipeline, _, history = trained
    assert history[-1]["val_loss"] < 0.5 * history[0]["loss"]
    masks = toy(8, 3)[1]
    images = pipeline(masks, range(8), 10)
    assert images.shape == masks.shape and images.dtype == np.uint8
    assert images[masks == 1].mean() < images[masks == 0].mean() - 60


def test_an_image_depends_on_its_mask_and_seed_alone(trained):
    _, pipeline, _, _ = trained
    masks = toy(5, 3)[1]
    together, apart = (pipeline(masks, range(5), 4, batch_size=n).astype(int) for n in (5, 2))
    assert np.abs(together - apart).max() <= 1
    assert np.abs(pipeline(masks, range(1, 6), 4).astype(int) - together).mean() > 1
    with pytest.raises(TemDataError, match="one seed"):
        pipeline(masks, [1])


def test_ddim_paints_from_the_seeds_alone(trained, tmp_path, monkeypatch):
    _, pipeline, _, _ = trained
    monkeypatch.setattr(pipeline, "scheduler", pipeline.scheduler)  # `generate` replaces it
    masks = toy(4, 3)[1]
    painted = []

    def paint(folder: str, first_seed: int, batch_size: int) -> np.ndarray:
        items = [(None, mask, first_seed + i) for i, mask in enumerate(masks)]
        settings = dict(scheduler="DDIMScheduler", num_inference_steps=5, batch_size=batch_size)
        generate(pipeline, items, lambda path, _, images: painted.append(images), tmp_path / folder, settings)
        return painted[-1].astype(int)

    images = paint("whole", 0, 4)
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert images[masks == 1].mean() < images[masks == 0].mean() - 60
    assert np.abs(paint("parts", 0, 3) - images).max() <= 1
    assert np.abs(paint("others", 9, 4) - images).mean() > 1


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "UNet2DModel", "ddim"])
def test_other_schedulers_are_refused(trained, tmp_path, name):
    with pytest.raises(TemDataError, match="DDIMScheduler or DPMSolverMultistepScheduler"):
        generate(trained[1], [], lambda *shard: None, tmp_path, dict(scheduler=name))


def test_guidance_changes_the_image(trained):
    _, pipeline, _, _ = trained
    masks = toy(2, 3)[1]
    assert (pipeline(masks, range(2), 4, guidance_scale=2.0) != pipeline(masks, range(2), 4)).any()


def test_saved_pipeline_paints_the_same(trained, tmp_path):
    _, pipeline, _, _ = trained
    pipeline.save_pretrained(tmp_path)
    again = MaskToMicrographPipeline.from_pretrained(tmp_path)
    assert again.config.class_names == ["square"] and again.config.nm_per_px == 0.5
    assert not list(tmp_path.rglob("*.bin")) and len(list(tmp_path.rglob("*.safetensors"))) == 2
    masks = toy(3, 3)[1]
    np.testing.assert_array_equal(again(masks, range(3), 4), pipeline(masks, range(3), 4))


def test_killed_generation_ends_with_the_same_shards(trained, tmp_path):
    _, pipeline, _, _ = trained
    items = [(f"mask {i}", mask, i) for i, mask in enumerate(toy(7, 3)[1])]
    written = []

    def write(path: Path, names: list[str], images: np.ndarray, limit: int = 99) -> None:
        if len(written) == limit:
            raise Killed
        written.append(names)
        path.parent.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, names=names, images=images)
        path.write_bytes(buffer.getvalue())

    settings = dict(num_inference_steps=3, batch_size=2, shard_rows=3)
    whole = generate(pipeline, items, write, tmp_path / "whole", settings)
    assert [p.name for p in whole] == [f"train-0000{i}.parquet" for i in range(3)]
    written.clear()
    with pytest.raises(Killed):
        generate(pipeline, items, lambda *shard: write(*shard, limit=1), tmp_path / "killed", settings)
    killed = generate(pipeline, iter(items), write, tmp_path / "killed", settings)
    assert [name for names in written for name in names] == [f"mask {i}" for i in range(7)]
    for one, other in zip(whole, killed):
        with np.load(one) as a, np.load(other) as b:
            np.testing.assert_array_equal(a["images"], b["images"])
            np.testing.assert_array_equal(a["names"], b["names"])


CLASSES = Classes(("square",))


def mask_micrographs(n: int) -> list[Micrograph]:
    masks = toy(n, 3)[1]
    return [
        Micrograph(f"m{i}", None, (defect_from_mask("square", mask > 0),), mask.shape, origin="sim")
        for i, mask in enumerate(masks)
    ]


def test_pairs_are_read_or_missed_by_name(tmp_path):
    images, masks = toy(2, 3)
    patches = [replace(patch, image=image) for patch, image in zip(mask_micrographs(2), images)]
    write_dataset(tmp_path / "patches", {"train": patches}, CLASSES)
    read_images, read_masks = datasets.read_pairs(tmp_path / "patches", "train")
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_masks, masks)
    with pytest.raises(TemDataError, match=r"patches.*'validation'"):
        datasets.read_pairs(tmp_path / "patches", "validation")
    write_dataset(tmp_path / "masks", {"train": [patches[0], mask_micrographs(2)[1]]}, CLASSES)
    with pytest.raises(TemDataError, match=r"masks.*'train', row 1 \('m1'\).*no image"):
        datasets.read_pairs(tmp_path / "masks", "train")


def test_one_process_describes_the_generated_pairs(trained, tmp_path, monkeypatch):
    trained[1].save_pretrained(tmp_path / "ldm")
    write_dataset(tmp_path / "masks", {"train": mask_micrographs(3)}, CLASSES)

    def paint(name: str) -> list[str]:
        datasets.generate_pairs(tmp_path / "ldm", tmp_path / "masks", dict(num_inference_steps=2), 0, tmp_path / name)
        return sorted(path.name for path in (tmp_path / name).iterdir())

    assert paint("main") == ["README.md", "data"]
    pairs = list(read_dataset(tmp_path / "main", "train"))
    assert [(pair.micrograph_id, pair.origin, pair.image.shape) for pair in pairs] == [
        (f"m{i}", "gen", (32, 32)) for i in range(3)
    ]
    monkeypatch.setattr(datasets, "is_main_process", lambda: False)
    assert paint("other") == ["data"]


def test_missing_models_are_explained(trained, tmp_path):
    write_dataset(tmp_path / "masks", {"train": mask_micrographs(1)}, CLASSES)
    trained[0].model.save_pretrained(tmp_path / "autoencoder")
    for wrong in (tmp_path / "autoencoder", tmp_path / "missing"):
        with pytest.raises(TemDataError, match=f"{wrong}: .*MaskToMicrographPipeline") as caught:
            datasets.generate_pairs(wrong, tmp_path / "masks", {}, 0, tmp_path / "out")
        assert "\n" not in str(caught.value) and caught.value.__cause__
