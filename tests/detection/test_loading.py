"""Detectors that were saved, and files in their place that a stranger may have written."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from safetensors.torch import save_file
from torch import nn

from tem_data.core.errors import TemDataError
from tem_data.core.files import write_json
from tem_data.detection.about import Scale
from tem_data.detection.detector import Detector
from tem_data.detection.model import detector_config
from tests.detection.test_detection import CLASSES, PRETRAINED
from tests.helpers.finished_project import SCORES
from tests.helpers.processes import permissions, umask
from tests.helpers.toy_detector import about


@pytest.fixture
def tiny(monkeypatch):
    """A detector whose network costs nothing to build."""
    model = nn.ModuleDict({"backbone": nn.Linear(1, 1)})
    monkeypatch.setattr("tem_data.detection.loading.build_model", lambda cfg: model)
    return Detector(model, detector_config(PRETRAINED, CLASSES, 80, 20), about(CLASSES))


def test_what_is_known_of_a_detector_comes_back(tiny, tmp_path):
    known = replace(tiny, about=replace(tiny.about, nm_per_px=Scale(0.5, 0.4, 0.9)))
    known.save_pretrained(tmp_path / "a")
    again = Detector.from_pretrained(tmp_path / "a")
    assert again.about == known.about and again.scores is None and again.threshold == 0.5
    write_json(tmp_path / "a" / "scores.json", SCORES)
    assert Detector.from_pretrained(tmp_path / "a", device="cpu").threshold == SCORES["threshold"]
    assert not next(again.model.parameters()).is_cuda


def test_the_scores_of_another_detector_do_not_stay(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "a")
    write_json(tmp_path / "a" / "scores.json", SCORES)
    tiny.save_pretrained(tmp_path / "a")
    assert Detector.from_pretrained(tmp_path / "a").scores is None


def test_a_folder_without_what_is_known_is_refused(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(TemDataError, match="a/config.json: .*No such file.*; train the detector again"):
        Detector.from_pretrained(tmp_path / "a")


def test_classes_that_are_not_those_of_the_network_are_refused(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "a")
    path = tmp_path / "a" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": ["square", "disc"]}))
    with pytest.raises(TemDataError, match="config.json: expected the 1 classes of the network, found 2"):
        Detector.from_pretrained(tmp_path / "a")


def test_weights_of_another_network_are_refused(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "a")
    save_file({"x": next(tiny.model.parameters()).detach().contiguous()}, tmp_path / "a" / "model.safetensors")
    with pytest.raises(TemDataError, match="model.safetensors: expected the weights of the network"):
        Detector.from_pretrained(tmp_path / "a")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", ""])
def test_a_device_that_is_not_there_is_said(tiny, tmp_path, device):
    tiny.save_pretrained(tmp_path / "a")
    with pytest.raises(TemDataError, match="device .*; give cpu, cuda or cuda:N"):
        Detector.from_pretrained(tmp_path / "a", device=device)


def test_a_saved_detector_is_as_readable_as_other_files(tiny, tmp_path):
    with umask(0o022):
        tiny.save_pretrained(tmp_path / "detector")
    assert permissions(tmp_path / "detector") == {(False, 0o644), (True, 0o755)}


NOT_SETTINGS = ("", "- 1", "MODEL: 3", "MODEL: {{BACKBONE: 2020-01-01}}", "MODEL: {{META_ARCHITECTURE: None.such}}")


@pytest.mark.parametrize(
    "yaml", ["A: !!python/object/apply:os.mkdir [{harm}]", "A: 3", "[", "VERSION: 99", None, *NOT_SETTINGS]
)
def test_a_received_configuration_does_no_harm(tmp_path, yaml):
    (tmp_path / "model.safetensors").touch()
    if yaml is not None:
        (tmp_path / "config.yaml").write_text(yaml.format(harm=tmp_path / "harm"))
    with pytest.raises(TemDataError, match="config.yaml: expected the file that train-detector wrote"):
        Detector.from_pretrained(tmp_path)
    assert not (tmp_path / "harm").exists()


class Counted(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"VERSION: 2")

    do_HEAD = do_GET


@pytest.fixture
def address():
    """A server on loopback that counts what it is asked for."""
    Counted.asked = 0
    with HTTPServer(("127.0.0.1", 0), Counted) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/x.yaml"
        server.shutdown()


@pytest.mark.parametrize("place", ["{address}", "[{address}]", "{local}", "~/x.yaml", "x.yaml"])
def test_a_received_configuration_opens_no_other_file_or_address(tmp_path, tiny, address, monkeypatch, place):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "detector"
    tiny.save_pretrained(folder)
    for local in (tmp_path / "x.yaml", folder / "x.yaml"):
        local.write_text("VERSION: 2")
    base = f"_BASE_: {place.format(address=address, local=tmp_path / 'x.yaml')}\n"
    config = folder / "config.yaml"
    own = config.read_text()
    for text in (base + own, base + "MODEL: {}", own.replace("MODEL:", f"MODEL:\n  {base}", 1)):
        config.write_text(text)
        with pytest.raises(TemDataError, match="config.yaml: expected the file that train-detector wrote.*_BASE_"):
            Detector.from_pretrained(folder)
    assert Counted.asked == 0


def test_weights_that_a_received_configuration_names_are_not_fetched(tmp_path, tiny, address):
    tiny.save_pretrained(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("WEIGHTS: ''", f"WEIGHTS: {address}"))
    assert address in config.read_text()
    assert Detector.from_pretrained(tmp_path).cfg.MODEL.WEIGHTS == "" and Counted.asked == 0
