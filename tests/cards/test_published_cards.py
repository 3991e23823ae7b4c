"""The card of one published thing; the command that makes it again; whom to cite."""

import re
from dataclasses import replace

import pytest
from huggingface_hub import DatasetCard, ModelCard

from tem_data.cards import published_card
from tem_data.cards.reproducing import _compose, command, overrides
from tem_data.core.errors import TemDataError
from tem_data.download.manifest import Manifest
from tests.helpers.drawn_study import ROOT, TEMPLATES, draw_study, render

CONF = ROOT / "conf"
MADE = {"git_revision": "92c42009", "profile": "quick", "dvc_lock": "ab12", "tem_data": "0.1.0"}
CHANGES = {"since": "v1.0.0", "by_group": {"patches": {"added": 12, "removed": 0, "altered": 3}}}
MANIFEST = Manifest("dataset", {}, version="v2.0.0", made_by=MADE, changes=CHANGES)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The settings of a drawn study, and its cards."""
    results = tmp_path_factory.mktemp("results")
    params = draw_study(results, 1)
    return params["study"], render(results, params)


def about_of(study):
    split, size = study["cells"][-1].split("-")
    return f"split {split}, n = {size}, run {study['runs'][1]}"


def published(cards, kind, **more):
    return published_card(cards[f"{kind}.md"], repository="org/thing", manifest=replace(MANIFEST, kind=kind), **more)


def test_the_card_of_a_dataset_says_what_it_is_and_how_to_load_it(study):
    _, cards = study
    configs = [{"config_name": "experimental", "data_files": [{"split": "train", "path": "a"}], "default": True}]
    head = {"configs": configs, "license": "cc-by-4.0", "size_categories": ["n<1K"]}
    text = published(cards, "dataset", head=head, figures={"Masks": "assets/masks.png"})
    card = DatasetCard(text)
    assert (card.data.configs, card.data.license, card.data.size_categories) == (configs, "cc-by-4.0", ["n<1K"])
    assert card.data.pretty_name == DatasetCard(cards["dataset.md"]).data.pretty_name
    assert 'load_dataset("org/thing", "experimental", revision="v2.0.0")' in text
    assert "since `v1.0.0`" in text and "| patches | 12 | 0 | 3 |" in text and "| `experimental` | train |" in text
    assert all(value in text for value in MADE.values())
    assert "**Licence**: cc-by-4.0." in text and "none was given" not in text
    assert "![Masks](assets/masks.png)" in text and "<!--" not in text
    assert text == published(cards, "dataset", head=head, figures={"Masks": "assets/masks.png"})


def test_the_card_of_a_model_has_its_own_results_alone(study):
    settings, cards = study
    about = about_of(settings)
    cell, _, _ = about.rpartition(", ")
    card = ModelCard(published(cards, "detector", about=f"{about}, EXP+GEN"))
    results = card.data.eval_results
    assert (card.data.model_name, len(results)) == ("thing", 3)
    assert {result.dataset_name for result in results} == {f"quick, simulated: {cell}, EXP+GEN"}
    assert 'Detector.from_pretrained("org/thing@v2.0.0")' in card.text and f"{about}, EXP+GEN" in card.text
    card = ModelCard(published(cards, "ldm", about=about, figures={"A": "a.png", "B": "b.png"}))
    assert {result.dataset_name for result in card.data.eval_results} == {f"quick, simulated: {cell}"}
    assert 'MaskToMicrographPipeline.from_pretrained("org/thing", revision="v2.0.0")' in card.text
    assert "![A](a.png)" in card.text and "![B](b.png)" in card.text


def test_a_card_that_is_not_of_this_model_is_named(study):
    with pytest.raises(TemDataError, match="no results of 'split 1, n = 1, run 1, EXP'; run `dvc repro cards`"):
        published(study[1], "detector", about="split 1, n = 1, run 1, EXP")
    with pytest.raises(TemDataError, match="the ldm card has no place for a version"):
        published({"ldm.md": "---\ntags: []\n---\n# Mine"}, "ldm", about="split 1, n = 1, run 1")


def test_the_first_version_changes_nothing(study):
    manifest = MANIFEST.as_version("v1.0.0", CHANGES | {"since": None})
    settings, cards = study
    about = about_of(settings)
    text = published_card(cards["ldm.md"], repository="org/l", manifest=replace(manifest, kind="ldm"), about=about)
    assert "The first version, in files" in text and "What changed" not in text


# How to make it again, and whom to cite


@pytest.mark.parametrize(
    "chosen, text",
    [
        ([("profile", "quick")], "-S profile=quick"),
        (
            [("profile", "toy"), ("study.cells", ["1-4"]), ("arms", "exp_copypaste")],
            """-S profile=toy -S arms=exp_copypaste -S 'study.cells=['"'"'1-4'"'"']'""",
        ),
        ([("profile", "fecral"), ("fecral", "/home/me/fecral")], "-S profile=fecral -S fecral=PATH_OF_FECRAL"),
        (
            [("profile", "quick"), ("import.images", "my data/it's"), ("masks.angle", "true"), ("masks.empty", None)]
            + [("+detector.config", {"MODEL.FPN.OUT_CHANNELS": 64}), ("+masks.class_density.100", 2)],
            "-S profile=quick -S import.images=PATH_OF_IMAGES -S +masks.class_density.100=2 "
            """-S 'masks.angle='"'"'true'"'"'' -S '+detector.config={MODEL.FPN.OUT_CHANNELS:64}'""",
        ),
    ],
)
def test_the_command_makes_the_same_settings_again(chosen, text):
    params = _compose(CONF, chosen)
    assert _compose(CONF, overrides(params | {"cards": {"license": "mit"}}, CONF)) == params
    assert command(params, CONF) == f"dvc exp run {text}"


def test_a_profile_that_is_nowhere_or_broken_is_named(tmp_path):
    with pytest.raises(TemDataError, match="profile: 'gone' is not in .*conf/profile"):
        command({"profile": "gone"}, CONF)
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile/mine.yaml").write_text("# @package _global_\nimport: {images: '${nowhere}/images'}\n")
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {profile: mine}]\n")
    with pytest.raises(TemDataError, match=r"cannot be composed with \['profile=mine'\] .*nowhere"):
        command({"profile": "mine"}, tmp_path)


def test_the_citations_say_what_the_papers_do(shared):
    """Names, titles, identifiers and numbers of papers.bib, as the 2026 paper has them of itself and the other."""
    paper = (shared / "papers/tem_ldm_augmentation_2026.md").read_text()
    said = re.sub(r"<sup>.*?</sup>|[*\n]", " ", paper).lower()
    entries = re.findall(r"(\w+)\s+= \{(.*)\}", (TEMPLATES / "papers.bib").read_text())
    assert len(entries) > 10
    for field, value in entries:
        if field == "author":
            authors = (name.split(", ") for name in value.split(" and "))
            parts = [f"{first} {last}" for last, first in authors]
        elif field == "note":
            parts = re.findall(r"10\.\d+/[\w.]+", value)
        else:
            parts = [] if value == "2026" else [value]
        for part in parts:
            assert part.lower() in said or part.lower().replace("kevin g. field", "kevin field") in said, part
