"""The card of one published thing: the rendered card, what this version is, and how to load it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jinja2
from huggingface_hub import RepoCard

from tem_data.core.errors import TemDataError

if TYPE_CHECKING:  # publishing imports this module
    from tem_data.download.manifest import Manifest

FIGURES = "<!-- figures -->"
VERSION = re.compile(r"<!-- version -->.*<!-- /version -->", re.DOTALL)
LICENCE = re.compile(r"<!-- licence -->.*<!-- /licence -->")
INDEX = "model-index"


def published_card(
    text: str,
    *,
    repository: str,
    manifest: Manifest,
    head: Mapping[str, Any] | None = None,
    about: str | None = None,
    figures: Mapping[str, str] | None = None,
) -> str:
    """README.md of a version, from the card `text` that the stage rendered; the same bytes for the same input.

    `repository` is `org/name`. Of `manifest` it reads `kind`, `version`, `made_by` and `changes` (`since`, and by group
    how many rows or files were added, removed and altered). `head` overrides metadata.
    `about`, as `split 1, n = 10, run 1, EXP+GEN`, says which model of the study this is; the model-index keeps its
    results alone. `figures` are pictures by caption, as of `with_figures`.
    Raises TemDataError where the card is not one of the stage, or has no results of that model.
    """
    card = RepoCard(text)
    if not VERSION.search(card.text):
        raise TemDataError(
            f"cards/rendered: the {manifest.kind} card has no place for a version; run `dvc repro cards`"
        )
    for key, value in (head or {}).items():
        card.data[key] = value
    if INDEX in card.data:
        card.data[INDEX] = _own_results(card.data[INDEX], about or "", repository)
    section = _section(repository, manifest, about, card.data.get("configs", []))
    for place, words in ((VERSION, section), (LICENCE, licence(card.data.get("license")))):
        card.text = _filled(place, words, card.text)
    card.text = with_figures(card.text, figures or {})
    return str(card)


def _filled(place: re.Pattern[str], words: str, text: str) -> str:
    return place.sub(lambda _: words, text)


def licence(name: str | None) -> str:
    """What a card says of the licence."""
    return name or "none was given, so none is granted: ask whoever publishes this"


def with_figures(text: str, figures: Mapping[str, str]) -> str:
    """The card with pictures, a path each by caption, where its template has a place for them."""
    shown = "\n\n".join(f"![{caption}]({path})\n*{caption}*" for caption, path in figures.items())
    return text.replace(FIGURES, shown)


def one_blank_line(text: str) -> str:
    """Markdown without the empty lines that a template's blocks leave."""
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def markdown_templates(loader: jinja2.BaseLoader) -> jinja2.Environment:
    return jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _own_results(index: list[dict[str, Any]], about: str, name: str) -> list[dict[str, Any]]:
    parts = set(about.split(", "))
    own = [
        result
        for model in index
        for result in model["results"]
        if set(result["dataset"]["name"].partition(": ")[2].split(", ")) <= parts
    ]
    if not own:
        raise TemDataError(f"cards/rendered: the card has no results of {about!r}; run `dvc repro cards`")
    return [{"name": name.rpartition("/")[2], "results": own}]


def _section(repository: str, manifest: Manifest, about: str | None, configs: list[dict[str, Any]]) -> str:
    template = markdown_templates(jinja2.PackageLoader("tem_data.cards")).get_template("version.md.jinja")
    splits = {config["config_name"]: [file["split"] for file in config["data_files"]] for config in configs}
    section = template.render(
        kind=manifest.kind,
        repository=repository,
        about=about,
        manifest=manifest,
        changes=manifest.changes,
        splits=splits,
    )
    return one_blank_line(section)
