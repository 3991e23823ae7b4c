"""Pretrained models by their Hub names, from a server on loopback that speaks the Hub's protocol as far as needed."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from diffusers import AutoencoderKL

from tem_data.micrograph import Micrograph
from tem_data.schema import Classes, read_dataset, write_dataset
from tests.toy_ldm import untrained

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "diffusion_pytorch_model.safetensors"
REVISION, COMMIT = "v1", "1" * 40
LOAD = """
import sys
from tem_data.diffusion import load_autoencoder
from tem_data.diffusion.datasets import generate_pairs
from tem_data.errors import TemDataError

for name in ("org/root", "org/nested"):
    load_autoencoder(name, revision="v1").model.save_pretrained(f"{sys.argv[1]}/{name}")
for name, revision in (("org/none", "v1"), ("org/root", "v2")):
    try:
        load_autoencoder(name, revision)
    except TemDataError as error:
        print(error)
for name in ("org/ldm", "org/none"):
    try:
        generate_pairs(name, sys.argv[2], {"num_inference_steps": 1}, 0, f"{sys.argv[1]}/pairs")
    except TemDataError as error:
        print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """Serves the folder `root / org / name` as the revision v1 of `org/name`; `asked` collects the paths."""

    def __init__(self, *args, root: Path, asked: list[str]):
        self.root, self.asked = root, asked
        super().__init__(*args)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        api = self.path.startswith("/api/models/")
        org, name, *rest = self.path.removeprefix("/api/models").split("?")[0].split("/")[1:]
        verb, revision, *path = rest or ("revision", "main")
        folder = self.root / org / name
        files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        if not folder.is_dir():
            self.answer(404, error="RepoNotFound")
        elif revision not in ("main", REVISION, COMMIT):
            self.answer(404, error="RevisionNotFound")
        elif api and verb == "tree":
            tree = [{"type": "file", "oid": COMMIT, "size": len(body), "path": name} for name, body in files.items()]
            self.answer(200, json.dumps(tree).encode())
        elif api:
            siblings = [{"rfilename": name} for name in files]
            self.answer(200, json.dumps({"id": f"{org}/{name}", "sha": COMMIT, "siblings": siblings}).encode())
        elif verb != "resolve" or "/".join(path) not in files:
            self.answer(404, error="EntryNotFound")
        else:
            self.answer(200, files["/".join(path)])

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes = b"", error: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def hub(tmp_path) -> Iterator[tuple[str, list[str]]]:
    """The address of a Hub with the autoencoders `org/root` and, in `vae/`, `org/nested`, and the pipeline `org/ldm`.

    Beside it what it was asked for.
    """
    untrained().save_pretrained(tmp_path / "hub/org/ldm")
    for folder in ("org/root", "org/nested/vae"):
        AutoencoderKL(block_out_channels=(4,), norm_num_groups=2).save_pretrained(tmp_path / "hub" / folder)
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, root=tmp_path / "hub", asked=asked)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_models_are_read_by_their_hub_names_and_revisions(hub, tmp_path):
    address, asked = hub
    mask = Micrograph("m", None, (), (32, 32), origin="sim")
    write_dataset(tmp_path / "masks", {"train": [mask]}, Classes(("square",)))
    settings = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", LOAD, str(tmp_path / "loaded"), str(tmp_path / "masks")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, folder in (("org/root", "org/root"), ("org/nested", "org/nested/vae")):
        loaded, served = tmp_path / "loaded" / name / WEIGHTS, tmp_path / "hub" / folder / WEIGHTS
        assert loaded.read_bytes() == served.read_bytes()
        assert f"/api/models/{name}/revision/{REVISION}" in asked
        assert f"/{folder.replace(name, f'{name}/resolve/{COMMIT}')}/{WEIGHTS}" in asked
    no_name, no_revision, no_pipeline = done.stdout.splitlines()
    assert no_name.startswith("autoencoder org/none (revision v1): ")
    assert no_revision.startswith("autoencoder org/root (revision v2): ")
    assert no_pipeline.startswith("latent diffusion model org/none: ")
    (pair,) = read_dataset(tmp_path / "loaded/pairs", "train")
    assert pair.checkpoint == f"org/ldm@{COMMIT}" and pair.image.shape == (32, 32)
