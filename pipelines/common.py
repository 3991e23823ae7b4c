"""How a stage is bound: its cell and arm from the command line, its settings from params.yaml."""

from __future__ import annotations

import inspect
import os
import sys
import typing
from collections.abc import Callable
from typing import Any

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.places import Cell
from tem_data.core.settings import PARAMS, SettingsFile

# OpenMP's threads spin while they wait for each other, which makes two programs on the same cores five times as slow;
# spinning briefly costs one alone nothing (benchmarks/waiting.py).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def stage(main: Callable[..., None]) -> None:
    """Call `main` with what its signature names; an error that its user can mend is one line.

    A parameter `cell` is the first word of the command line (`1-10` or `1-10-1`), `arm` the second; any other is the
    section of params.yaml that its type is (text: what stands there under its name), and a dependency of the stage in
    dvc.yaml.
    """
    try:
        main(**_arguments(main, sys.argv[1:]))
    except SettingError as error:
        sys.exit(f"error: {error.in_file(PARAMS)}")
    except (TemDataError, OSError) as error:
        sys.exit(f"error: {error}")


def settings_of(main: Callable[..., None]) -> dict[str, type]:
    """The sections that a stage reads, by the name of its parameter."""
    hints = typing.get_type_hints(main)
    return {name: hints[name] for name in inspect.signature(main).parameters if name not in ("cell", "arm")}


def _arguments(main: Callable[..., None], words: list[str]) -> dict[str, Any]:
    names = [name for name in ("cell", "arm") if name in inspect.signature(main).parameters]
    if len(words) != len(names):
        raise TemDataError(f"{main.__module__}: expected {' and '.join(names) or 'no words'}, found {words}")
    given: dict[str, Any] = dict(zip(names, words, strict=True))
    if "cell" in given:
        given["cell"] = Cell.named(given["cell"])
    sections = settings_of(main)
    if not sections:
        return given
    file = SettingsFile.open()
    for name, kind in sections.items():
        given[name] = file.content.get(name, "") if kind is str else file.read(kind)
    return given
