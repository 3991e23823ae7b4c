"""Published versions back in the places of the pipeline, and models by their names."""

import shutil
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from huggingface_hub import HfApi

from tem_data.core.errors import TemDataError
from tem_data.core.schema import read_dataset
from tem_data.detection import Detector
from tem_data.diffusion import MaskToMicrographPipeline
from tem_data.download.manifest import MANIFEST, Manifest, file_of
from tem_data.hub.contents import detector_contents, ldm_contents
from tem_data.hub.publishing import plan_version, publish
from tem_data.hub.pulling import pull
from tests.helpers.finished_project import (
    CELL,
    CLASSES,
    OUTS,
    REPO,
    add_models,
    clone,
    commit,
    git,
    published,
    upload,
    write_pairs,
)
from tests.helpers.hub.faults import ALWAYS, Fault
from tests.helpers.processes import contents

pytestmark = pytest.mark.slow


def test_a_version_is_pulled_in_place_of_the_stages(hub, project, tmp_path):
    published(project, tmp_path / "work")
    fresh = clone(project, tmp_path / "fresh")
    (fresh / "results").is_dir() and shutil.rmtree(fresh / "results")
    pulled = pull(REPO, fresh)
    assert pulled.manifest.version == "v1.0.0" and not pulled.foreign
    for out in (out for outs in OUTS.values() for out in outs):
        assert (fresh / out).exists()
    assert contents(fresh / "data") == contents(project / "data")
    assert contents(fresh / "runs") == contents(project / "runs")
    for ask in (Repo.status, Repo.reproduce):
        with chdir(fresh), Repo() as repo:
            assert not ask(repo)
    pull(f"{REPO}@v1.0.0", fresh)


def test_pulling_takes_an_old_version_or_a_part_and_replaces_nothing_unasked(hub, project, tmp_path):
    published(project, tmp_path / "1")
    fresh = clone(project, tmp_path / "fresh")
    write_pairs(project, range(8))
    commit(project)
    published(project, tmp_path / "2")
    pairs = CELL.folder / "pairs"
    pulled = pull(f"{REPO}@v1.0.0", fresh, only=[str(pairs)])
    assert {*pulled.outs} == {pairs / "exp_gen", pairs / "exp_paint"}
    assert not (fresh / CELL.data).exists()
    with pytest.raises(TemDataError, match="exp_gen.*--replace"):
        pull(REPO, fresh)
    assert len(list(read_dataset(fresh / pairs / "exp_gen"))) == 6
    pulled = pull(REPO, fresh, replace=True)
    assert len(list(read_dataset(fresh / pairs / "exp_gen"))) == 8
    assert {CELL.folder / "masks", pairs / "exp_gen"} <= {*pulled.foreign}


def test_models_are_published_loaded_by_name_and_pulled(hub, project, tmp_path):
    add_models(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    models = {"org/ldm": ldm_contents(project, CELL), "org/detector": detector_contents(project, CELL, "exp_gen")}
    for name, of_model in models.items():
        publish(plan_version(name, of_model, params, project, tmp_path))
    assert {Path(path).suffix for path in models["org/ldm"].files} <= {".json", ".safetensors"}

    name = "diffusion_pytorch_model.safetensors"
    unet = MaskToMicrographPipeline.from_pretrained("org/ldm", revision="v1.0.0").unet
    unet.save_pretrained(tmp_path / "unet")
    assert (tmp_path / "unet" / name).read_bytes() == (project / CELL.folder / "ldm/unet" / name).read_bytes()
    loaded = Detector.from_pretrained("org/detector@v1.0.0")
    assert loaded.classes == CLASSES.names and loaded.threshold == 0.3

    fresh = clone(project, tmp_path / "fresh")
    for name in models:
        assert not pull(f"{name}@v1.0.0", fresh).foreign
    for folder in ("ldm", "exp_gen"):
        assert contents(fresh / CELL.folder / folder) == contents(project / CELL.folder / folder)


def test_pickled_weights_are_never_published(project):
    add_models(project)
    (project / CELL.folder / "ldm/unet/model.bin").write_bytes(b"pickle")
    with pytest.raises(TemDataError, match="model.bin.*safetensors"):
        ldm_contents(project, CELL)


def test_a_version_brings_its_settings(hub, project, tmp_path):
    fresh = clone(project, tmp_path / "fresh")
    write_pairs(project, range(8))
    commit(project)
    published(project, tmp_path / "work")
    assert pull(REPO, fresh).foreign
    shutil.rmtree(fresh / "runs")
    assert not pull(REPO, fresh, settings=True).foreign
    for name in ("params.yaml", "dvc.lock"):
        assert (fresh / name).read_bytes() == (project / name).read_bytes()


@pytest.mark.parametrize("place", ["../outside", "/tmp/outside", "runs/../../outside"])
def test_a_strange_version_writes_nothing_outside_the_project(hub, project, tmp_path, place):
    content = tmp_path / "evil"
    content.write_text("evil")
    manifest = Manifest("dataset", {"evil": file_of(content, place)}, [place])
    api = HfApi()
    api.create_repo(REPO, repo_type="dataset")
    upload("evil", b"evil")
    upload(MANIFEST, manifest.dumps())
    api.create_tag(REPO, tag="v1.0.0", repo_type="dataset")
    with pytest.raises(TemDataError, match="outside the project"):
        pull(REPO, project, replace=True)
    assert not (tmp_path / "outside").exists()


def test_a_refused_pull_changes_nothing(hub, project, tmp_path):
    fresh = clone(project, tmp_path / "fresh")
    write_pairs(project, range(8))
    commit(project)
    published(project, tmp_path / "work")
    (fresh / "params.yaml").write_text((fresh / "params.yaml").read_text() + "# a note\n")
    with pytest.raises(TemDataError, match="params.yaml.*--replace"):
        pull(REPO, fresh, settings=True)
    git(fresh, "commit", "-qam", "A note")
    (fresh / "results/splits.csv").write_text("other")
    before = contents(fresh)
    with pytest.raises(TemDataError, match="splits.csv.*--replace"):
        pull(REPO, fresh, settings=True)
    assert contents(fresh) == before


def test_what_no_stage_makes_is_not_placed(hub, project, tmp_path):
    published(project, tmp_path / "work")
    fresh = clone(project, tmp_path / "fresh")
    (fresh / "dvc.yaml").write_text("stages: {import: {cmd: 'true', outs: [data/micrographs]}}")
    with pytest.raises(TemDataError, match="no stage of dvc.yaml"):
        pull(REPO, fresh)
    assert not (fresh / "runs").exists()


def test_pulled_bytes_are_those_that_were_published(hub, project, tmp_path):
    published(project, tmp_path / "work")
    fresh = clone(project, tmp_path / "fresh")
    hub.faults.append(Fault("wrong bytes", "GET .*synthetic.*parquet", ALWAYS))
    with pytest.raises(TemDataError, match="synthetic.*parquet"):
        pull(REPO, fresh)
    assert not (fresh / CELL.folder).exists()


def test_what_is_not_there_is_said(hub, project, tmp_path):
    with pytest.raises(TemDataError, match="org/none"):
        pull("org/none", project)
    published(project, tmp_path / "work")
    with pytest.raises(TemDataError, match="v9.0.0"):
        pull(f"{REPO}@v9.0.0", project)
    with pytest.raises(TemDataError, match="runs/9"):
        pull(REPO, project, only=["runs/9"])
    with pytest.raises(TemDataError, match="dvc.yaml"):
        pull(REPO, tmp_path)
