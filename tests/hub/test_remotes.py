"""What `dvc push` sends, to a folder or to S3, is all that a fresh clone needs in place of running the stages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from tests.helpers.processes import contents

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("import", "split", "fit_shapes")
DATA, IMPORTED = "data", "data/micrographs"
UP_TO_DATE = "Data and pipelines are up to date."


def run(folder: Path, *command: str) -> str:
    """What a command in `folder` prints; it must succeed."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
        "GIT_CONFIG_COUNT": "2",
        **{"GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "test"},
        **{"GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "test@localhost"},
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def set_param(folder: Path, section: str, **changes: object) -> None:
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params[section] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A clone in which the first stages of dvc.yaml have run on the toy profile, and whose results are committed."""
    folder = tmp_path_factory.mktemp("first") / "project"
    for name in ("tem_data", "pipelines", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {name: stages[name] for name in STAGES}}))
    overrides = ["profile=toy", "study.cells=[1-4]", "study.runs=[1]"]
    compose_and_dump(folder / "params.yaml", str(ROOT / "conf"), None, "config", "", overrides)
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "repro")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "a run")
    return folder


def clone_of(project: Path, folder: Path) -> Path:
    run(folder.parent, "git", "clone", "-q", str(project), str(folder))
    assert not (folder / DATA).exists()
    return folder


def test_a_clone_beside_pulls_a_run_in_place_of_running_it(project):
    run(project, "dvc", "push")
    restored(project, clone_of(project, project.with_name("clone")))


def restored(project: Path, clone: Path) -> None:
    run(clone, "dvc", "pull")
    assert contents(clone / DATA) == contents(project / DATA)
    assert UP_TO_DATE in run(clone, "dvc", "status")
    assert "Running" not in run(clone, "dvc", "repro")
    assert not run(clone, "git", "status", "--porcelain")


def test_a_clone_without_a_remote_runs_the_stages(project, tmp_path):
    clone = clone_of(project, tmp_path / "clone")
    assert "Running stage 'import'" in run(clone, "dvc", "repro", "import")
    assert contents(clone / IMPORTED) == contents(project / IMPORTED)


@pytest.fixture
def bucket(monkeypatch) -> Iterator[str]:
    """The address of a local S3 server with the empty bucket `lab`, whose keys are in the environment."""
    pytest.importorskip("dvc_s3", reason="needs the extra s3")
    moto = pytest.importorskip("moto.server", reason="needs moto, flask and flask-cors")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    for name, value in {"AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    server.start()
    host, port = server.get_host_and_port()
    client = pytest.importorskip("boto3").client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="lab")
    yield f"http://{host}:{port}"
    server.stop()


def test_a_clone_anywhere_pulls_from_s3(project, bucket, tmp_path):
    clone = clone_of(project, tmp_path / "clone")
    for folder, default in ((project, ()), (clone, ("--default",))):
        run(folder, "dvc", "remote", "add", "--local", *default, "lab", "s3://lab/tem_data")
        run(folder, "dvc", "remote", "modify", "--local", "lab", "endpointurl", bucket)
    assert "pushed" in run(project, "dvc", "push", "--remote", "lab")
    restored(project, clone)


def test_runs_that_are_in_no_commit_come_with_the_run_cache(project):
    """Last, as it changes the project."""
    clone = clone_of(project, project.with_name("run_cache"))
    set_param(project, "shapes", min_ellipse_iou=0.7)
    assert "Running stage 'fit_shapes" in run(project, "dvc", "repro")
    run(project, "dvc", "push", "--run-cache")
    run(clone, "dvc", "pull", "--run-cache")
    set_param(clone, "shapes", min_ellipse_iou=0.7)
    done = run(clone, "dvc", "repro", "--pull")
    assert "Running" not in done and "is cached - skipping run" in done
    assert contents(clone / DATA) == contents(project / DATA)
