"""A publish of 2,000 pairs that is killed again and again ends as one that is not."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import HfApi

from tem_data.download.manifest import MANIFEST, read_manifest
from tests.helpers.finished_project import commit, finished_project, write_pairs
from tests.helpers.hub.faults import ALWAYS, Fault
from tests.helpers.hub.server import HubServer

pytestmark = pytest.mark.slow

KILLS = 10


def publish(project: Path, name: str, hub: HubServer, kill_at: int | None = None, until: str = "never") -> int:
    """The exit status of `tem-data publish`; it is killed when the Hub has had `kill_at` requests of it, or `until`."""
    command = [sys.executable, "-m", "tem_data.cli", "publish", "dataset", name, "--project", str(project), "--yes"]
    before = len(hub.requests)
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            asked = hub.requests[before:]
            if len(asked) == kill_at or any(until in request.path for request in asked):
                process.kill()
            time.sleep(0.001)
        assert process.returncode in (0, -9), process.stderr.read()
        return process.returncode


def versions(name: str) -> dict[str, dict]:
    """By tag: every file and its content's hash."""
    api = HfApi()
    found = {}
    for tag in api.list_repo_refs(name, repo_type="dataset").tags:
        tree = api.list_repo_tree(name, repo_type="dataset", revision=tag.name, recursive=True)
        found[tag.name] = {entry.path: entry.blob_id for entry in tree if hasattr(entry, "blob_id")}
    return found


def content(name: str) -> dict[str, str]:
    """Of the one version that must be there; the card is left out, as it says the repository's name."""
    ((version, files),) = versions(name).items()
    assert version == "v1.0.0"
    return {path: blob for path, blob in files.items() if path != "README.md"}


def test_a_killed_publish_ends_in_the_same_tag_with_the_same_content(hub, tmp_path):
    project, rng = finished_project(tmp_path / "project", pairs=2000), np.random.default_rng(0)
    assert publish(project, "org/whole", hub) == 0
    requests, kills, names = len(hub.requests), 0, ["org/killed-0"]
    while kills < KILLS:
        if publish(project, names[-1], hub, int(rng.integers(1, requests))) == 0:
            names.append(f"org/killed-{len(names)}")
        else:
            kills += 1
    publish(project, names[-1], hub)
    for name in names:
        assert content(name) == content("org/whole")
    manifest = read_manifest(HfApi().hf_hub_download(names[-1], MANIFEST, repo_type="dataset", revision="v1.0.0"))
    assert manifest.changes["by_group"]["synthetic-n4-split1"]["added"] == 2000


def test_what_a_killed_publish_left_is_no_version_of_its_own(hub, tmp_path):
    project = finished_project(tmp_path / "project")
    hub.faults.append(Fault("slow", "POST .*/tag/", ALWAYS, seconds=60))
    assert publish(project, "org/killed", hub, until="/tag/") == -9
    hub.faults.clear()
    assert versions("org/killed") == {}
    write_pairs(project, range(9))
    commit(project)
    assert publish(project, "org/killed", hub) == 0
    assert [*versions("org/killed")] == ["v1.0.0"]
    rows = load_dataset("org/killed", "synthetic-n4-split1", split="train", revision="v1.0.0")
    assert len(rows) == 9
