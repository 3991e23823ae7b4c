"""One verified download of a model by its name on the Hub.

Imports nothing heavier than huggingface_hub, so that it runs wherever a model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects
from tqdm.auto import tqdm

from tem_data.core.errors import TemDataError
from tem_data.download.manifest import MANIFEST, README, File, file_of, read_manifest

# What a manifest does not name.
UNNAMED = (MANIFEST, README, ".gitattributes")
NAME = re.compile(r"\b[\w.-]+\b/\b[\w.-]+\b(@\S+)?")


class Fetched(NamedTuple):
    """A snapshot in the Hub's cache, and the commit that it holds."""

    folder: Path
    commit: str


def split_name(name: str) -> tuple[str, str | None]:
    """`org/name@revision` as the repository and its revision, which is None without one."""
    repository, _, revision = name.partition("@")
    return repository, revision or None


def fetch(name: str, patterns: Sequence[str], repo_type: str = "model", **options: Any) -> Fetched:
    """The files of a repository that match `patterns`, verified; `name` is `org/name` or `org/name@revision`.

    A revision is a tag, a branch or a commit. What the cache holds is not
    downloaded again and is enough without a network. Every file is compared with
    the size and SHA-256 that the repository's tem_data.json gives; a repository
    without one is taken as it is. `options` are those of `HfApi.snapshot_download`
    (`cache_dir`, `force_download`, `local_files_only`, `token`).

    Raises TemDataError where there is no such model or revision or no permission,
    it can neither be reached nor is cached, its files are not those that were
    published, or its weights are no safetensors.
    """
    if not NAME.fullmatch(name):
        raise TemDataError(
            f"{name!r} is no folder and no name on the Hub; expected the folder or the org/name[@revision] of a model "
            "(MaskToMicrographPipeline or detector)"
        )
    repository, revision = split_name(name)
    api, wanted = HfApi(), [*patterns, MANIFEST]
    with reading(repository, revision, api.endpoint):
        options |= {"repo_type": repo_type, "revision": revision}
        found = api.snapshot_download(repository, allow_patterns=wanted, **options)
    if repo_type == "model":
        _check_weights(Path(found), patterns, repository)
    _verify(Path(found), patterns, f"{repo_type}/{repository}")
    return Fetched(Path(found), Path(found).name)


@contextmanager
def reading(repository: str, revision: str | None, endpoint: str) -> Iterator[None]:
    """Turns what the Hub, the network or the cache refuse into a TemDataError of one line."""
    try:
        yield
    except (OSError, ValueError, HTTPError) as error:
        raise TemDataError(_problem(error, repository, revision, endpoint)) from error


def _problem(error: Exception, repository: str, revision: str | None, endpoint: str) -> str:
    """What went wrong and what to do about it, in one line."""
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    login = "`hf auth login` or HF_TOKEN"
    if isinstance(cause, HFValidationError):
        return f"{repository!r} is no name on the Hub; expected organisation/name"
    if isinstance(cause, RevisionNotFoundError):
        return f"{repository} on {endpoint} has no revision {revision!r}; `hf repos tag list` names them"
    if isinstance(cause, GatedRepoError):
        return f"{repository} is gated; ask for access on {endpoint}/{repository} and log in ({login})"
    if isinstance(cause, RepositoryNotFoundError):
        return (
            f"no folder {repository}, and nothing of this name on {endpoint}, or a private one that your token does "
            f"not open; check the name, or log in ({login})"
        )
    if status in (401, 403):
        return f"{endpoint} does not let you read {repository} (HTTP {status}); log in with a token that may ({login})"
    offline = isinstance(cause, OfflineModeIsEnabled)
    why = f"HTTP {status}" if status else "HF_HUB_OFFLINE is set" if offline else _first_line(cause)
    if isinstance(error, IncompleteSnapshotError):
        return (
            f"the cache holds only a part of {repository}, and {endpoint} cannot be reached ({why}); try again online"
        )
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"{repository}{f'@{revision}' if revision else ''} is not in the cache, and {endpoint} cannot be reached "
            f"({why}); try again online"
        )
    return f"downloading {repository} from {endpoint} failed ({why}); try again: what has arrived is kept"


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def _matching(folder: Path, patterns: Sequence[str]) -> set[str]:
    present = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return set(filter_repo_objects(present, allow_patterns=list(patterns))) - set(UNNAMED)


def _check_weights(folder: Path, patterns: Sequence[str], repository: str) -> None:
    """Raises TemDataError unless weights are there, and as safetensors."""
    if not any(name.endswith(".safetensors") for name in _matching(folder, patterns)):
        raise TemDataError(
            f"{repository} holds no weights as safetensors where they are expected ({', '.join(patterns)}); pickles "
            "(.bin, .pt, .pkl) are never loaded: choose another revision, or ask its author for safetensors"
        )


def _verify(folder: Path, patterns: Sequence[str], repository: str) -> None:
    """Raises TemDataError unless the files that match are those that the manifest, where there is one, names."""
    if not (folder / MANIFEST).is_file():
        return
    named = _named_files(folder / MANIFEST, repository)
    found, wanted = _matching(folder, patterns), set(filter_repo_objects(named, allow_patterns=list(patterns)))
    for name in sorted(found ^ wanted):
        fault = f"is missing, though {MANIFEST} names it" if name in wanted else f"is not one that {MANIFEST} names"
        raise _damaged(folder / name, fault, repository)
    sizes = {name: named[name].size for name in sorted(wanted)}
    with tqdm(total=sum(sizes.values()), desc="verify", unit="B", unit_scale=True, delay=2, leave=False) as bar:
        for name, size in sizes.items():
            _check(folder / name, named[name], repository)
            bar.update(size)


def _named_files(manifest: Path, repository: str) -> Mapping[str, File]:
    try:
        return read_manifest(manifest).files
    except TemDataError as error:
        raise _damaged(manifest, "is no manifest of a published version", repository) from error


def _check(path: Path, published: File, repository: str) -> None:
    size = path.stat().st_size
    if size != published.size:
        raise _damaged(path, f"has {size:,} bytes where {MANIFEST} says {published.size:,}", repository)
    sha256 = file_of(path).sha256
    if sha256 != published.sha256:
        raise _damaged(path, f"has other contents (SHA-256 {sha256[:12]}…) than {MANIFEST} says", repository)


def _damaged(path: Path, fault: str, repository: str) -> TemDataError:
    return TemDataError(
        f"{path} {fault}; nothing of it is used. Remove it from the cache (`hf cache rm {repository}`) and try "
        "again; if it stays so, what was published is damaged: choose another revision"
    )
