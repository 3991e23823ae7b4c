"""The page as a user works with it, in a real browser."""

import json
import re
import time
from urllib.error import HTTPError
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

from tests.app.conftest import LEFT, RIGHT, draw

pytestmark = pytest.mark.slow


def search(page, *files, detector="fast"):
    if detector != "fast":
        page.get_by_label("Detector").click()
        page.get_by_role("option", name=detector).click()
    page.set_input_files("#micrographs input[type=file]", [str(file) for file in files])
    page.wait_for_function("n => document.querySelectorAll('#micrographs .file').length == n", arg=len(files))
    page.click("#search")


def rows(page, table):
    return page.locator(f"#{table} .virtual-row")


def expect(page, text, table="own"):
    """Wait until a line of a table holds the text."""
    rows(page, table).filter(has_text=text).first.wait_for()


def test_upload_threshold_and_download(page, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nonsense")
    search(page, draw(tmp_path / "one.png", LEFT, RIGHT), draw(tmp_path / "two.png", LEFT), bad)
    expect(page, "2 (")
    expect(page, "3 (", "together")
    assert re.fullmatch("Set aside: bad.png: [^\n]+", page.locator("#set-aside").inner_text().strip())
    assert rows(page, "defects").count() == 2

    page.locator("#threshold input[type=number]").fill("0.8")
    expect(page, "1 (")
    expect(page, "2 (", "together")
    assert rows(page, "defects").count() == 1

    page.click("#make")
    page.wait_for_selector("#download:not([disabled])")
    with page.expect_download() as download:
        page.click("#download")
    with ZipFile(download.value.path()) as files:
        names = set(files.namelist())
        assert len(files.read("found/defects.csv").decode().splitlines()) == 1 + 2
        assert json.loads(files.read("found/summary.json"))["threshold"] == 0.8
    kinds = ("micrographs.csv", "report.html", "found.json", "quarantine.csv", "labelme/one.json", "overlays/two.png")
    assert {f"found/{kind}" for kind in (*kinds, "rois/one.zip", "geojson/one.geojson")} <= names
    assert page.hosts == {page.url.split("/")[2]}


def test_two_clicks_on_the_scale_bar_give_sizes_in_nm(page, tmp_path):
    search(page, draw(tmp_path / "one.png", LEFT, RIGHT))
    expect(page, "2 (")
    assert "scale not known" in page.locator("#remarks").inner_text()
    page.click("#scale button")
    picture = page.locator("#picture img")
    box = picture.bounding_box()
    for share in (0.25, 0.75):
        picture.click(position={"x": share * box["width"], "y": 0.5 * box["height"]})
        page.wait_for_timeout(500)
    page.locator("#length input").fill("64")
    page.click("#calibrate")
    page.wait_for_function("document.querySelector('#remarks').innerText.includes('nm per px')")
    nm_per_px = float(re.search(r"([\d.]+) nm per px", page.locator("#remarks").inner_text())[1])
    assert nm_per_px == pytest.approx(2, rel=0.05)


def test_a_search_can_be_cancelled(page, tmp_path):
    search(page, draw(tmp_path / "large.png", LEFT, size=(800, 800)), detector="slow")
    page.get_by_text("micrograph 1 of 1").wait_for()
    page.wait_for_timeout(1000)
    start = time.monotonic()
    page.click("#cancel-search")
    page.get_by_text("Cancelled.").first.wait_for()
    assert time.monotonic() - start < 5


def test_two_users_do_not_mix(page, browser, address, tmp_path):
    other = browser.new_page()
    other.goto(address)
    other.wait_for_selector("#search")
    search(page, draw(tmp_path / "one.png", LEFT, RIGHT))
    search(other, draw(tmp_path / "two.png", LEFT))
    expect(page, "2 (")
    expect(other, "1 (")
    page.locator("#threshold input[type=number]").fill("0.8")
    expect(page, "1 (")
    assert page.locator("#micrograph input").input_value() == "one.png"
    assert other.locator("#micrograph input").input_value() == "two.png"
    other.close()


def test_nothing_dropped_is_one_line(page):
    page.click("#search")
    page.get_by_text("Drop some micrographs first.").wait_for()


def paint(page, steps, pictures):
    page.get_by_role("tab", name="Paint").click()
    page.locator("#side input[type=number]").fill("64")
    page.locator("#steps input[type=number]").fill(str(steps))
    page.locator("#pictures input[type=number]").fill(str(pictures))
    page.locator("#pictures input[type=number]").press("Tab")


def test_paint_from_shapes(page):
    paint(page, 5, 2)
    page.click("#paint")
    page.wait_for_selector("#painted img")
    assert page.locator("#painted img").count() == page.locator("#masks img").count() == 2
    page.wait_for_selector("#download-painted:not([disabled])")
    with page.expect_download() as download:
        page.click("#download-painted")
    with ZipFile(download.value.path()) as files:
        assert json.loads(files.read("painted.json"))["seeds"] == [0, 1]
        assert {"images/001.png", "masks/002.png", "instances/002.png"} <= set(files.namelist())


def test_paint_from_a_brush(page):
    paint(page, 5, 1)
    page.get_by_label("drawn with a brush").click()
    canvas = page.locator("#editor canvas").first
    canvas.wait_for()
    page.click("#paint")
    page.get_by_text("the mask is empty").wait_for()
    page.wait_for_timeout(1000)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2 + 30, steps=5)
    page.mouse.up()
    page.click("#paint")
    page.wait_for_selector("#painted img")


def test_painting_can_be_cancelled(page):
    paint(page, 100, 16)
    page.click("#paint")
    page.wait_for_timeout(1500)
    page.click("#cancel-paint")
    page.get_by_text("Cancelled.").first.wait_for()
    assert not page.locator("#painted img").count()


def test_browse_a_dataset(page):
    page.get_by_role("tab", name="Browse").click()
    page.click("#open")
    page.wait_for_selector("#labelled img")
    expect(page, "m3", "rows")
    assert "specimen: <b>odd</b>" in page.locator("#origin").inner_text()
    expect(page, "missing image", "aside")
    rows(page, "rows").filter(has_text="m3").locator("[role=gridcell]").nth(1).click()
    page.wait_for_function("document.querySelector('#origin').innerText.includes('name: m3')")


def test_a_project_without_a_study_says_so(page):
    page.get_by_role("tab", name="Study").click()
    page.get_by_text("No results of a study").wait_for()


def test_files_of_the_machine_are_not_given(address, trained_project):
    for path in (trained_project / "results/quarantine.csv", __file__, "/etc/hostname"):
        with pytest.raises(HTTPError, match="403"):
            urlopen(f"{address}gradio_api/file={path}")
