"""Semantic versions of what is published: data changed, data added, or neither."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from huggingface_hub import HfApi

from tem_data.core.errors import TemDataError
from tem_data.hub.rows import Change


class Version(NamedTuple):
    """`v{major}.{minor}.{patch}`: major where published rows or files changed or went, minor where some were added,
    patch where neither (the card, figures, provenance)."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"


FIRST = Version(1, 0, 0)


def parse_version(text: str) -> Version:
    """`v1.2.3` or `1.2.3`. Raises TemDataError for anything else."""
    if not (found := re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text)):
        raise TemDataError(f"version {text!r}: expected three numbers, as v1.0.0")
    return Version(*map(int, found.groups()))


def versions_of(tags: Iterable[str]) -> list[Version]:
    """The versions among the tags of a repository, in ascending order."""
    return sorted(parse_version(tag) for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag))


def published_versions(repository: str, repo_type: str) -> dict[Version, str]:
    """The versions of a repository on the Hub, each with its commit. Raises as huggingface_hub."""
    tags = {tag.name: tag.target_commit for tag in HfApi().list_repo_refs(repository, repo_type=repo_type).tags}
    return {version: tags[str(version)] for version in versions_of(tags)}


def next_version(last: Version | None, changes: Iterable[Change]) -> Version:
    """The version that follows from what changed since `last`."""
    if last is None:
        return FIRST
    changes = list(changes)
    if any(change.removed or change.altered for change in changes):
        return Version(last.major + 1, 0, 0)
    if any(change.added for change in changes):
        return Version(last.major, last.minor + 1, 0)
    return Version(last.major, last.minor, last.patch + 1)


def checked_version(wanted: str | None, last: Version | None, changes: Iterable[Change]) -> Version:
    """The version asked for, or else the one that follows. Raises TemDataError where it would say less than changed."""
    least = next_version(last, changes)
    if wanted is None:
        return least
    version = parse_version(wanted)
    if last is not None and version <= last:
        raise TemDataError(f"version {version}: {last} is published already and is never overwritten; give {least}")
    if version < least:
        since = f"what changed since {last} asks for" if last else "the first one is"
        raise TemDataError(f"version {version}: {since} {least} at least; give that or none")
    return version
