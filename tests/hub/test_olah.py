"""What is published, read through olah (0.5.4 was tried), a Hub mirror that others wrote.

Its dependencies do not fit ours: `python -m venv V && V/bin/pip install olah==0.5.4`, and V/bin at the end of PATH.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import Dataset, load_dataset
from huggingface_hub import HfApi, constants
from PIL import Image


@pytest.fixture
def mirror(hub, tmp_path) -> Iterator[str]:
    """The address of olah in front of the Hub."""
    olah = shutil.which("olah-cli")
    if olah is None:
        pytest.skip("needs olah-cli on the PATH")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours, own = hub.url.removeprefix("http://"), f"127.0.0.1:{port}"
    options = {"hf": ours, "hf-lfs": ours, "mirror": own, "mirror-lfs": own}
    command = [olah, "--host", "127.0.0.1", "--port", str(port), "--hf-scheme", "http", "--mirror-scheme", "http"]
    command += [word for name, value in options.items() for word in (f"--{name}-netloc", value)]
    command += ["--repos-path", tmp_path / "olah", "--log-path", tmp_path / "olah_log"]
    with (tmp_path / "olah.txt").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_for(port)
        yield f"http://{own}"
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"olah does not answer on port {port}")


def test_a_version_reads_the_same_through_a_mirror(hub, mirror, tmp_path, monkeypatch):
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    rows = Dataset.from_list([{"image": Image.fromarray(pixels + index), "row": index} for index in range(5)])
    for revision, count in (("v1.0.0", 5), ("v1.1.0", 2)):
        rows.select(range(count)).push_to_hub("org/data", "some", split="train")
        HfApi().create_tag("org/data", repo_type="dataset", tag=revision)
    monkeypatch.setattr(constants, "ENDPOINT", mirror)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "mirrored"))
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", mirror)
    for streaming in (False, True):
        read = list(load_dataset("org/data", "some", revision="v1.0.0", split="train", streaming=streaming))
        assert [row["row"] for row in read] == [0, 1, 2, 3, 4]
        assert all(np.array_equal(np.asarray(row["image"]), pixels + row["row"]) for row in read)
    folder = HfApi(mirror).snapshot_download("org/data", repo_type="dataset", revision="v1.1.0")
    (shard,) = Path(folder).glob("**/*.parquet")
    assert Dataset.from_parquet(str(shard))["row"][:] == [0, 1]
    assert any((tmp_path / "olah").rglob("org/data")), "olah keeps what it has passed on"
