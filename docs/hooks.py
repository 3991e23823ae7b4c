"""Generates the reference of settings and commands from the code, at every build of the site."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import tem_data.cli  # noqa: F401  (registers the commands)
from tem_data import sections
from tem_data.cli.app import app
from tem_data.core.settings import default_of, expectation, fields_of


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
    for name, kind in sections.all_sections().items():
        parts += [f"## {name} {{ #{name} }}", _paragraphs(kind.__doc__), "\n".join(_settings_rows(name, kind))]
    return "\n\n".join(parts) + "\n"


def _settings_rows(section: str, kind: type) -> Iterator[str]:
    yield from ("| setting | default | expects | meaning |", "| --- | --- | --- | --- |")
    yield from _fields(section, kind)


def _fields(section: str, kind: type) -> Iterator[str]:
    for key, field in fields_of(kind).items():
        if is_dataclass(default_of(field)):  # a section within the section
            yield from _fields(f"{section}.{key}", type(default_of(field)))
        else:
            default = default_of(field)
            shown = "`null`" if default is None else _default(default)
            yield _row(_code(f"{section}.{key}"), shown, expectation(field), field.description)


def commands_page() -> str:
    """Usage, help text, arguments and options of each command."""
    parts = [
        "# Commands",
        "The commands are the steps of the pipeline, in order; `dvc repro` runs them all as stages. `-h` shows the "
        "help of each, `tem-data --version` the version. Lists are written `a,b`, mappings `a=2,b=0.5`, and mappings "
        "to lists `a=b+c,d`.",
    ]
    for name, command in typer.main.get_command(app).commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        needed = [f"{p.opts[0]} {p.name.upper()}" for p in command.params if p.required and p not in arguments]
        usage = ["tem-data", name, *map(_argument, arguments), *needed, "[OPTIONS]"]
        parts += [f"## {name} {{ #{name} }}", _paragraphs(command.help), f"```sh\n{' '.join(usage)}\n```"]
        if command.params:
            parts += ["\n".join(_command_rows(command.params))]
    return "\n\n".join(parts) + "\n"


def _command_rows(parameters: Iterable[Any]) -> Iterator[str]:
    yield from ("| argument or option | default | expects | meaning |", "| --- | --- | --- | --- |")
    for p in parameters:
        names = [_argument(p)] if p.param_type_name == "argument" else [*p.opts, *p.secondary_opts]
        default = "required" if p.required else _default(None if p.default is False else p.default)
        yield _row(", ".join(map(_code, names)), default, _type(p), p.help)


def _argument(parameter: Any) -> str:
    return (parameter.metavar or parameter.name).upper()


def _type(parameter: Any) -> str:
    """What an argument or option takes, in words."""
    if getattr(parameter, "is_flag", False):
        return "a switch"
    kind = parameter.type_descriptor.annotation
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [choice.value for choice in kind]
    if choices:
        words = ", ".join(_code(str(choice)) for choice in choices)
    else:
        words = {int: "a whole number", float: "a number", Path: "a path"}.get(kind, "text")
    words += _range(parameter.min, parameter.max)
    return f"{words}; repeatable" if parameter.multiple else words


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f" of at most {high:g}"
    return f" of {low:g} or more" if high is None else f" from {low:g} to {high:g}"


def _default(value: Any) -> str:
    if value is MISSING:
        return "required"
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if value is None or value == () or value == "":
        return "–"
    if isinstance(value, Path):
        value = str(value)
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
