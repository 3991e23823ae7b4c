import shutil
import subprocess
import sys

import pytest

from tem_data.app.browse import look, overview
from tem_data.app.sources import sources_of
from tem_data.core.errors import TemDataError


def test_a_project_names_what_it_holds(drawn_project, tmp_path):
    project = shutil.copytree(drawn_project, tmp_path / "project")
    model, detector, judge = (project / "runs/1-10-1" / name for name in ("ldm", "exp", "without_config"))
    weights = [folder / "model.safetensors" for folder in (detector, judge)]
    for path in (model / "model_index.json", detector / "config.json", *weights):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = sources_of(project=project)
    assert found.ldm == str(model) and list(found.detectors.values()) == [str(detector)]
    assert found.shapes == project / "data/1-10/shapes.json"
    assert list(found.datasets) == ["data/micrographs"]


def test_what_is_named_goes_before_it(drawn_project, tmp_path):
    found = sources_of(["org/name@v1", str(tmp_path / "runs" / "exp")], datasets=[tmp_path], project=drawn_project)
    assert list(found.detectors) == ["org/name@v1", "runs/exp"]
    assert list(found.datasets.values()) == [tmp_path]
    with pytest.raises(TemDataError, match="no such file"):
        sources_of(shapes=tmp_path / "none.json")


def test_the_page_starts_without_torch():
    code = "import sys, tem_data.app.page, tem_data.app.sources; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_dataset_as_a_list(drawn_project):
    folder = drawn_project / "data/micrographs"
    assert [row.cells[1] for row in overview(folder)] == ["m0", "m1", "m2", "m3"]
    picture, text = look(folder, 0)
    assert picture.shape == (512, 512, 3) and "&lt;b&gt;odd&lt;/b&gt;" in text
    assert look(folder, 4) == (None, "")
