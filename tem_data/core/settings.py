"""Sections of params.yaml as dataclasses that check themselves: the one place of defaults, choices and help texts.

    @section("masks")
    class MaskSettings:
        density: float = setting(1.0, "Times as many defects as measured.", ge=0)

Values are checked strictly (no text for a number) by pydantic. A stage reads a
section with `SettingsFile.read`, a command makes an option of every field
(`tem_data.cli.options`), Python calls the class; all raise `SettingError`.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import annotated_types as bounds
import numpy as np
import yaml
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tem_data.core.errors import SettingError, TemDataError

Settings = TypeVar("Settings")
PARAMS = Path("params.yaml")


def _text_of_number(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ClassName = Annotated[str, BeforeValidator(_text_of_number)]
"""The name of a class; an unquoted 100 of a YAML file is the class `100`."""


def setting(default: Any = ..., help: str = "", *, stage_only: bool = False, **limits: Any) -> Any:
    """A field of a section: its default (none: it must be given), help text, and `gt`, `ge`, `lt`, `le`, `min_length`.

    `stage_only`: of use to DVC stages, so no option of a command. A list or mapping is copied for each object.
    """
    given = {"default_factory": lambda: default.copy()} if isinstance(default, dict) else {"default": default}
    return Field(**given, description=help, exclude=stage_only or None, **limits)


@dataclass_transform(frozen_default=True)  # `setting` is no field specifier: theirs are given `default` by keyword
def section(name: str) -> Any:
    """Make a class the frozen, checked dataclass of the section `name`."""

    def decorate(cls: type) -> type:
        kind: Any = checked_dataclass(
            cls, frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
        )
        check = kind.__init__

        @functools.wraps(check)
        def init(self: Any, *args: Any, **values: Any) -> None:
            try:
                check(self, *args, **values)
            except ValidationError as error:
                raise _setting_error(type(self), error) from error

        kind.__init__, kind.section = init, name
        return kind

    return decorate


def fields_of(kind: Any) -> dict[str, FieldInfo]:
    """The fields of a section by name, with `annotation`, `default`, `description` and `exclude` (stage only)."""
    return kind.__pydantic_fields__


def default_of(field: FieldInfo) -> Any:
    """The default of a field, `MISSING` where it must be given."""
    default = field.get_default(call_default_factory=True)
    return MISSING if default is PydanticUndefined else default


@dataclass(frozen=True)
class SettingsFile:
    """What a file with the sections of params.yaml holds; sections and keys that it lacks have their defaults."""

    content: Mapping[str, Any]
    path: Path = PARAMS

    @classmethod
    def open(cls, path: str | Path = PARAMS) -> SettingsFile:
        """Raises TemDataError where it is no YAML file of sections."""
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise TemDataError(f"{path}: no such file; run in a clone of the project, or name another file") from error
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise TemDataError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise TemDataError(f"{path}: expected sections of settings, found {content!r}")
        return cls(content, Path(path))

    def read(self, kind: type[Settings]) -> Settings:
        """A section as its dataclass. Raises TemDataError that names file, section and key."""
        try:
            return read_section(kind, self.content.get(_name(kind)))
        except SettingError as error:
            raise error.in_file(self.path) from error


def read_section(kind: type[Settings], values: Any) -> Settings:
    """The dataclass `kind` of a section as it stands in a file; None is an empty one. Raises SettingError."""
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise SettingError(_name(kind), "", f"expected keys with values, found {values!r}")
    unknown = [key for key in values if key not in fields_of(kind)]
    if unknown:
        raise SettingError(_name(kind), str(unknown[0]), f"unknown key; expected one of {', '.join(fields_of(kind))}")
    return kind(**values)


def _name(kind: Any) -> str:
    return kind.section


def _setting_error(kind: Any, error: ValidationError) -> SettingError:
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    if isinstance(first["loc"][0], int):  # of an argument without its name
        place[0] = [*fields_of(kind), "too many"][first["loc"][0]]
    field = fields_of(kind).get(place[0])
    if field is None:
        return SettingError(kind.section, place[0], f"unknown key; expected one of {', '.join(fields_of(kind))}")
    if first["type"] in ("missing", "missing_argument"):
        return SettingError(kind.section, place[0], f"missing; expected {expectation(field)}")
    annotation, limits, depth = _at(field, first["loc"][1:])
    problem = f"expected {_words(annotation, limits)}, found {first['input']!r}"
    if isinstance(first["input"], str) and _is_number(first["input"]):
        problem += f", which YAML takes for text; write {float(first['input'])!r} without quotes"
    return SettingError(kind.section, ".".join(place[: 1 + depth]), problem)


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def _at(field: FieldInfo, path: Sequence[Any]) -> tuple[Any, Sequence[Any], int]:
    """The annotation and limits of what lies at `path` within a field, and how many steps of the path lead there."""
    limits: Sequence[Any] = field.metadata
    annotation, depth = field.annotation, 0
    for _ in path:
        inner = [a for a in alternatives(annotation) if typing.get_origin(a) is not None and typing.get_args(a)]
        held = next((a for a in inner if is_list(a) or is_mapping(a)), None)
        if held is None:
            break
        annotation, limits, depth = typing.get_args(held)[-1 if is_mapping(held) else 0], (), depth + 1
    return annotation, limits, depth


def expectation(field: FieldInfo) -> str:
    """What a field takes, in words: `a number above 0, or null`."""
    return _words(field.annotation, field.metadata)


def _words(annotation: Any, limits: Sequence[Any]) -> str:
    if typing.get_origin(annotation) is Annotated:
        base, *more = typing.get_args(annotation)
        return _words(base, [*limits, *(limit for part in more for limit in getattr(part, "metadata", [part]))])
    choices = alternatives(annotation)
    if len(choices) > 1:
        named = [_words(choice, limits) for choice in choices if choice is not types.NoneType]
        return " or ".join(named) + (", or null" if types.NoneType in choices else "")
    if typing.get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(annotation)))
    if is_list(annotation):
        least = "a list" if not any(isinstance(limit, bounds.MinLen) for limit in limits) else "a list of one or more"
        return f"{least}, each {_words(typing.get_args(annotation)[0], ())}"
    if is_mapping(annotation):
        key, value = typing.get_args(annotation)
        return f"a mapping of {_words(key, ())} to {_words(value, ())}"
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation))) + _limits(limits)


def _limits(limits: Sequence[Any]) -> str:
    low = next((limit for limit in limits if isinstance(limit, (bounds.Gt, bounds.Ge))), None)
    high = next((limit for limit in limits if isinstance(limit, (bounds.Lt, bounds.Le))), None)
    words = []
    if low is not None:
        words.append(f"above {low.gt:g}" if isinstance(low, bounds.Gt) else f"of {low.ge:g} or more")
    if high is not None:
        words.append(f"below {high.lt:g}" if isinstance(high, bounds.Lt) else f"at most {high.le:g}")
    return " " + " and ".join(words) if words else ""


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; of any other annotation itself."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def is_list(annotation: Any) -> bool:
    """Whether an annotation is of sequences, as `Sequence[int]`."""
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def is_mapping(annotation: Any) -> bool:
    """Whether an annotation is of mappings, as `Mapping[str, int]`."""
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)
