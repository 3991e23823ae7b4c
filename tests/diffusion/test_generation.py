"""From mask dataset to dataset of generated pairs: killed, shared out, damaged; and how patches are read."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import DDIMScheduler

from tem_data.core.errors import TemDataError
from tem_data.core.files import fingerprint
from tem_data.core.micrograph import defect_from_mask
from tem_data.core.schema import Classes, read_dataset, write_dataset
from tem_data.diffusion import generate, ldm_steps, steps
from tem_data.diffusion.conditioning import Conditioning, instance_edges
from tem_data.diffusion.generation import GenerationRequest
from tem_data.diffusion.settings import GenerationSettings, LDMSettings
from tests.helpers.processes import Killed, contents, run_in_two_processes
from tests.helpers.toy_ldm import LDM, mask_micrographs, toy, trained, untrained, untrained_autoencoder

CLASSES = Classes(("square",), ("unclear",))


def requests(n: int, first_seed: int = 0) -> list[GenerationRequest]:
    conditioning = toy(n, 3).conditioning
    return [
        GenerationRequest(f"mask {i}", Conditioning(*one), first_seed + i)
        for i, one in enumerate(zip(*conditioning, strict=True))
    ]


def write_npz(path: Path, names: list[str], images: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, names=names, images=images)
    path.write_bytes(buffer.getvalue())


def test_killed_generation_ends_with_the_same_shards(tmp_path):
    settings, written = GenerationSettings(scheduler=None, num_inference_steps=2, batch_size=2, shard_rows=3), []

    def write(path: Path, names: list[str], images: np.ndarray, limit: int = 99) -> None:
        if len(written) == limit:
            raise Killed
        written.append(names)
        write_npz(path, names, images)

    whole = generate(untrained(), requests(7), write, tmp_path / "whole", settings)
    assert [path.name for path in whole] == [f"train-0000{i}.parquet" for i in range(3)]
    written.clear()
    with pytest.raises(Killed):
        generate(untrained(), requests(7), lambda *shard: write(*shard, limit=1), tmp_path / "killed", settings)
    killed = generate(untrained(), iter(requests(7)), write, tmp_path / "killed", settings)
    assert [name for names in written for name in names] == [f"mask {i}" for i in range(7)]
    for one, other in zip(whole, killed, strict=True):
        with np.load(one) as a, np.load(other) as b:
            np.testing.assert_array_equal(a["images"], b["images"])
            np.testing.assert_array_equal(a["names"], b["names"])


def test_ddim_paints_from_the_seeds_alone(tmp_path, monkeypatch):
    pipeline, painted = trained()[1], []
    monkeypatch.setattr(pipeline, "scheduler", pipeline.scheduler)  # `generate` replaces it

    def paint(folder: str, first_seed: int, batch_size: int) -> np.ndarray:
        settings = GenerationSettings(scheduler="DDIMScheduler", num_inference_steps=5, batch_size=batch_size)
        shards = generate(pipeline, requests(4, first_seed), write_npz, tmp_path / folder, settings)
        painted.extend(shards)
        return np.load(shards[0])["images"].astype(int)

    images, masks = paint("whole", 0, 4), toy(4, 3).conditioning.masks
    assert isinstance(pipeline.scheduler, DDIMScheduler) and not pipeline.scheduler.config.clip_sample
    assert images[masks == 1].mean() < images[masks == 0].mean() - 60
    assert np.abs(paint("parts", 0, 3) - images).max() <= 1
    assert np.abs(paint("others", 9, 4) - images).mean() > 1


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "UNet2DModel", "ddim"])
def test_other_schedulers_are_refused(tmp_path, name):
    with pytest.raises(TemDataError, match="DPMSolverMultistepScheduler, DDIMScheduler"):
        generate(untrained(), [], write_npz, tmp_path, GenerationSettings(scheduler=name))


def test_masks_of_several_sizes_are_refused(tmp_path):
    mixed = [
        GenerationRequest(None, Conditioning(*(values[0] for values in toy(1, 0, 32, width).conditioning)), 0)
        for width in (32, 40)
    ]
    with pytest.raises(TemDataError, match=r"train-00000.parquet: its masks have the sizes \[\(32, 32\), \(32, 40\)\]"):
        generate(untrained(), mixed, write_npz, tmp_path, GenerationSettings())


@pytest.fixture
def work(tmp_path) -> Path:
    """A folder with a saved pipeline and five masks."""
    untrained().save_pretrained(tmp_path / "ldm")
    write_dataset(tmp_path / "masks", {"train": mask_micrographs(5)}, CLASSES)
    return tmp_path


SETTINGS = GenerationSettings(scheduler=None, num_inference_steps=2, guidance_scale=1.5, batch_size=1, shard_rows=2)


def generate_pairs(work: Path, name: str, **changes) -> Path:
    steps.generate_pairs(work / "ldm", work / "masks", replace(SETTINGS, **changes), 3, work / name)
    return work / name


def test_generated_pairs_say_what_made_them(work):
    pairs = list(read_dataset(generate_pairs(work, "pairs"), "train"))
    masks = list(read_dataset(work / "masks", "train"))
    assert [pair.micrograph_id for pair in pairs] == [f"m{i}" for i in range(5)]
    assert {(pair.origin, pair.guidance_scale, pair.num_inference_steps) for pair in pairs} == {("gen", 1.5, 2)}
    assert {pair.checkpoint for pair in pairs} == {fingerprint(None, *sorted((work / "ldm").glob("*/*.safetensors")))}
    assert len({pair.seed for pair in pairs}) == 5
    for pair, mask in zip(pairs, masks, strict=True):
        np.testing.assert_array_equal(pair.defects[0].mask, mask.defects[0].mask)
        conditioning = Conditioning(*(np.stack([values]) for values in steps.conditioning_of(mask, CLASSES.names)))
        again = untrained().paint(conditioning, [pair.seed], 2, 1.5)
        np.testing.assert_array_equal(pair.image, again[0])


def test_killed_pairs_go_on_where_they_stood(work, monkeypatch):
    whole = generate_pairs(work, "whole")
    write, done = steps.write_shard, []

    def once(path, *rest) -> None:
        if done:
            raise Killed
        done.append(write(path, *rest))

    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(steps, "write_shard", once)
        generate_pairs(work, "killed")
    assert [path.name for path in (work / "killed").rglob("*.*")] == ["train-00000.parquet"]
    generate_pairs(work, "killed")
    assert contents(work / "killed") == contents(whole)


@pytest.mark.slow
def test_two_fresh_processes_paint_the_same_shards(work):
    run_in_two_processes("tests.diffusion.test_generation", work)
    one, two = (list(read_dataset(folder, "train")) for folder in (generate_pairs(work, "one"), work / "two"))
    assert len(list((work / "two/data").iterdir())) == 3 and (work / "two/README.md").is_file()
    assert [pair.micrograph_id for pair in two] == [pair.micrograph_id for pair in one]
    assert [pair.seed for pair in two] == [pair.seed for pair in one]
    for a, b in zip(one, two, strict=True):
        assert np.abs(a.image.astype(int) - b.image).max() <= 1


@pytest.mark.parametrize("damaged", ["unet", "vae", "grain", "model_index.json", "unet/config.json"])
def test_a_truncated_model_is_explained(work, damaged):
    file = work / "ldm" / damaged
    file = file / "diffusion_pytorch_model.safetensors" if file.is_dir() else file
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TemDataError, match=f"{work / 'ldm'}: .*{file.name}.*MaskToMicrographPipeline") as caught:
        generate_pairs(work, "pairs")
    assert "\n" not in str(caught.value)


def test_missing_models_are_explained(work):
    untrained_autoencoder().model.save_pretrained(work / "autoencoder")
    for wrong in (work / "autoencoder", work / "missing"):
        with pytest.raises(TemDataError, match=f"{wrong}: .*MaskToMicrographPipeline") as caught:
            steps.generate_pairs(wrong, work / "masks", GenerationSettings(), 0, work / "out")
        assert "\n" not in str(caught.value) and caught.value.__cause__


def test_another_pipeline_is_explained(work):
    index = work / "ldm/model_index.json"
    untrained().unet.unet.save_pretrained(work / "ldm/unet")
    text = index.read_text().replace("tem_data.diffusion.denoiser", "diffusers")
    index.write_text(text.replace('"MaskDenoiser"', '"UNet2DModel"'))
    with pytest.raises(TemDataError, match="ldm: its unet is a UNet2DModel, not a MaskDenoiser; train a model"):
        generate_pairs(work, "pairs")


def test_a_model_of_fewer_classes_is_explained(work):
    two = [replace(mask, defects=(replace(mask.defects[0], category="disc"),)) for mask in mask_micrographs(1)]
    write_dataset(work / "masks", {"train": two}, Classes(("square", "disc")))
    with pytest.raises(TemDataError, match=r"masks: disc is none of the classes \['square'\]"):
        generate_pairs(work, "pairs")


def test_masks_are_painted_as_the_classes_that_they_name_whatever_their_order(work, monkeypatch):
    shown = []
    monkeypatch.setattr(steps, "generate", lambda _, requests, *rest, **__: shown.extend(requests))
    write_dataset(work / "masks", {"train": mask_micrographs(1)}, Classes(("disc", "square")))
    pipeline = untrained()
    pipeline.register_to_config(class_names=["square", "disc"])
    monkeypatch.setattr(steps, "load_pipeline", lambda _: (pipeline, "checkpoint"))
    (work / "pairs").mkdir()
    generate_pairs(work, "pairs")
    assert np.unique(shown[0].conditioning.masks).tolist() == [0, 1]


def test_pairs_are_read_or_missed_by_name(tmp_path):
    (images, conditioning), bare = toy(2, 3), mask_micrographs(2)
    unclear = defect_from_mask("unclear", np.ones((3, 3), bool), 0, 0, ignore=True)
    patches = [replace(patch, image=image) for patch, image in zip(bare, images, strict=True)]
    patches[1] = replace(patches[1], nm_per_px=None, defects=(*patches[1].defects, unclear))
    write_dataset(tmp_path / "patches", {"train": patches}, CLASSES)
    read = steps.read_pairs(tmp_path / "patches", "train")
    np.testing.assert_array_equal(read.images, images)
    conditioning.masks[1, :3, :3] = 2  # ignored
    np.testing.assert_array_equal(read.conditioning.masks, conditioning.masks)
    np.testing.assert_array_equal(read.conditioning.edges, instance_edges(conditioning.masks))
    np.testing.assert_array_equal(read.conditioning.nm_per_px, np.float32([0.5, np.nan]))
    with pytest.raises(TemDataError, match=r"patches.*'validation'"):
        steps.read_pairs(tmp_path / "patches", "validation")
    write_dataset(tmp_path / "masks", {"train": [patches[0], bare[1]]}, CLASSES)
    with pytest.raises(TemDataError, match=r"masks.*'train', row 1 \('m1'\).*no image"):
        steps.read_pairs(tmp_path / "masks", "train")


def test_training_from_a_dataset_leaves_sample_sheets(tmp_path):
    images = toy(8, 3).images
    unclear = defect_from_mask("unclear", np.ones((3, 3), bool), 0, 0, ignore=True)
    patches = [
        replace(patch, image=image, defects=(*patch.defects, unclear))
        for patch, image in zip(mask_micrographs(8), images, strict=True)
    ]
    write_dataset(tmp_path / "patches", {"train": patches[:5], "validation": patches[5:]}, CLASSES)
    settings = LDMSettings(**(LDM | dict(steps=2, batch_size=2, sample_steps=1)))
    pipeline, history = ldm_steps.ldm_for(tmp_path / "patches", untrained_autoencoder(), settings, 0, tmp_path / "work")
    assert pipeline.config.class_names == ["square"] and pipeline.config.nm_per_px == 0.5
    assert all(row["memorisation_ratio"] > 0 for row in history)
    ldm_steps.save_ldm(pipeline, tmp_path / "work", tmp_path / "ldm")
    sheets = sorted((tmp_path / "ldm_training/samples").iterdir())
    assert [path.name for path in sheets] == ["step-000001.png", "step-000002.png"]
    assert sheets[0].read_bytes() != sheets[1].read_bytes()


if __name__ == "__main__":
    generate_pairs(Path(sys.argv[1]), "two")
