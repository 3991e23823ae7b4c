"""Options of commands made of the fields of a section, and settings read from a file."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
import yaml
from pydantic.fields import FieldInfo

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.settings import (
    PARAMS,
    SettingsFile,
    alternatives,
    default_of,
    fields_of,
    is_list,
    is_mapping,
    read_section,
)

Command = TypeVar("Command", bound=Callable[..., None])
PLAIN = (bool, int, float, str)
if TYPE_CHECKING:
    Texts = Sequence[str]
else:
    Texts = list[str]  # what typer makes a repeatable option of


def options_of(kind: type[Any], *, without: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Give a command an option for each field of a section; it gets them, checked, as its argument `settings`.

    A parameter of the command that has the name of a field gives that field.
    What a shell cannot say otherwise is text: `10,50` a list, `a=2,b=0.5` a mapping, `a=b+c,d` a mapping to lists. An
    error of the section, wherever it is raised, names the option.
    """
    fields = {n: f for n, f in fields_of(kind).items() if not f.exclude and n not in without}
    options = {name: f"--{name.replace('_', '-')}" for name in fields}

    def decorate(command: Command) -> Command:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]
        given = [_parameter(name, field, options[name]) for name, field in fields.items()]

        @functools.wraps(command)
        def bound(**values: Any) -> None:
            try:
                chosen = {n: _value(field, values.pop(n), kind, n) for n, field in fields.items()}
                chosen |= {name: str(value) for name, value in values.items() if name in fields_of(kind)}
                command(settings=read_section(kind, chosen), **values)
            except SettingError as error:
                raise error.of_option(options) if error.section == kind.section else error from error

        signature = inspect.Signature([*own, *given])
        bound.__signature__ = signature  # type: ignore[attr-defined]
        bound.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()} | {"return": None}
        return typing.cast(Command, bound)

    return decorate


def _parameter(name: str, field: FieldInfo, option: str) -> inspect.Parameter:
    kind, default = _plain(field), default_of(field)
    names = (option, f"--no-{option[2:]}") if kind is bool else (option,)
    declared = "/".join(names)
    if kind is str and default not in (None, MISSING) and not isinstance(default, str):
        default = _text(default)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=... if default is MISSING else default,
        annotation=Annotated[kind | None if default is None else kind, typer.Option(declared, help=field.description)],
    )


def _plain(field: FieldInfo) -> Any:
    """The type that the option has: a plain one or a choice; text for all that is parsed."""
    annotation, default = field.annotation, default_of(field)
    choices = [a for a in _choices(annotation) if a is not types.NoneType]
    if default is not None and types.NoneType in _choices(annotation):
        return str  # so that it can be given as null
    if len(choices) == 1 and (choices[0] in PLAIN or typing.get_origin(choices[0]) is Literal):
        return choices[0]
    return str


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The types that a value may have, without their limits."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    parts = alternatives(annotation)
    return parts if parts == (annotation,) else tuple(choice for part in parts for choice in _choices(part))


def _value(field: FieldInfo, value: Any, kind: type[Any], name: str) -> Any:
    if not isinstance(value, str) or _plain(field) is not str:
        return value
    for annotation in _choices(field.annotation):
        try:
            return _parsed(annotation, value)
        except ValueError:
            continue
    raise SettingError(kind.section, name, f"{_form(field.annotation)}, found {value!r}")


def _parsed(annotation: Any, text: str) -> Any:
    """Raises ValueError where `text` is not of this type."""
    (annotation,) = _choices(annotation) if len(_choices(annotation)) == 1 else (annotation,)
    inner = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        if text in inner:
            return text
        raise ValueError
    if is_mapping(annotation):
        return dict(_pair(inner, part) for part in text.split(",") if part)
    if is_list(annotation):
        return [_parsed(inner[0], part.strip()) for part in text.split(",") if part]
    if annotation is types.NoneType:
        if text == "null":
            return None
        raise ValueError
    return text if annotation is str else annotation(text)


def _pair(inner: tuple[Any, ...], text: str) -> tuple[Any, Any]:
    key, equals, value = text.partition("=")
    (held,) = _choices(inner[1])
    if is_list(held):
        return key.strip(), [name.strip() for name in (value if equals else key).split("+")]
    if not equals:
        raise ValueError
    return _parsed(inner[0], key.strip()), _parsed(inner[1], value.strip())


def _form(annotation: Any) -> str:
    choices = _choices(annotation)
    if any(map(is_mapping, choices)):
        return "expected name=value, with commas between"
    if any(map(is_list, choices)):
        return "expected values with commas between"
    return "expected one of " + ", ".join(map(str, choices))


def _text(value: Any) -> str:
    """The inverse of the parsing, as defaults are shown."""
    if isinstance(value, Mapping):
        return ",".join(
            f"{k}={_text(v) if not isinstance(v, (list, tuple)) else '+'.join(v)}" for k, v in value.items()
        )
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    return str(value)


def class_names(text: str) -> dict[str, list[str]]:
    """`a=b+c,d` as {a: [b, c], d: [d]}."""
    return _parsed(Mapping[str, Sequence[str]], text)


def names(text: str) -> list[str]:
    """`a,b` as [a, b]."""
    return _parsed(Sequence[str], text)


ParamsOption = Annotated[
    Path | None,
    typer.Option(
        "--params",
        help="File with sections of params.yaml, which need not be whole. By default params.yaml, where there is one.",
        dir_okay=False,
    ),
]
SetOption = Annotated[
    Texts, typer.Option("--set", "-S", help="A setting over those of the file, as ldm.steps=100. Repeatable.")
]


def settings_file(
    params: Path | None, changes: Sequence[str] = (), known: Mapping[str, Any] | None = None
) -> SettingsFile:
    """The sections that a command works with, `--set` laid over.

    Those of `--params`, else the `known` ones, as a model may bring them, else of params.yaml, else the defaults.
    """
    if params is None and known is not None:
        file = SettingsFile(known, Path("the model's own"))
    else:
        file = SettingsFile.open(params or PARAMS) if params or PARAMS.is_file() else SettingsFile({}, Path("defaults"))
    content = {name: dict(held) if isinstance(held, Mapping) else held for name, held in file.content.items()}
    for change in changes:
        place, equals, text = change.partition("=")
        name, _, key = place.partition(".")
        if not equals or not key:
            raise TemDataError(f"--set {change}: expected section.key=value, as ldm.steps=100")
        content[name] = (content.get(name) or {}) | {key: yaml.safe_load(text)}
    print(f"settings: {file.path}{', ' * bool(changes)}{', '.join(changes)}")
    return SettingsFile(content, file.path)
