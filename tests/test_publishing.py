"""Versions on a Hub: what is planned, sent, refused, and pulled back."""

import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from dvc.repo import Repo
from huggingface_hub import DatasetCard, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from typer.testing import CliRunner

from tem_data.cli import app
from tem_data.detection.model import load_detector
from tem_data.diffusion import MaskToMicrographPipeline
from tem_data.errors import TemDataError
from tem_data.hub.contents import dataset_contents, detector_contents, ldm_contents
from tem_data.hub.manifest import MANIFEST, README, Manifest, file_of, read_manifest
from tem_data.hub.publishing import Plan, plan_version, publish
from tem_data.hub.pulling import pull
from tem_data.places import MICROGRAPHS
from tem_data.schema import read_dataset, write_micrographs
from tests.finished_project import (
    CARD,
    CELL,
    CLASSES,
    OUTS,
    add_models,
    commit,
    finished_project,
    git,
    picture,
    write_pairs,
)
from tests.hub.faults import ALWAYS, Fault
from tests.hub.server import READ_TOKEN
from tests.processes import contents

REPO = "org/defects"
VALIDATE = "/api/validate-yaml"
GENERATED = "synthetic-n4-split1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return finished_project(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def project(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "project", symlinks=True)


def plan(project: Path, work: Path, name: str = REPO, **options) -> Plan:
    work.mkdir(exist_ok=True)
    params = yaml.safe_load((project / "params.yaml").read_text())
    return plan_version(name, dataset_contents(project, params), params, project, work, **options)


def published(project: Path, work: Path, **options) -> str:
    """Publishes what is there; the version."""
    planned = plan(project, work, **options)
    publish(planned)
    return str(planned.version)


def tags(name: str = REPO) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in HfApi().list_repo_refs(name, repo_type="dataset").tags}


def rows(config: str, split: str, revision: str = "v1.0.0"):
    return load_dataset(REPO, config, split=split, revision=revision)


def same_pair(row: dict, pair) -> bool:
    return np.array_equal(row["image"], pair.image) and row["micrograph_id"] == pair.micrograph_id


def test_a_plan_sends_nothing(hub, project, tmp_path):
    planned = plan(project, tmp_path / "work")
    assert str(planned.version) == "v1.0.0" and planned.before.head is None
    assert planned.changes[GENERATED].added == 6
    assert {request.path for request in hub.requests if request.method not in ("GET", "HEAD")} <= {VALIDATE}
    with pytest.raises(RepositoryNotFoundError):
        HfApi().repo_info(REPO, repo_type="dataset")


def test_what_is_published_is_loaded_by_strangers(hub, project, tmp_path):
    published(project, tmp_path / "work")
    assert HfApi().repo_info(REPO, repo_type="dataset").private
    for config, count in ((GENERATED, 6), (f"{GENERATED}-filtered", 5), ("patches-n4-split1", 2)):
        assert len(rows(config, "train")) == count
    assert [len(rows("experimental", role)) for role in ("train", "validation", "test")] == [4, 1, 2]
    assert [len(rows("experimental-n4-split1", role)) for role in ("train", "validation", "test")] == [3, 1, 2]
    assert len(rows("simulated-masks", "n4_split1")) == 6
    assert len(rows(GENERATED, "test")) == len(rows("patches-n4-split1", "test")) == 2
    assert len(load_dataset(REPO, split="train", revision="v1.0.0")) == 4
    streamed = load_dataset(REPO, GENERATED, split="train", revision="v1.0.0", streaming=True)
    assert [row["seed"] for row in streamed] == [*range(6)]
    made = read_dataset(project / CELL.folder / "pairs/exp_gen", "train")
    assert all(same_pair(row, pair) for row, pair in zip(rows(GENERATED, "train"), made, strict=True))


def test_every_published_byte_is_that_of_a_stage(hub, project, tmp_path):
    published(project, tmp_path / "work")
    folder = Path(HfApi().snapshot_download(REPO, repo_type="dataset", revision="v1.0.0"))
    manifest = read_manifest(folder / MANIFEST)
    assert {*contents(folder)} - {".gitattributes", README, MANIFEST} == {*manifest.files}
    for path, file in manifest.files.items():
        if file.place:
            assert (folder / path).read_bytes() == (project / file.place).read_bytes()
    assert manifest.made_by["git_revision"] == git(project, "rev-parse", "HEAD")
    assert (folder / "provenance/dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()


def test_old_versions_stay_and_the_next_says_what_changed(hub, project, tmp_path):
    assert published(project, tmp_path / "1") == "v1.0.0"
    write_pairs(project, range(9))
    commit(project)
    planned = plan(project, tmp_path / "2")
    assert planned.changes[GENERATED] == (3, 0, 0)
    publish(planned)
    assert [len(rows(GENERATED, "train", version)) for version in ("v1.0.0", "v1.1.0")] == [6, 9]
    write_pairs(project, range(2, 9))
    commit(project)
    assert plan(project, tmp_path / "3").changes[GENERATED] == (0, 2, 0)
    assert published(project, tmp_path / "3") == "v2.0.0"
    (project / "cards/rendered/dataset.md").write_text(CARD.format(kind="better card"))
    commit(project)
    assert published(project, tmp_path / "4") == "v2.0.1"
    assert plan(project, tmp_path / "5").version is None
    assert [*tags()] == ["v1.0.0", "v1.1.0", "v2.0.0", "v2.0.1"]
    assert len(HfApi().list_repo_commits(REPO, repo_type="dataset")) == 5  # and the one that makes a repository


def test_altered_rows_are_told_from_new_ones(hub, project, tmp_path):
    published(project, tmp_path / "1")
    micrographs = list(read_dataset(project / MICROGRAPHS))
    micrographs[2] = replace(micrographs[2], thickness_nm=80.0)
    write_micrographs(project / MICROGRAPHS, [*micrographs, picture("m7", 7, 48)], CLASSES, "Whole micrographs.")
    commit(project)
    planned = plan(project, tmp_path / "2")
    assert planned.changes == {"experimental": (1, 0, 1)} and str(planned.version) == "v2.0.0"


@pytest.mark.parametrize("version", ["v1.0.0", "v0.9.0", "v1.0.1"])
def test_a_version_never_says_less_than_changed(hub, project, tmp_path, version):
    published(project, tmp_path / "1")
    write_pairs(project, range(7))
    commit(project)
    with pytest.raises(TemDataError, match="v1.1.0"):
        plan(project, tmp_path / "2", version=version)
    assert str(plan(project, tmp_path / "2", version="v3.0.0").version) == "v3.0.0"


def test_experimental_data_need_a_licence(hub, tmp_path):
    project = finished_project(tmp_path / "real", source="ellipses")
    with pytest.raises(TemDataError, match="licence"):
        plan(project, tmp_path / "work")
    publish(plan(project, tmp_path / "work", license="cc-by-4.0"))
    assert DatasetCard.load(REPO).data.license == "cc-by-4.0"


def test_what_git_and_dvc_do_not_vouch_for_is_not_published(hub, project, tmp_path):
    write_pairs(project, range(7))
    with pytest.raises(TemDataError, match="runs.*dvc repro"):
        plan(project, tmp_path / "work")
    write_pairs(project, range(6))
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("toy", "other"))
    with pytest.raises(TemDataError, match="params.yaml.*commit"):
        plan(project, tmp_path / "work")
    git(project, "commit", "-qam", "Settings of another run")
    with pytest.raises(TemDataError, match=": import.*dvc repro"):
        plan(project, tmp_path / "work")


def test_a_strange_repository_is_left_alone(hub, project, tmp_path):
    HfApi().create_repo(REPO, repo_type="dataset")
    upload("mine.txt")
    with pytest.raises(TemDataError, match="mine.txt.*another name"):
        plan(project, tmp_path / "work")


def upload(path: str, content: bytes = b"mine") -> None:
    HfApi().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=REPO, repo_type="dataset")


def test_what_others_put_there_stays(hub, project, tmp_path):
    published(project, tmp_path / "1")
    upload("LICENSE")
    write_pairs(project, range(3))
    commit(project)
    assert published(project, tmp_path / "2") == "v2.0.0"
    assert HfApi().file_exists(REPO, "LICENSE", repo_type="dataset")
    assert plan(project, tmp_path / "3").version is None
    upload("NOTES")
    assert str(plan(project, tmp_path / "4").version) == "v2.0.1"  # what is newest is a version


def test_who_commits_meanwhile_is_not_overwritten(hub, project, tmp_path):
    published(project, tmp_path / "1")
    write_pairs(project, range(7))
    commit(project)
    planned = plan(project, tmp_path / "2")
    upload("LICENSE")
    with pytest.raises(TemDataError, match="meanwhile.*command again"):
        publish(planned)
    assert published(project, tmp_path / "3") == "v1.1.0"


def test_a_commit_that_lacks_a_file_gets_no_tag(hub, project, tmp_path, monkeypatch):
    planned, whole = plan(project, tmp_path / "work"), HfApi.create_commit

    def ignoring(api, name, operations, **options):
        return whole(api, name, [o for o in operations if "synthetic" not in o.path_in_repo], **options)

    monkeypatch.setattr(HfApi, "create_commit", ignoring)
    with pytest.raises(TemDataError, match="left out synthetic"):
        publish(planned)
    assert not tags()


def test_a_file_that_changes_while_it_is_published_is_noticed(hub, project, tmp_path):
    planned = plan(project, tmp_path / "work")
    (project / CELL.data / "shapes.json").write_text("other")
    with pytest.raises(TemDataError, match="shapes.json.*changed"):
        publish(planned)
    assert not tags()


REFUSED = {
    "forbidden": (Fault("forbidden", "POST .*/commit/", ALWAYS), "may not write"),
    "quota": (Fault("quota", "POST .*/commit/", ALWAYS), "storage"),
    "unauthorised": (Fault("unauthorised", "POST .*/(create|commit)", ALWAYS), "token"),
    "error": (Fault("error", "POST .*/commit/", ALWAYS), "same command again"),
    "cut": (Fault("cut upload", "PUT .*", ALWAYS), "same command again"),
    "pause": (Fault("rate limit", "POST .*/commit/", ALWAYS, seconds=1), "pause"),
    "tag": (Fault("error", "POST .*/tag/", ALWAYS), "same command again"),
}


@pytest.mark.parametrize("fault, said", REFUSED.values(), ids=REFUSED)
def test_what_breaks_off_is_not_published_and_ends_by_the_same_command(hub, project, tmp_path, fault, said):
    hub.faults.append(replace(fault))
    with pytest.raises(TemDataError, match=said) as error:
        published(project, tmp_path / "work")
    assert "hf_" not in str(error.value) and "\n" not in str(error.value)
    hub.faults.clear()
    if HfApi().repo_exists(REPO, repo_type="dataset"):
        assert not tags()
    assert published(project, tmp_path / "work") == "v1.0.0"
    assert len(rows(GENERATED, "train")) == 6


def test_what_was_sent_is_not_sent_again(hub, project, tmp_path):
    hub.faults.append(Fault("error", "POST .*/commit/", ALWAYS))
    with pytest.raises(TemDataError):
        published(project, tmp_path / "work")
    sent = sum(request.method == "PUT" for request in hub.requests)
    hub.faults.clear()
    published(project, tmp_path / "work")
    assert sum(request.method == "PUT" for request in hub.requests) == sent > 0


def test_a_tag_is_never_moved(hub, project, tmp_path):
    planned = plan(project, tmp_path / "work")
    publish(planned)
    (project / "cards/rendered/dataset.md").write_text(CARD.format(kind="better card"))
    commit(project)
    before = tags()
    late = replace(plan(project, tmp_path / "late"), version=planned.version)
    with pytest.raises(TemDataError, match="never overwritten"):
        publish(late)
    assert tags() == before


def test_publishing_needs_a_token(hub, project, tmp_path, monkeypatch):
    planned = plan(project, tmp_path / "work")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(TemDataError, match="hf auth login"):
        publish(planned)
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(TemDataError, match="may not write"):
        publish(planned)


def clone(project: Path, folder: Path) -> Path:
    """A clone of the project, without what DVC keeps."""
    git(project, "clone", "-q", str(project), str(folder))
    return folder


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
    assert {*pulled.outs} == {pairs / "exp_gen", pairs / "exp_gen_filtered"}
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
    assert load_detector("org/detector@v1.0.0").classes == CLASSES.names

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


def test_the_commands_show_first_and_do_when_told(hub, project, tmp_path):
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    command = ("publish", "dataset", REPO, "--project", project)
    shown = run(*command)
    assert all(word in shown for word in ("v1.0.0", "private", GENERATED, "Nothing was sent"))
    assert {request.path for request in hub.requests if request.method not in ("GET", "HEAD")} <= {VALIDATE}
    assert "v1.0.0 is published" in run(*command, "--yes")
    assert "nothing to publish" in run(*command, "--yes")
    fresh = clone(project, tmp_path / "fresh")
    assert "dvc repro --allow-missing" in run("pull", REPO, "--project", fresh)
    assert contents(fresh / "runs") == contents(project / "runs")
    for wrong, said in ((("--run", "9-9-9"), "1-4-1"), (("--run", "1-4-1", "--arm", "cp"), "exp_gen")):
        with pytest.raises(TemDataError, match=said):
            run("publish", "detector", "org/detector", "--project", project, *wrong)
