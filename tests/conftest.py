import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.hub.server import HubServer

os.environ["DVC_NO_ANALYTICS"] = "1"  # of DVC's own projects that tests make

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder with the real micrographs, beside the checkout; not part of the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real micrographs in ../shared/data")
    return SHARED


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[HubServer]:
    """An empty Hub on loopback that the libraries of this process, and processes it starts, take for the real one.

    Caches are empty too (in `tmp_path / "hub_home"`), the token may write. Where a client waits before it tries again,
    it waits a hundredth of that; `hub.waits` collects the seconds it asked for.
    """
    from datasets import config
    from datasets.utils import file_utils
    from huggingface_hub import close_session, constants, file_download, hf_api
    from huggingface_hub.utils import _http

    with HubServer(tmp_path / "hub") as server:
        environment = server.environment(tmp_path / "hub_home")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        # Both libraries read their environment when they are imported, which has happened by now.
        places = {name: environment[name] for name in ("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH")}
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        switches = {"HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}
        patch(monkeypatch, constants, ENDPOINT=server.url, HUGGINGFACE_CO_URL_TEMPLATE=template, **places, **switches)
        patch(monkeypatch, hf_api.api, endpoint=server.url)
        template = server.url + "/datasets/{repo_id}/resolve/{revision}/{path}"
        cache = Path(environment["HF_DATASETS_CACHE"])
        patch(monkeypatch, config, HF_ENDPOINT=server.url, HUB_DATASETS_URL=template)
        patch(monkeypatch, config, HF_DATASETS_CACHE=cache, HF_HUB_OFFLINE=False)
        for module in (_http, file_download, file_utils):
            patch(monkeypatch, module, time=SimpleNamespace(sleep=server.wait))
        yield server
    close_session()


def patch(monkeypatch: pytest.MonkeyPatch, target: object, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setattr(target, name, value)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    from tests.helpers.finished_project import finished_project

    return finished_project(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def project(finished, tmp_path) -> Path:
    """A small finished project of one's own, with data of one cell, in git and DVC."""
    return shutil.copytree(finished, tmp_path / "project", symlinks=True)
