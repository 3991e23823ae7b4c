"""A project with toy models, the page that shows it, and a browser to look at it with."""

import shutil
import time
from dataclasses import replace

import pytest
from PIL import Image

from tem_data.core.files import write_table
from tem_data.core.micrograph import Micrograph, defect_from_mask
from tem_data.core.schema import Classes, write_micrographs
from tem_data.masks.shapes import fit_shapes, save_shapes
from tests.helpers.toy_detector import BrightDetector, perfect
from tests.helpers.toy_ldm import toy, trained

CHROMIUM = shutil.which("chromium")
LEFT, RIGHT = (5, 20, 10, 10), (40, 20, 12, 12)


def draw(path, *boxes, size=(64, 64)):
    """A dark picture with bright boxes (left, top, width, height)."""
    picture = Image.new("L", size, 20)
    for left, top, width, height in boxes:
        picture.paste(200, (left, top, left + width, top + height))
    picture.save(path)
    return path


class Slow(BrightDetector):
    def find(self, crops, threshold, wanted):
        time.sleep(0.3)
        return super().find(crops, threshold, wanted)


def slow():
    return Slow(**vars(perfect(64)))


@pytest.fixture(scope="session")
def drawn_project(tmp_path_factory):
    """A dataset of whole micrographs with squares, their shapes, and what an import set aside."""
    project = tmp_path_factory.mktemp("project")
    pairs = toy(4, 3, 64, 64)
    micrographs = [
        replace(micrograph, image=image, specimen="steel" if number else "<b>odd</b>", labelled_by="a person")
        for number, (micrograph, image) in enumerate(zip(_micrographs(pairs), pairs.images, strict=True))
    ]
    write_micrographs(project / "data/micrographs", micrographs, Classes(("square",), ()), "Squares.")
    (project / "data/1-10").mkdir()
    save_shapes(fit_shapes(micrographs, ["square"]), project / "data/1-10/shapes.json")
    (project / "results").mkdir()
    row = {"file": "lost.tif", "item": "", "reason": "missing image", "action": "set aside", "detail": ""}
    write_table(project / "results/quarantine.csv", [row], list(row))
    return project


@pytest.fixture(scope="session")
def trained_project(drawn_project, tmp_path_factory):
    """The same with a diffusion model."""
    project = shutil.copytree(drawn_project, tmp_path_factory.mktemp("trained") / "project")
    trained()[1].save_pretrained(project / "runs/1-10-1/ldm")
    return project


def _micrographs(pairs):
    for number, mask in enumerate(pairs.conditioning.masks):
        defects = (defect_from_mask("square", mask > 0),)
        yield Micrograph(f"m{number}", None, defects, mask.shape, nm_per_px=0.5, origin="exp", scene=f"s{number}")


@pytest.fixture(scope="module")
def address(trained_project):
    """Where the real server shows the page; its detectors are `fast` and `slow`."""
    from tem_data.app.page import serving
    from tem_data.app.sources import sources_of

    loaded = {"fast": perfect(64), "slow": slow()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tem_data.detection.Detector.from_pretrained", lambda name, device=None: loaded[name])
        with serving(sources_of(["fast", "slow"], project=trained_project)) as url:
            yield url


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    """An open page; `page.hosts` are those that it asked for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(30_000)
    tab.hosts = set()
    tab.on("request", lambda request: tab.hosts.add(request.url.partition("//")[2].partition("/")[0]))
    tab.goto(address)
    tab.wait_for_selector("#search")
    yield tab
    context.close()
