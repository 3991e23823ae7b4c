"""What a report was made of: profile, micrographs, code and settings."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from tem_data.reports.page import Section, Table

CODE = ("tem_data", "pipelines")
LEFT_OUT = ("cards", "launch", "profile")  # say nothing about how results came about


@dataclass(frozen=True)
class Origin:
    """`settings` is the content of params.yaml, `simulated` whether its micrographs are built in."""

    settings: Mapping[str, Any]
    simulated: bool

    @property
    def facts(self) -> dict[str, str]:
        kind = "simulated, built-in ones, which say nothing about real material" if self.simulated else "real ones"
        profile = str(self.settings.get("profile", "none"))
        return {"Profile": profile, "Micrographs": kind, "Code": code_version()}

    @property
    def section(self) -> Section:
        rows = [{"setting": name, "value": value} for name, value in _flat(self.settings) if _counts(name)]
        return Section("Settings", "", [Table(rows, f"All {len(rows)} settings", folded=True)])


def code_version(paths: Sequence[str] = CODE) -> str:
    """The last commit of the code and its date, so that a commit of results alone changes no report.

    The version of this package where git does not know the code.
    """
    try:
        said = _git("log", "-1", "--abbrev=10", "--format=commit %h of %cs", "--", *paths)
        changed = said and _git("status", "--porcelain", "--", *paths)
    except (OSError, subprocess.CalledProcessError):
        said = changed = ""
    if not said:
        return f"tem_data {version('tem_data')}"
    return said + (", and changes that are not committed" if changed else "")


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout.strip()


def _counts(name: str) -> bool:
    return name.split(".")[0] not in LEFT_OUT


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None or value == {} else str(value)
