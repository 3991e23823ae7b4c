"""Versions on a Hub: what is planned, sent, refused, and pulled back."""

from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from pyarrow import parquet
from typer.testing import CliRunner

from tem_data.cli import app
from tem_data.core.errors import TemDataError
from tem_data.core.places import MICROGRAPHS, ROLES
from tem_data.core.schema import read_dataset, write_micrographs
from tem_data.download.manifest import MANIFEST, README, read_manifest
from tem_data.hub.publishing import publish
from tests.helpers.finished_project import (
    CARD,
    CELL,
    CLASSES,
    REPO,
    clone,
    commit,
    finished_project,
    git,
    picture,
    plan,
    published,
    upload,
    write_pairs,
)
from tests.helpers.hub.faults import ALWAYS, Fault
from tests.helpers.hub.server import READ_TOKEN
from tests.helpers.processes import contents

pytestmark = pytest.mark.slow

VALIDATE = "/api/validate-yaml"
GENERATED = "synthetic-n4-split1"


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
    for config, count in ((GENERATED, 6), (f"{GENERATED}-painted", 6), ("patches-n4-split1", 2)):
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


PICTURES = ("image", "mask", "instances")
STAGES = {
    "experimental": MICROGRAPHS,
    "patches-n4-split1": CELL.data / "patches",
    "simulated-masks": CELL.folder / "masks",
    GENERATED: CELL.folder / "pairs/exp_gen",
    f"{GENERATED}-painted": CELL.folder / "pairs/exp_paint",
}


def undecoded(data) -> list[dict]:
    for name in PICTURES:
        data = data.cast_column(name, datasets.Image(decode=False))
    return [row | {name: row[name] and row[name]["bytes"] for name in PICTURES} for row in data]


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_are_equal_in_every_column(hub, project, tmp_path, streaming):
    published(project, tmp_path / "work")
    for config, folder in STAGES.items():
        loaded = load_dataset(REPO, config, revision="v1.0.0", streaming=streaming)
        for split in ("n4_split1",) if config == "simulated-masks" else ROLES:
            came_from = STAGES["patches-n4-split1"] if "synthetic" in config and split != "train" else folder
            shard_of = {"experimental": "micrographs", "simulated-masks": "train"}.get(config, split)
            (*shards,) = sorted((project / came_from / "data").glob(f"{shard_of}-*.parquet"))
            made = [row for shard in shards for row in parquet.read_table(shard).to_pylist()]
            made = [row | {name: row[name] and row[name]["bytes"] for name in PICTURES} for row in made]
            rows = undecoded(loaded[split])
            if config == "experimental":
                made = [row for row in made if row["micrograph_id"] in {r["micrograph_id"] for r in rows}]
            assert rows == made


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
