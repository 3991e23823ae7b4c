"""The errors that a user sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class TemDataError(Exception):
    """Something is wrong with a file, a setting or a request.

    The message names the file (and its row or field), says what was expected
    and what to do about it.
    """


class SettingError(TemDataError):
    """A setting that cannot be, told in the words of who gave it.

    `section` and `key` name it (`masks`, `density`; `key` may be empty), `problem` says what was expected and what
    was found. In Python it reads `masks.density: …`, in a stage `params.yaml, masks.density: …`, on the command line
    `--density: …`.
    """

    def __init__(self, section: str, key: str, problem: str) -> None:
        self.section, self.key, self.problem = section, key, problem
        self.place = ".".join(part for part in (section, key) if part)
        super().__init__(f"{self.place}: {problem}")

    def in_file(self, path: str | Path) -> TemDataError:
        """The same error for someone who wrote the setting into a file."""
        return TemDataError(f"{path}, {self.place}: {self.problem}")

    def of_option(self, options: Mapping[str, str]) -> TemDataError:
        """The same error for someone who gave it as one of `options` (option by key); itself where they did not."""
        option = options.get(self.key.split(".")[0])
        return TemDataError(f"{option}: {self.problem}") if option else self
