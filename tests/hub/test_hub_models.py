"""Models by name and revision: what is loaded is what was published, and what is not says why."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, constants
from PIL import Image

from tem_data.cli import app
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.core.micrograph import Micrograph
from tem_data.core.schema import Classes, read_dataset, write_dataset
from tem_data.detection import Detector
from tem_data.diffusion import MaskToMicrographPipeline
from tem_data.diffusion.steps import find_ldm, load_pipeline
from tem_data.download.fetching import fetch, split_name
from tem_data.download.manifest import MANIFEST, Manifest, file_of
from tests.detection.test_detection import CLASSES, SHORT
from tests.helpers.hub.faults import ALWAYS, Fault
from tests.helpers.hub.server import READ_TOKEN
from tests.helpers.toy_detector import untrained as untrained_detector
from tests.helpers.toy_ldm import untrained

UNET = "unet/diffusion_pytorch_model.safetensors"
PATTERNS = ["model_index.json", "*/*.json", "*/*.safetensors"]


def write_ldm(folder: Path, shift: float = 0.0) -> Path:
    """A pipeline whose denoiser differs by `shift` in its first weights."""
    pipeline = untrained()
    with torch.no_grad():
        next(pipeline.unet.parameters()).add_(shift)
    pipeline.save_pretrained(folder)
    return folder


def write_manifest(folder: Path, kind: str) -> None:
    files = {str(path.relative_to(folder)): file_of(path) for path in folder.rglob("*") if path.is_file()}
    (folder / MANIFEST).write_bytes(Manifest(kind, files).dumps())


def publish(folder: Path, repository: str, tag: str, private: bool = False) -> str:
    """One commit and one tag, by huggingface_hub alone; gives the commit."""
    api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    commit = api.upload_folder(repo_id=repository, folder_path=folder, delete_patterns="*").oid
    api.create_tag(repository, tag=tag, revision=commit)
    return commit


@pytest.fixture(scope="module")
def ldm(tmp_path_factory) -> Path:
    folder = write_ldm(tmp_path_factory.mktemp("published") / "ldm")
    write_manifest(folder, "ldm")
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "detector"
    untrained_detector(SHORT, CLASSES).save_pretrained(folder)
    write_manifest(folder, "detector")
    return folder


def weights_of(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.cpu().contiguous().numpy().tobytes() for name, tensor in model.state_dict().items()}


def without_network(hub, monkeypatch) -> None:
    hub.faults.append(Fault("error", times=ALWAYS))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def refused(action: Callable, *words: str) -> str:
    """The one line that a user reads, in which all the words are."""
    with pytest.raises(TemDataError) as caught:
        action()
    said = str(caught.value)
    assert "\n" not in said and all(word in said for word in words), said
    return said


# By name


def test_a_revision_keeps_its_weights_when_a_newer_one_is_there(hub, ldm, tmp_path):
    first = publish(ldm, "org/ldm", "v1.0.0")
    old = weights_of(load_pipeline("org/ldm@v1.0.0")[0].unet)
    newer = write_ldm(tmp_path / "newer", shift=1.0)
    write_manifest(newer, "ldm")
    second = publish(newer, "org/ldm", "v1.1.0")
    assert old == weights_of(MaskToMicrographPipeline.from_pretrained(ldm).unet)
    for name, commit in {"v1.0.0": first, first: first, "v1.1.0": second, "main": second}.items():
        pipeline, checkpoint = load_pipeline(f"org/ldm@{name}")
        assert checkpoint == f"org/ldm@{commit}" and (weights_of(pipeline.unet) == old) == (commit == first)
    pipeline = MaskToMicrographPipeline.from_pretrained("org/ldm", revision="v1.0.0")
    assert weights_of(pipeline.unet) == old and pipeline.config.class_names == ["square"]
    assert load_pipeline("org/ldm")[1] == f"org/ldm@{second}"


def test_a_cached_model_needs_no_network(hub, ldm, monkeypatch):
    commit = publish(ldm, "org/ldm", "v1.0.0")
    find_ldm("org/ldm@v1.0.0")
    without_network(hub, monkeypatch)
    for name in ("v1.0.0", commit):
        assert load_pipeline(f"org/ldm@{name}")[1] == f"org/ldm@{commit}"
    assert MaskToMicrographPipeline.from_pretrained("org/ldm", revision="v1.0.0").config.class_names == ["square"]


def test_a_detector_finds_the_same_by_its_name(hub, detector):
    commit = publish(detector, "org/detector", "v1.0.0")
    ours = Detector.from_pretrained(detector)
    for name in ("org/detector", "org/detector@v1.0.0", f"org/detector@{commit}"):
        loaded = Detector.from_pretrained(name)
        assert weights_of(loaded.model) == weights_of(ours.model) and loaded.classes == CLASSES
    assert len(hub.asked("GET", "model.safetensors")) == 1


def test_of_a_folder_and_a_name_the_folder_is_taken(hub, ldm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org/ldm").symlink_to(ldm)
    assert load_pipeline("org/ldm")[1] == load_pipeline(ldm)[1] and "@" not in load_pipeline(ldm)[1]
    assert not hub.requests


def test_only_what_a_model_needs_is_downloaded(hub, tmp_path):
    folder = write_ldm(tmp_path / "ldm")
    (folder / "samples").mkdir()
    (folder / "samples/sheet.png").write_bytes(b"a picture")
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "unet/denoiser.py").write_text("raise SystemExit")
    write_manifest(folder, "ldm")
    publish(folder, "org/ldm", "v1.0.0")
    load_pipeline("org/ldm")
    assert not hub.asked("GET", "sheet.png") + hub.asked("GET", ".bin") + hub.asked("GET", ".py")


@pytest.mark.parametrize("name", ["gone", "a/b/c", "./gone", "/gone/gone/gone", "org/ld m", "org/ldm@", "@v1", ""])
def test_what_is_no_name_is_said(name):
    refused(lambda: fetch(name, PATTERNS), "no folder and no name on the Hub")


def test_a_name_is_taken_apart():
    assert split_name("org/ldm@v1.0.0") == ("org/ldm", "v1.0.0")
    assert split_name("org/ldm@refs/pr/1") == ("org/ldm", "refs/pr/1") and split_name("org/ldm") == ("org/ldm", None)


# What a stranger published


def test_a_pipeline_without_a_manifest_is_taken(hub, tmp_path):
    commit = publish(write_ldm(tmp_path / "ldm"), "org/strange", "v1")
    assert load_pipeline("org/strange@v1")[1] == f"org/strange@{commit}"


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pkl"])
def test_pickles_are_refused(hub, tmp_path, suffix):
    folder = write_ldm(tmp_path / "ldm")
    for weights in folder.rglob("*.safetensors"):
        weights.rename(weights.with_suffix(suffix))
    publish(folder, "org/pickled", "v1")
    refused(lambda: MaskToMicrographPipeline.from_pretrained("org/pickled"), "org/pickled", "pickles", "never loaded")
    refused(lambda: Detector.from_pretrained("org/pickled"), "detector org/pickled", "never loaded")
    assert not hub.asked("GET", suffix)


@pytest.mark.parametrize("weights", [b"", b"no weights", "other"])
def test_a_detector_whose_weights_do_not_fit_is_explained(hub, detector, tmp_path, weights):
    shutil.copytree(detector, tmp_path / "strange", ignore=shutil.ignore_patterns(MANIFEST))
    if weights == "other":
        weights = (write_ldm(tmp_path / "ldm") / UNET).read_bytes()
    (tmp_path / "strange/model.safetensors").write_bytes(weights)
    publish(tmp_path / "strange", "org/strange", "v1")
    refused(lambda: Detector.from_pretrained("org/strange"), "model.safetensors: expected the weights of the network")


# What is not as it was published


def test_wrong_bytes_are_not_used(hub, ldm):
    publish(ldm, "org/ldm", "v1.0.0")
    hub.faults.append(Fault("wrong bytes", "GET .*unet.*safetensors", times=ALWAYS))
    for load in (load_pipeline, MaskToMicrographPipeline.from_pretrained):
        refused(lambda load=load: load("org/ldm"), UNET, "other contents", "hf cache rm model/org/ldm")


@pytest.mark.parametrize(
    ("damage", "said"), [(lambda c: c[:-9], "bytes where"), (lambda c: c[:-1] + b"~", "other contents")]
)
def test_a_damaged_cache_is_not_used(hub, ldm, monkeypatch, damage, said):
    publish(ldm, "org/ldm", "v1.0.0")
    cached = find_ldm("org/ldm@v1.0.0")[0] / UNET
    cached.resolve().write_bytes(damage(cached.read_bytes()))
    refused(lambda: load_pipeline("org/ldm@v1.0.0"), str(cached), said, "hf cache rm model/org/ldm")
    without_network(hub, monkeypatch)
    refused(lambda: load_pipeline("org/ldm@v1.0.0"), str(cached), said)


def test_the_remedy_for_a_damaged_cache_works(hub, ldm):
    publish(ldm, "org/ldm", "v1.0.0")
    hub.faults.append(Fault("wrong bytes", "GET .*unet.*safetensors"))
    _, command, _ = refused(lambda: load_pipeline("org/ldm"), "other contents").split("`")
    hf, *words = command.split()
    subprocess.run([Path(sys.executable).parent / hf, *words, "--yes"], check=True, capture_output=True)
    load_pipeline("org/ldm")


def break_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"kind": "ldm", "files": []')


def add_a_file(folder: Path) -> None:
    (folder / "unet/more.safetensors").write_bytes(b"more")


def leave_out_a_file(folder: Path) -> None:
    (folder / "scheduler/scheduler_config.json").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (break_manifest, f"{MANIFEST} is no manifest"),
        (add_a_file, "more.safetensors is not one that"),
        (leave_out_a_file, "scheduler_config.json is missing"),
    ],
)
def test_a_repository_that_is_not_what_was_published_is_refused(hub, tmp_path, change, said):
    folder = write_ldm(tmp_path / "ldm")
    write_manifest(folder, "ldm")
    change(folder)
    publish(folder, "org/ldm", "v1.0.0")
    refused(lambda: load_pipeline("org/ldm"), "latent diffusion model org/ldm", said)


# What cannot be had


def test_a_download_that_is_cut_goes_on(hub, detector):
    publish(detector, "org/detector", "v1.0.0")
    hub.faults.append(Fault("cut download", "GET .*safetensors", times=2))
    Detector.from_pretrained("org/detector")
    assert any(asked.range for asked in hub.requests)


def test_a_download_that_is_always_cut_is_said(hub, detector):
    publish(detector, "org/detector", "v1.0.0")
    hub.faults.append(Fault("cut download", "GET .*safetensors", times=ALWAYS))
    refused(lambda: Detector.from_pretrained("org/detector"), "downloading org/detector", "try again")
    hub.faults.clear()
    Detector.from_pretrained("org/detector")


def test_a_model_or_revision_that_is_not_there_is_said(hub, ldm):
    publish(ldm, "org/ldm", "v1.0.0")
    refused(lambda: load_pipeline("org/gone"), "latent diffusion model org/gone: no folder org/gone", hub.url)
    refused(lambda: Detector.from_pretrained("org/gone"), "detector org/gone: no folder org/gone")
    refused(lambda: load_pipeline("org/ldm@v9"), "no revision 'v9'", "hf repos tag list")
    refused(lambda: MaskToMicrographPipeline.from_pretrained("org/ldm", revision="v9"), "no revision 'v9'")
    refused(
        lambda: Detector.from_pretrained("org/ldm"),
        "no weights as safetensors where they are expected (model.safetensors",
    )


def test_a_private_model_needs_a_token(hub, ldm, monkeypatch):
    publish(ldm, "org/private", "v1.0.0", private=True)
    monkeypatch.delenv("HF_TOKEN")
    refused(lambda: load_pipeline("org/private"), "private", "hf auth login")
    assert MaskToMicrographPipeline.from_pretrained("org/private", token=READ_TOKEN)


def test_a_missing_permission_is_said(hub, ldm):
    publish(ldm, "org/ldm", "v1.0.0")
    hub.faults.append(Fault("forbidden", "GET|HEAD", times=ALWAYS))
    refused(lambda: load_pipeline("org/ldm"), "does not let you read org/ldm (HTTP 403)", "hf auth login")


def test_no_network_and_nothing_cached_is_said(hub, ldm, monkeypatch):
    publish(ldm, "org/ldm", "v1.0.0")
    hub.faults.append(Fault("error", times=ALWAYS))
    refused(lambda: load_pipeline("org/ldm@v1.0.0"), "org/ldm@v1.0.0 is not in the cache", "HTTP 500")
    hub.faults.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(lambda: load_pipeline("org/ldm"), "org/ldm is not in the cache", "HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(lambda: load_pipeline("org/ldm"), "org/ldm is not in the cache", "http://127.0.0.1:9 cannot be reached")


def test_a_part_in_the_cache_is_not_a_model(hub, ldm, monkeypatch):
    publish(ldm, "org/ldm", "v1.0.0")
    (find_ldm("org/ldm")[0] / UNET).unlink()
    without_network(hub, monkeypatch)
    refused(lambda: load_pipeline("org/ldm"), "the cache holds only a part of org/ldm")


# The commands


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: app(list(map(str, words)), standalone_mode=False)


def test_generate_takes_a_name_and_says_the_commit(hub, ldm, command, tmp_path):
    commit = publish(ldm, "org/ldm", "v1.0.0")
    write_dataset(
        tmp_path / "masks", {"train": [Micrograph("m", None, (), (32, 32), origin="sim")]}, Classes(("square",))
    )
    (tmp_path / "params.yaml").write_text("generate: {num_inference_steps: 1}")
    command("generate", "org/ldm@v1.0.0", "masks", "-o", "pairs")
    (pair,) = read_dataset(tmp_path / "pairs", "train")
    assert pair.checkpoint == f"org/ldm@{commit}"


def test_predict_takes_a_name(hub, detector, command, tmp_path):
    publish(detector, "org/detector", "v1.0.0")
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((64, 64), 80, np.uint8)).save(tmp_path / "images/a.png")
    command("predict", "org/detector@v1.0.0", "images", "-o", "found")
    assert read_json(tmp_path / "found" / "summary.json")["model"] == "org/detector@v1.0.0"


def test_train_ldm_takes_the_autoencoder_that_is_named_or_that_of_the_model_it_fine_tunes(
    monkeypatch, command, tmp_path
):
    asked = []

    def stop(patches, out, settings, seed):
        asked.append(settings.pretrained)
        raise TemDataError("stopped")

    monkeypatch.setattr("tem_data.diffusion.ldm_steps.train_autoencoder_on", stop)
    (tmp_path / "params.yaml").write_text("{autoencoder: {pretrained: org/other}, ldm: {pretrained: org/ldm@v2}}")
    (tmp_path / "org").mkdir()
    for options in (["--autoencoder", "org/vae@v1.0.0"], []):
        refused(lambda options=options: command("train-ldm", "org", "-o", "out", *options), "stopped")
    assert asked == ["org/vae@v1.0.0", "org/ldm@v2"]
