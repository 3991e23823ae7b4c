"""What the settings of a stranger's version can do to the project that takes them."""

import os
import re
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from typer.testing import CliRunner

from tem_data.cli import app
from tem_data.core.errors import TemDataError
from tem_data.core.places import MICROGRAPHS
from tem_data.hub import settings
from tem_data.hub.pulling import pull
from tem_data.hub.settings import EXECUTED, INSERTED, PLACES, take_settings
from tests.helpers.finished_project import CELL, PARAMS, REPO, clone, commit, published
from tests.helpers.processes import contents

LAUNCH = {"default": "python -m", "train_ldm": "accelerate launch -m"}
EVIL = {"default": "touch hacked; python -m", "train_ldm": "touch hacked;"}


def params_of(project: Path, **changes) -> dict:
    """Writes params.yaml with `changes` of its sections."""
    params = PARAMS | changes
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    return params


def now(project: Path) -> dict:
    return yaml.safe_load((project / "params.yaml").read_text())


@pytest.fixture
def received(project, tmp_path):
    """A folder with settings as a version brings them, at first those of the project."""
    folder = tmp_path / "received"
    folder.mkdir()
    (folder / "dvc.lock").write_bytes((project / "dvc.lock").read_bytes())
    for place in (project, folder):
        params_of(place, launch=LAUNCH)
    return folder


def test_commands_of_a_version_are_never_taken(hub, project, tmp_path):
    params_of(project, launch=LAUNCH)
    commit(project)
    fresh = clone(project, tmp_path / "fresh")
    theirs = params_of(project, launch=EVIL, profile="theirs", masks={"density": 2.0})
    commit(project)
    published(project, tmp_path / "work")
    said = CliRunner().invoke(app, ["pull", REPO, "--settings", "--project", str(fresh), "--replace"]).output
    assert "params.yaml: launch as they were here" in said.splitlines()[-2]
    assert pull(REPO, fresh, settings=True, replace=True).kept == ("launch",)
    assert now(fresh) == theirs | {"launch": LAUNCH}
    assert (fresh / "dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()


def test_a_version_has_no_commands_where_the_project_has_none(project, received):
    params_of(project)
    params_of(received, launch=EVIL)
    assert take_settings(project, received, [MICROGRAPHS]) == ["launch"]
    assert now(project) == PARAMS


def test_a_command_in_the_lock_is_not_run(project, received):
    params_of(received, launch=LAUNCH)
    lock = yaml.safe_load((received / "dvc.lock").read_text())
    for stage in lock["stages"].values():
        stage["cmd"] = "touch hacked"
    (received / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert take_settings(project, received, [MICROGRAPHS]) == []
    with chdir(project), Repo() as repo:
        repo.reproduce()
    assert not (project / "hacked").exists()


@pytest.mark.parametrize("key", ["md5", "relpath"])
def test_a_hash_that_leads_out_of_the_cache_is_refused(project, received, key):
    (project.parent / "secret").write_text("of this machine")
    lock = yaml.safe_load((received / "dvc.lock").read_text())
    (entry,) = lock["stages"]["fit_shapes"]["outs"]
    leading = f"..{os.path.relpath(project.parent / 'secret', project / '.dvc/cache/files/md5/..')}"
    entry |= {"md5": leading} if key == "md5" else {"files": [{"relpath": leading, "md5": entry["md5"]}]}
    (received / "dvc.lock").write_text(yaml.safe_dump(lock))
    before = contents(project)
    with pytest.raises(TemDataError, match=f"received/dvc.lock: {key}: expected a hash"):
        take_settings(project, received, [CELL.data / "shapes.json"])
    assert contents(project) == before


@pytest.mark.parametrize("place", ["/etc", "../../home", "~/data", "data/../../x", "https://example.org/x", ["/etc"]])
@pytest.mark.parametrize("section, keys", PLACES.items())
def test_places_outside_the_project_are_not_taken(project, received, section, keys, place):
    here = {key: f"mine/{key}" for key in keys}
    params_of(project, **{section: here | {"seed": 1}})
    for key in keys:
        params_of(received, **{section: {other: f"theirs/{other}" for other in keys} | {key: place, "seed": 2}})
        assert take_settings(project, received, [MICROGRAPHS]) == [f"{section}.{key}" for key in keys]
        assert now(project)[section] == here | {"seed": 2}


def test_places_within_the_project_and_names_on_the_hub_are_taken(project, received):
    theirs = params_of(
        received,
        launch=LAUNCH,
        split={"watch": "conf/config.yaml", "table": None},
        autoencoder={"pretrained": "org/vae@v1"},
        ldm={"pretrained": "org/ldm"},
        detector={"weights": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"},
    )
    assert take_settings(project, received, [MICROGRAPHS]) == [] and now(project) == theirs


@pytest.mark.parametrize("value", ["1; touch hacked", "$(touch hacked)", "../../x", "a b", -1, {"a;b": 1}])
def test_what_would_go_into_a_command_is_refused(project, received, value):
    params_of(received, launch=LAUNCH, study=PARAMS["study"] | {"cells": ["1-4", value]})
    before = contents(project)
    with pytest.raises(TemDataError, match="params.yaml: study goes into commands"):
        take_settings(project, received, [MICROGRAPHS])
    assert contents(project) == before


@pytest.mark.parametrize("text", ["- launch", "launch", "", "launch: {", "launch: 1\nlaunch: 2", "\x00"])
def test_settings_that_are_none_are_refused(project, received, text):
    (received / "params.yaml").write_text(text)
    before = contents(project)
    with pytest.raises(TemDataError, match="received/params.yaml: (expected sections|not a YAML file)"):
        take_settings(project, received, [MICROGRAPHS])
    assert contents(project) == before


@pytest.mark.parametrize("lock", ["- 1", "stages: [", "schema: '2.0'\nstages: 3"])
def test_a_lock_that_is_none_leaves_all_as_it_was(project, received, lock):
    params_of(received, launch=LAUNCH, profile="theirs")
    (received / "dvc.lock").write_text(lock)
    before = contents(project)
    with pytest.raises(TemDataError, match="dvc.lock"):
        take_settings(project, received, [MICROGRAPHS])
    assert contents(project) == before


def test_an_interruption_leaves_all_as_it_was(project, received, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    params_of(received, launch=LAUNCH, profile="theirs")
    (received / "dvc.lock").write_text("schema: '2.0'\n")
    monkeypatch.setattr(settings, "check_outs", interrupt)
    before = contents(project)
    with pytest.raises(KeyboardInterrupt):
        take_settings(project, received, [MICROGRAPHS])
    assert contents(project) == before


def test_all_that_dvc_yaml_inserts_is_looked_at():
    stages = (Path(__file__).resolve().parents[2] / "dvc.yaml").read_text()
    inserted = set(re.findall(r"\$\{([\w.]+)", stages))
    places = {f"{section}.{key}" for section, keys in PLACES.items() for key in keys}
    known = {key for key in inserted if key.split(".")[0] in (*EXECUTED, *INSERTED, "item", "key") or key in places}
    assert "launch.default" in inserted and inserted == known
