"""README and site: links that resolve, commands and settings that exist, a reference that misses none."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import tem_data.cli  # noqa: F401  (registers the commands)
from tem_data import sections
from tem_data.cli.app import app
from tem_data.core.settings import fields_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = {ROOT / "docs/reference/settings.md", ROOT / "docs/reference/commands.md"}
COMMANDS = typer.main.get_command(app).commands
SECTIONS = {name: fields_of(kind) for name, kind in sections.all_sections().items()}
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
NOT_SETTINGS = {"py", "yaml", "json", "csv", "html", "md"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    """The lines of a page's shell blocks, continued ones joined."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@each_page
def test_relative_links_resolve(page):
    for link in (a or b for a, b in LINK.findall(prose(page))):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target in GENERATED:
            assert not anchor or anchor in SECTIONS or anchor in COMMANDS, link
            continue
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_commands_and_their_options_exist(page):
    for name in re.findall(r"`tem-data ([a-z][a-z-]*)", prose(page)):
        assert name in COMMANDS, name
    for line in shell_lines(page):
        words = shlex.split(line, comments=True)
        if words[:1] != ["tem-data"]:
            continue
        options = {option for p in COMMANDS[words[1]].params for option in (*p.opts, *p.secondary_opts)}
        assert {word for word in words[2:] if re.match(r"--?[a-z]", word)} <= options, line


@each_page
def test_settings_exist(page):
    named = re.findall(r"`([a-z_]+)\.([a-z_]+)[^`/]*`", prose(page))
    for line in shell_lines(page):
        named += re.findall(r"(?:-S |--set )'?([a-z_]+)\.([a-z_]+)", line)
    for section, key in named:
        if section in SECTIONS and key not in NOT_SETTINGS:
            assert key in SECTIONS[section], f"{section}.{key}"


def test_every_page_of_the_documentation_is_checked():
    found = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert len(PAGES) > 15 and "tem-data publish" in found and "`ldm." in found


def test_the_reference_has_every_setting_and_command():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    settings, commands = hooks.settings_page(), hooks.commands_page()
    for section, fields in SECTIONS.items():
        assert f"\n## {section} " in settings
        assert all(re.search(rf"^\| `{section}\.{key}[`.]", settings, flags=re.MULTILINE) for key in fields), section
    assert "| `masks.density` | `1.0` | a number of 0 or more |" in settings
    for name, command in COMMANDS.items():
        section = commands.partition(f"\n## {name} ")[2].partition("\n## ")[0]
        assert section and all(f"`{option}`" in section for p in command.params for option in p.opts if "-" in option)
    assert "| `--match` | `mask` | `mask`, `box` |" in commands


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module)
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0 and "WARNING" not in built.stderr, built.stderr
    assert "masks.density" in (tmp_path / "site/reference/settings.html").read_text(encoding="utf-8")
