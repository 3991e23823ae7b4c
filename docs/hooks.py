"""Generates the reference of settings and commands from the code, at every build of the site."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, is_dataclass
from typing import Any

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import tem_data.cli  # noqa: F401  (registers the commands)
from tem_data.cli.app import app
from tem_data.core.settings import default_of, expectation, fields_of
from tem_data.sections import all_sections


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, text in (("reference/settings.md", settings_page()), ("reference/commands.md", commands_page())):
        files.append(File.generated(config, path, content=text))
    return files


def settings_page() -> str:
    """A table for each section of params.yaml."""
    parts = [
        "# Settings",
        "`params.yaml` holds the settings in force. `dvc exp run -S profile=NAME` composes it from the defaults below, "
        "`conf/classes/`, `conf/detector/`, `conf/arms/` and `conf/profile/NAME.yaml`; `-S section.key=value` changes "
        "a single setting. Commands take the same settings as options, or from `--params FILE` and "
        "`--set section.key=value`. `tem-data settings` prints this page as YAML.",
    ]
    for name, kind in all_sections().items():
        parts += [f"## {name} {{ #{name} }}", _paragraphs(kind.__doc__), "\n".join(_settings_rows(name, kind))]
    return "\n\n".join(parts) + "\n"


def _settings_rows(section: str, kind: type) -> Iterator[str]:
    yield from ("| setting | default | expects | meaning |", "| --- | --- | --- | --- |")
    for key, field in fields_of(kind).items():
        if is_dataclass(field.annotation):  # a section within the section
            for row in list(_settings_rows(f"{section}.{key}", field.annotation))[2:]:
                yield row
            continue
        cells = _code(f"{section}.{key}"), _default(default_of(field)), expectation(field), field.description
        yield _row(*cells)


def commands_page() -> str:
    """Usage, help text, arguments and options of each command."""
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    parts = [
        "# Commands",
        "The commands are the steps of the pipeline, in order; `dvc repro` runs them all as stages. `-h` shows the help "
        "of each, `tem-data --version` the version. Lists are written `a,b`, mappings `a=2,b=0.5`, and mappings to "
        "lists `a=b+c,d`.",
    ]
    for name, command in group.commands.items():
        context = click.Context(command, info_name=name, parent=click.Context(group, info_name="tem-data"))
        usage = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), command.get_usage(context).removeprefix("Usage: "))
        parts += [f"## {name} {{ #{name} }}", _paragraphs(command.help), f"```\n{' '.join(usage.split())}\n```"]
        parts += ["\n".join(_command_rows(command, context))]
    return "\n\n".join(parts) + "\n"


def _command_rows(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("| argument or option | default | expects | meaning |", "| --- | --- | --- | --- |")
    for parameter in command.params:
        argument = isinstance(parameter, click.Argument)
        names = [parameter.make_metavar(context).strip("{}[]").upper()] if argument else parameter.opts
        names = [*names, *parameter.secondary_opts]
        default = "required" if parameter.required else _default(parameter.get_default(context))
        yield _row(", ".join(map(_code, names)), default, _type(parameter), getattr(parameter, "help", "") or "")


def _type(parameter: click.Parameter) -> str:
    kind = parameter.type
    if isinstance(kind, click.Choice):
        words = ", ".join(_code(str(getattr(choice, "value", choice))) for choice in kind.choices)
    elif isinstance(kind, (click.IntRange, click.FloatRange)):
        words = f"{'a whole number' if isinstance(kind, click.IntRange) else 'a number'} {_range(kind)}".strip()
    elif isinstance(parameter, click.Option) and parameter.is_flag:
        words = "a switch"
    else:
        plain = {"integer": "a whole number", "float": "a number", "path": "a path", "file": "a path"}
        plain |= {"directory": "a folder"}
        words = plain.get(kind.name, "text")
    return f"{words}; repeatable" if parameter.multiple else words


def _range(kind: Any) -> str:
    low, high = kind.min, kind.max
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    return f"of {low:g} or more" if low is not None else (f"of at most {high:g}" if high is not None else "")


def _default(value: Any) -> str:
    if value is MISSING:
        return "required"
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if value is None or value == () or repr(value) == "Sentinel.UNSET":
        return "–"
    return _code(value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def _paragraphs(text: str | None) -> str:
    """Help text as Markdown: paragraphs without typer's mark-up."""
    paragraphs = re.split(r"\n\s*\n", re.sub(r"\[/?bold\]", "**", text or ""))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _row(*cells: str | None) -> str:
    return "| " + " | ".join(" ".join((cell or "").replace("|", "\\|").split()) for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`" if text else "–"
