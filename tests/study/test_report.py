import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.core.files import write_json
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.fidelity.comparison import compare_pictures
from tem_data.fidelity.text import describe, page_sections, read_section
from tem_data.reports.page import Picture, Section, Table, cell, embedded, write_report

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


class Page(HTMLParser):
    """Tags with their attributes, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(tmp_path):
    (tmp_path / "sweep.svg").write_text(SVG)
    rows = [{"arm": "EXP", "runs": 4, "F1_HM": 0.65123, "p": None}, {"arm": "<b>GEN</b> & co", "runs": 4, "note": "x"}]
    sections = [
        Section(
            "Scores <of> arms",
            "First.\n\nSecond.",
            [Table(rows, "All scores")],
            [Picture(tmp_path / "sweep.svg", 'A "sweep"')],
        ),
        Section("Study"),
    ]
    write_report(tmp_path / "report.html", "Run 1-10-1", "The gain is <0.01.\n\nNot significant.", sections)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_has_all_that_was_given(page):
    read = Page(page)
    assert {"Run 1-10-1", "Scores <of> arms", "Study", "The gain is <0.01.", "Not significant.", "Second."} <= set(
        read.texts
    )
    assert {"Table 1. All scores", 'Figure 1. A "sweep"', "0.651", "–", "<b>GEN</b> & co"} <= set(read.texts)
    assert not read.all("b")
    assert len(read.all("p")) == 4
    assert read.texts.index("The gain is <0.01.") < read.texts.index("Contents")


def test_the_contents_lead_to_the_sections(page):
    read = Page(page)
    assert [a["href"] for a in read.all("a")] == ["#section-1", "#section-2"]
    assert [h["id"] for h in read.all("h2") if "id" in h] == ["section-1", "section-2"]


def test_tables_have_a_column_for_every_key(page):
    read = Page(page)
    assert len(read.all("th")) == 5 and len(read.all("td")) == 10
    assert len(read.all("tr")) == 3
    assert [c.get("class") for c in read.all("th")] == [None, "number", "number", "number", None]


def test_nothing_lies_outside_the_page(page):
    read = Page(page)
    references = [attrs[name] for _, attrs in read.tags for name in ("src", "href") if name in attrs]
    assert all(reference.startswith(("data:", "#")) for reference in references) and len(references) == 3
    assert not re.search(r"https?:|@import|url\(|<script|<link", page)


def test_a_vector_figure_goes_in_unchanged(page):
    (image,) = Page(page).all("img")
    kind, content = image["src"].split(";base64,")
    assert (kind, base64.b64decode(content).decode()) == ("data:image/svg+xml", SVG)
    assert image["alt"] == 'A "sweep"'


def test_large_pictures_become_jpeg_of_screen_size(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (400, 2000), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    Image.fromarray(noise[:20, :20]).save(tmp_path / "small.png")
    assert embedded(tmp_path / "small.png").startswith("data:image/png;")
    kind, content = embedded(tmp_path / "large.png").split(",")
    assert kind == "data:image/jpeg;base64"
    (tmp_path / "shown.jpg").write_bytes(base64.b64decode(content))
    assert Image.open(tmp_path / "shown.jpg").size == (1600, 320)


@pytest.mark.parametrize("name, problem", [("missing.svg", "cannot be read"), ("figure.tiff", "expected a figure")])
def test_pictures_that_cannot_be_shown_are_named(tmp_path, name, problem):
    with pytest.raises(TemDataError, match=f"{name}.*{problem}"):
        write_report(tmp_path / "r.html", "t", "s", [Section("h", pictures=[Picture(tmp_path / name)])])
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0.000"),
        (0.12345, "0.123"),
        (0.00012, "1.2e-04"),
        (-1.5, "-1.500"),
        (12, "12"),
        ("0.6 ± 0.1", "0.6 ± 0.1"),
        (True, "True"),
    ],
)
def test_cell(value, text):
    assert cell(value) == text


def patch_with_a_dot(number, dark):
    image = np.random.default_rng(number).integers(188, 193, (32, 32)).astype(np.uint8)
    image[10:18, 10:18] = dark
    return Micrograph(
        f"m{number}", image, (Defect("dot", 10, 10, np.ones((8, 8), bool)),), (32, 32), scene=f"s{number}"
    )


def test_fidelity_is_told_where_some_of_it_is_not_known(tmp_path):
    """Dots half as dark as real ones; no features, so no memorisation; a class that is nowhere."""
    real, generated = ([patch_with_a_dot(i, dark) for i in range(4)] for dark in (60, 125))
    pictures = compare_pictures(real, real, generated, ("dot", "loop"), progress=False).summary
    scores = {"f1_hm": 0.25, "f1_detect": 0.2, "f1_class": 1 / 3, "pairs": 4, "adherence": 0.5}
    judged = {kind: scores | {"f1_right_by_class": {"dot": 0.5}} for kind in ("real", "reconstructed", "generated")}
    summary = {"adherence": judged, "reconstruction": {"psnr_db": 31.4}, "pictures": pictures}
    write_json(tmp_path / "fidelity.json", summary)
    assert read_section(tmp_path / "elsewhere") is None
    section = read_section(tmp_path)
    assert "in generated pictures with F1_HM 0.250" in section.text and "31.4 dB" in section.text
    assert "nearest" not in section.text
    dot, loop = (row for row in section.tables[1].rows if row["where"] == "inside" and row["class"] in ("dot", "loop"))
    assert (dot["ratio"], dot["real"]) == (pytest.approx(0.5, abs=0.01), pytest.approx(130, abs=1))
    assert loop["ratio"] is None and loop["generated"] is None
    write_report(tmp_path / "page.html", "t", describe(summary), page_sections(tmp_path, summary))
    assert Page((tmp_path / "page.html").read_text()).all("table")
