import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.reports.page import Link, Picture, Section, Table, cell, embedded, write_report

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


def narrow(width):
    return SVG.replace('width="9"', f'width="{width}pt"')


def test_drawings_of_one_column_stand_side_by_side_and_photographs_are_not_inverted(tmp_path):
    (tmp_path / "wide.svg").write_text(narrow(510.2))
    (tmp_path / "narrow.svg").write_text(narrow(249.4))
    Image.new("L", (9, 9)).save(tmp_path / "photo.png")
    pictures = [Picture(tmp_path / name) for name in ("wide.svg", "narrow.svg", "photo.png")]
    write_report(tmp_path / "r.html", "t", "s", [Section("h", pictures=pictures)])
    page = (tmp_path / "r.html").read_text()
    assert [f["class"] for f in Page(page).all("figure")] == ["drawn", "drawn half", "photo"]
    assert "figure.drawn img { filter" in page.split("prefers-color-scheme: dark")[1]


def test_a_page_leads_to_others_and_says_what_it_was_made_of(tmp_path):
    rows = [{"report": Link("1-10-1", "1-10-1/report.html"), "F1_HM": "0.480 [0.430, 0.514]"}]
    sections = [Section("Runs", tables=[Table(rows, "All", folded=True)], links=[Link("more", "more.html")])]
    facts = {"Code": "commit 1234"}
    write_report(tmp_path / "r.html", "t", "s", sections, [Link("Study", "../study.html")], facts)
    page = Page((tmp_path / "r.html").read_text())
    hrefs = [a["href"] for a in page.all("a")]
    assert hrefs == ["../study.html", "#section-1", "more.html", "1-10-1/report.html"]
    assert "commit 1234" in page.texts and "0.480 [0.430,\N{NO-BREAK SPACE}0.514]" in page.texts
    assert len(page.all("details")) == 1 and page.texts.count("Table 1. All") == 1


HOSTILE = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"


def test_hostile_names_are_text_wherever_they_stand(tmp_path):
    (tmp_path / "f.svg").write_text(SVG)
    rows = [{HOSTILE: HOSTILE, "link": Link(HOSTILE, "a.html")}]
    tables = [Table(rows, HOSTILE), Table(rows, HOSTILE, folded=True)]
    sections = [Section(HOSTILE, HOSTILE, tables, [Picture(tmp_path / "f.svg", HOSTILE)], [Link(HOSTILE, "b.html")])]
    write_report(tmp_path / "r.html", HOSTILE, HOSTILE, sections, [Link(HOSTILE, "c.html")], {HOSTILE: HOSTILE})
    page = Page((tmp_path / "r.html").read_text())
    assert len(page.all("img")) == 1 and not page.all("script")
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert page.all("img")[0]["alt"] == HOSTILE
