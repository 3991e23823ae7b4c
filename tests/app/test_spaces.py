"""The files of the Hugging Face Space."""

import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SPACE = ROOT / "spaces"


def test_its_head_and_its_pins():
    head = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert head["sdk"] == "docker" and head["app_port"] == 7860 and len(head["short_description"]) <= 60
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"tem_data-{version}-" in (SPACE / "requirements.txt").read_text()
    pin = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("DETECTRON2"))
    assert pin.split(":= ")[1] in (SPACE / "Dockerfile").read_text()


@pytest.mark.slow
def test_it_serves_the_page(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PORT": str(port), "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, SPACE / "app.py"], cwd=tmp_path, env=environment)
    try:
        assert "content-security-policy" in answer(f"http://127.0.0.1:{port}/").headers
    finally:
        server.terminate()
        server.wait()


def answer(address):
    for _ in range(300):
        try:
            return urllib.request.urlopen(address)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")
