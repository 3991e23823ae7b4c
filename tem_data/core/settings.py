"""Sections of params.yaml as checked dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from tem_data.core.errors import TemDataError

Settings = TypeVar("Settings")


def read_settings(kind: type[Settings], settings: Mapping, section: str) -> Settings:
    """`settings` as the dataclass `kind`. Raises TemDataError on an unknown or a missing key of `section`."""
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise TemDataError(f"params.yaml, {section}: unknown keys {unknown}; expected some of {sorted(known)}")
    try:
        return kind(**settings)
    except TypeError as error:
        raise TemDataError(f"params.yaml, {section}: {error}; add what is missing") from error
