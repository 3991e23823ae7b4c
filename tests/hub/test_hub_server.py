"""The Hub that other tests publish to, as the real clients see it."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import Dataset, load_dataset
from diffusers import AutoencoderKL
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetCard, HfApi, ModelCard, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session
from PIL import Image

from tests.helpers.hub.faults import Fault
from tests.helpers.hub.server import READ_TOKEN, HubServer

NAME = "org/data"
DATA = {"repo_id": NAME, "repo_type": "dataset"}


def publish(files: dict[str, bytes], parent: str | None = None) -> str:
    """One commit of these files; its id."""
    api = HfApi()
    api.create_repo(**DATA, exist_ok=True)
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    return api.create_commit(**DATA, operations=operations, commit_message="data", parent_commit=parent).oid


def downloaded(revision: str) -> dict[str, bytes]:
    folder = Path(HfApi().snapshot_download(**DATA, revision=revision))
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files[".gitattributes"]
    return files


def status(error: pytest.ExceptionInfo) -> int:
    return error.value.response.status_code


def test_versions_keep_their_files_and_survive_a_restart(hub, tmp_path):
    old, new = {"README.md": b"# one", "a b/x.parquet": b"x" * 100}, {"README.md": b"# two", "y.png": b"y"}
    api, first = HfApi(), publish(old)
    api.create_tag(**DATA, tag="v1.0.0")
    gone = CommitOperationDelete("a b/", is_folder=True)
    add = [CommitOperationAdd(name, content) for name, content in new.items()]
    info = api.create_commit(**DATA, operations=[*add, gone], commit_message="two", parent_commit=first)
    second = info.oid
    assert info.repo_url.repo_id == NAME and info.repo_url.repo_type == "dataset"
    assert downloaded("v1.0.0") == old and downloaded("main") == new
    with HubServer(tmp_path / "hub") as again:
        api = HfApi(again.url)
        assert api.list_repo_refs(**DATA).tags[0].target_commit == first
        assert [commit.commit_id for commit in api.list_repo_commits(**DATA)][:2] == [second, first]
        assert api.list_repo_files(**DATA, revision="v1.0.0") == [".gitattributes", "README.md", "a b/x.parquet"]
        assert Path(api.hf_hub_download(**DATA, filename="y.png", force_download=True)).read_bytes() == b"y"


def test_what_exists_is_not_overwritten(hub):
    api, commit = HfApi(), publish({"a.txt": b"a"})
    api.create_tag(**DATA, tag="v1")
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag(**DATA, tag="v1")
    assert status(error) == 409
    with pytest.raises(HfHubHTTPError, match="You already created this dataset repo") as error:
        api.create_repo(**DATA)
    assert status(error) == 409
    publish({"a.txt": b"b"}, parent=commit)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        publish({"a.txt": b"c"}, parent=commit)
    assert status(error) == 412
    api.delete_tag(**DATA, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(**DATA, revision="v1")


def test_branches_with_slashes_files_and_sizes(hub):
    hub.page_size = 2
    api, content = HfApi(), b"0123456789"
    publish({f"folder/{index}.parquet": content for index in range(5)} | {"top.txt": b"t"})
    api.create_branch(**DATA, branch="feature/x")
    api.delete_file("folder/4.parquet", **DATA, revision="feature/x")
    assert len(api.list_repo_files(**DATA, revision="feature/x")) == len(api.list_repo_files(**DATA)) - 1 == 6
    top = [entry.path for entry in api.list_repo_tree(**DATA)]
    assert top == [".gitattributes", "folder", "top.txt"]
    assert next(iter(api.list_repo_tree(**DATA, path_in_repo="folder"))).path == "folder/0.parquet"
    large, small = api.get_paths_info(**DATA, paths=["folder/1.parquet", "top.txt", "none"])
    assert (large.size, large.lfs.sha256) == (10, hashlib.sha256(content).hexdigest())
    assert small.lfs is None and small.blob_id == hashlib.sha1(b"blob 1\0t").hexdigest()
    assert api.file_exists(**DATA, filename="top.txt") and not api.file_exists(**DATA, filename="none")
    with pytest.raises(EntryNotFoundError):
        api.delete_file("none", **DATA)


def test_nothing_is_sent_twice(hub):
    content = {"one.parquet": b"1" * 1000, "two.parquet": b"2" * 1000, "a.txt": b"a"}
    commit = publish(content)
    assert len(hub.asked("PUT")) == 2
    assert publish(content) == commit, "the same files need no commit"
    publish({"renamed.parquet": content["one.parquet"]})
    assert len(hub.asked("PUT")) == 2
    assert sum(asked.received for asked in hub.requests if asked.method == "PUT") == 2000


def test_large_files_in_parts(hub):
    hub.part_size = 1000
    content = bytes(range(256)) * 10
    publish({"x.parquet": content})
    assert [path.rpartition("/")[2] for path in hub.asked("PUT")] == ["1", "2", "3"]
    assert downloaded("main") == {"x.parquet": content}


def test_uploads_that_are_not_what_was_announced_are_refused(hub):
    publish({"a.txt": b"a"})
    sha256 = hashlib.sha256(b"right").hexdigest()
    for content, size in ((b"wrong", 5), (b"right", 6)):
        assert get_session().put(f"{hub.url}/_lfs/{sha256}?size={size}", content=content).status_code == 400
    lines = [{"key": "header", "value": {"summary": "x"}}]
    lines.append({"key": "lfsFile", "value": {"path": "x.bin", "oid": sha256, "size": 5}})
    body = "\n".join(json.dumps(line) for line in lines)
    headers = {"Authorization": f"Bearer {next(iter(hub.tokens))}"}
    answer = get_session().post(f"{hub.url}/api/datasets/{NAME}/commit/main", content=body, headers=headers)
    assert answer.status_code == 400 and "does not exist" in answer.json()["error"]


def test_who_may_do_what(hub):
    HfApi().create_repo(**DATA, private=True)
    assert HfApi().whoami()["auth"]["accessToken"]["role"] == "write"
    assert HfApi(token=READ_TOKEN).repo_info(**DATA).private
    HfApi().auth_check(**DATA, write=True)
    with pytest.raises(HfHubHTTPError, match="write token"):
        HfApi(token=READ_TOKEN).auth_check(**DATA, write=True)
    with pytest.raises(HfHubHTTPError, match="write token") as error:
        HfApi(token=READ_TOKEN).create_tag(**DATA, tag="v1")
    assert status(error) == 403
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).repo_info(**DATA)
    with pytest.raises(RepositoryNotFoundError):
        HfApi().repo_info("org/none")
    with pytest.raises(HfHubHTTPError) as error:
        HfApi(token="hf_unknown").repo_info(**DATA)
    assert status(error) == 401
    HfApi().update_repo_settings(**DATA, private=False)
    assert not HfApi(token=False).repo_info(**DATA).private


def test_cards_and_their_metadata(hub):
    HfApi().create_repo(**DATA)
    HfApi().create_repo(NAME)
    DatasetCard("---\nlicense: mit\ntags: [tem]\n---\n# Data\n").push_to_hub(NAME)
    ModelCard("---\nlicense: mit\n---\n# Model\n").push_to_hub(NAME)
    assert DatasetCard.load(NAME).data.tags == ["tem"] and ModelCard.load(NAME).text.strip() == "# Model"
    assert HfApi().dataset_info(NAME).card_data.license == "mit"
    with pytest.raises(ValueError, match="YAML"):
        publish({"README.md": b"---\n- [\n---\n"})


@pytest.mark.parametrize("what, waits", [("error", [1, 2]), ("rate limit", [4, 4]), ("cut upload", [1, 2])])
def test_uploads_are_tried_again(hub, what, waits):
    hub.faults.append(Fault(what, "^PUT /_lfs", times=2, seconds=3))
    publish({"x.parquet": b"x" * 100_000})
    assert hub.waits == waits and downloaded("main") == {"x.parquet": b"x" * 100_000}
    assert not list((hub.storage.folder / "incoming").iterdir())


def test_a_download_that_breaks_off_is_resumed(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    content = bytes(range(256)) * 1000
    publish({"x.parquet": content})
    hub.faults.append(Fault("cut download", "^GET .*/resolve/.*parquet"))
    assert downloaded("main") == {"x.parquet": content}
    first, second = (asked for asked in hub.requests if asked.method == "GET" and asked.path.endswith("parquet"))
    assert second.range == f"bytes={first.sent}-" and first.sent + second.sent == len(content) == 2 * first.sent


@pytest.mark.parametrize(
    "what, path, code, done",
    [
        ("error", "/commit/", 500, False),
        ("forbidden", "/preupload/", 403, False),
        ("quota", "/lfs/objects/batch", 403, False),
        ("unauthorised", "/commit/", 401, False),
        ("cut upload", "/commit/", None, False),
        ("cut download", "/commit/", None, True),
    ],
)
def test_commits_that_fail_say_so(hub, what, path, code, done):
    before = publish({"a.txt": b"a"})
    hub.faults.append(Fault(what, path))
    with pytest.raises(Exception) as error:
        publish({"x.parquet": b"x"})
    assert getattr(getattr(error.value, "response", None), "status_code", None) == code
    assert ("storage limit reached" in str(error.value)) == (what == "quota")
    assert (HfApi().repo_info(**DATA).sha != before) == done
    publish({"x.parquet": b"x"})
    assert downloaded("main") == {"a.txt": b"a", "x.parquet": b"x"}


def test_other_bytes_than_were_sent(hub):
    publish({"x.parquet": b"x" * 100})
    hub.faults.append(Fault("wrong bytes", "^GET .*parquet"))
    (wrong,) = downloaded("main").values()
    assert len(wrong) == 100 and wrong != b"x" * 100


def test_faults_wait_for_their_turn_and_can_be_set_from_outside(hub):
    faults = [{"what": "error", "path": "whoami", "after": 1}, {"what": "slow", "path": "whoami", "seconds": 0.2}]
    get_session().post(f"{hub.url}/_test/faults", json=faults)
    start = time.monotonic()
    HfApi().whoami()
    assert time.monotonic() - start > 0.2
    with pytest.raises(HfHubHTTPError):
        HfApi().whoami()
    HfApi().whoami()
    assert [asked.status for asked in hub.requests if "whoami" in asked.path] == [200, 500, 200]


def test_datasets_by_version_streamed_and_offline(hub, monkeypatch):
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    rows = Dataset.from_list([{"image": Image.fromarray(pixels + index), "row": index} for index in range(5)])
    for revision, count in (("v1.0.0", 5), ("v1.1.0", 2)):
        rows.select(range(count)).push_to_hub(NAME, "some", split="train", private=True)
        HfApi().create_tag(**DATA, tag=revision)
    old, new = (load_dataset(NAME, "some", revision=revision, split="train") for revision in ("v1.0.0", "v1.1.0"))
    assert old["row"][:] == [0, 1, 2, 3, 4] and new["row"][:] == [0, 1]
    assert np.array_equal(np.asarray(old[4]["image"]), pixels + 4)
    streamed = load_dataset(NAME, "some", revision="v1.0.0", split="train", streaming=True)
    assert [row["row"] for row in streamed] == [0, 1, 2, 3, 4] and hub.requests[-1].range.startswith("bytes=0-")
    asked = len(hub.requests)
    for module in (constants, datasets.config):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    assert load_dataset(NAME, "some", split="train")["row"][:] == [0, 1]
    assert len(hub.requests) == asked


def test_diffusers_models(hub, tmp_path):
    sent = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2)
    sent.save_pretrained(str(tmp_path / "vae"), push_to_hub=True, repo_id="org/vae", private=True)
    HfApi().create_tag("org/vae", tag="v1.0.0")
    got = AutoencoderKL.from_pretrained("org/vae", revision="v1.0.0").state_dict()
    assert all(np.array_equal(weight, got[name]) for name, weight in sent.state_dict().items())


CLI = """
import sys
from huggingface_hub.cli.hf import main

for line in sys.stdin:
    sys.argv = ["hf", *line.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, line
"""


def test_the_hf_command(hub, tmp_path):
    """Every command in one process: most of the time of `hf` is its imports."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new/x.parquet").write_bytes(b"x")
    lines = (
        "auth whoami",
        f"upload {NAME} {tmp_path}/new . --repo-type dataset --private",
        f"repos tag create {NAME} v1.0.0 --repo-type dataset",
        f"upload {NAME} {__file__} test.py --repo-type dataset",
        f"download {NAME} --repo-type dataset --revision v1.0.0 --local-dir {tmp_path}/got",
    )
    done = subprocess.run([sys.executable, "-c", CLI], input="\n".join(lines), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert HfApi().list_repo_files(**DATA) == [".gitattributes", "test.py", "x.parquet"]
    assert sorted(path.name for path in (tmp_path / "got").glob("*.*")) == [".cache", ".gitattributes", "x.parquet"]
