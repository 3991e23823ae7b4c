"""`tem_data.json`: what a published version consists of, and where each file belongs in the pipeline."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tem_data.core.errors import TemDataError

MANIFEST = "tem_data.json"
README = "README.md"
PROVENANCE = "provenance"
FORMAT = 1


@dataclass(frozen=True)
class File:
    """`place` is the path in the project of the file that was published; None for what was made to be published."""

    sha256: str
    size: int
    place: str | None = None


@dataclass(frozen=True)
class Manifest:
    """`files` are all of a version but README.md and the manifest itself, by their path in the repository.

    `outs` are the outputs of DVC stages that the files with a place make up, `texts` small files of these, by place,
    that the repository has no other copy of. `made_by` says which
    commit, settings and lock of the pipeline made the version; `changes` how it differs from the last one; `card` is a
    hash of the card without them.
    """

    kind: str
    files: Mapping[str, File]
    outs: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    version: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def dumps(self) -> bytes:
        return (json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def same_content(self, other: Manifest) -> bool:
        """Whether both say and hold the same, whatever run made them."""
        return _content(self) == _content(other)

    def as_version(self, version: str, changes: Mapping[str, Any]) -> Manifest:
        return replace(self, version=version, changes=changes)


def _content(manifest: Manifest) -> tuple:
    files = {path: file.sha256 for path, file in manifest.files.items() if not path.startswith(f"{PROVENANCE}/")}
    return manifest.kind, manifest.card, dict(manifest.texts), files


def read_manifest(path: str | os.PathLike) -> Manifest:
    """Raises TemDataError for anything but a manifest."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.get("format", FORMAT) != FORMAT:
            raise TemDataError(f"{path}: of a newer version of tem_data; update the package")
        files = {name: File(**file) for name, file in content.pop("files").items()}
        return Manifest(files=files, **content)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise TemDataError(f"{path}: expected the {MANIFEST} of a version that tem_data published ({error})") from error


def file_of(path: str | os.PathLike, place: str | None = None) -> File:
    with open(path, "rb") as stream:
        return File(hashlib.file_digest(stream, "sha256").hexdigest(), os.path.getsize(path), place)
