"""A published version back in the places of the pipeline, instead of the stages that made it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from huggingface_hub import HfApi
from tqdm import tqdm

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write
from tem_data.download.fetching import NAME, fetch, reading, split_name
from tem_data.download.manifest import MANIFEST, PROVENANCE, Manifest, file_of, read_manifest
from tem_data.hub.provenance import check_outs, keep_in_cache, uncommitted
from tem_data.hub.settings import SETTINGS, take_settings
from tem_data.hub.versions import published_versions


@dataclass(frozen=True)
class Pulled:
    """What was put in its place; `foreign` are those that are not what dvc.lock of this project says.

    `kept` are the settings that the version has otherwise, but that stay as they are here.
    """

    manifest: Manifest
    commit: str
    outs: tuple[Path, ...]
    foreign: tuple[Path, ...]
    kept: tuple[str, ...] = ()


def pull(
    name: str,
    project: str | os.PathLike,
    only: Sequence[str] = (),
    replace: bool = False,
    settings: bool = False,
    repo_type: str | None = None,
) -> Pulled:
    """Put what `org/name[@version]` holds where the stages of `project` would have put it, every file verified.

    Without a version the newest one. `only` names outputs (`runs/1-10-1/ldm`) or folders of them; `settings` also
    takes the version's params.yaml and dvc.lock, but for what starts commands (`launch`) or names places outside the
    project. An output that is as dvc.lock says is added to DVC's cache, so that its stage counts as run. `repo_type`
    is needed only where a dataset and a model share the name.

    Raises TemDataError where the Hub does not have it, a file is not what was published, no stage of the project makes
    such an output, or another one would be replaced without `replace`.
    """
    project = Path(project)
    if not (project / "dvc.yaml").is_file():
        raise TemDataError(f"{project / 'dvc.yaml'}: no such file; pull in a clone of the project")
    if not NAME.fullmatch(name):
        raise TemDataError(f"{name!r}: expected organisation/name or organisation/name@version")
    api, (repository, version) = HfApi(), split_name(name)
    repo_type = repo_type or _type_of(repository)
    version = version or newest_version(repository, repo_type)
    with reading(repository, version, api.endpoint):
        head = Path(api.hf_hub_download(repository, MANIFEST, repo_type=repo_type, revision=version))
    manifest, commit = read_manifest(head), head.parent.name
    _check_places(name, manifest)
    outs = _chosen(name, manifest, only)
    if not replace:
        _check_free(project, outs, manifest)
        if settings and (changed := uncommitted(project, SETTINGS)):
            raise TemDataError(f"{project / changed[0]}: has changes that no commit holds; commit, or give --replace")
    wanted = [path for path, file in manifest.files.items() if any(_within(file.place, out) for out in outs)]
    wanted += [f"{PROVENANCE}/{kept}" for kept in SETTINGS] if settings else []
    folder = fetch(f"{repository}@{commit}", sorted({_pattern(path) for path in wanted}), repo_type).folder
    placed = [Path(out) for out in outs]
    kept: list[str] = []
    if settings:
        kept = take_settings(project, folder / PROVENANCE, placed)
    else:
        check_outs(project, placed)
    for out in tqdm(outs, "place", unit="output", delay=2):
        _place(project, out, manifest, folder)
    foreign = keep_in_cache(project, placed)
    return Pulled(manifest, commit, tuple(placed), tuple(foreign), tuple(kept))


def _type_of(repository: str) -> str:
    """Raises TemDataError where there is neither a dataset nor a model of this name, or both."""
    api = HfApi()
    with reading(repository, None, api.endpoint):
        found = [kind for kind in ("dataset", "model") if api.repo_exists(repository, repo_type=kind)]
    if len(found) != 1:
        problem = "a dataset and a model; say which by --type" if found else "no dataset and no model that you may read"
        raise TemDataError(f"{repository} on {api.endpoint} is {problem}")
    return found[0]


def _chosen(name: str, manifest: Manifest, only: Sequence[str]) -> list[str]:
    """Raises TemDataError where one of `only` names nothing."""
    for each in only:
        if not any(_within(out, each) for out in manifest.outs):
            raise TemDataError(f"{name}: holds nothing of {each}; it has {', '.join(manifest.outs)}")
    return [out for out in manifest.outs if not only or any(_within(out, each) for each in only)]


def _check_places(name: str, manifest: Manifest) -> None:
    """Raises TemDataError for a place outside the project: a version may be a stranger's."""
    places = [*manifest.outs, *manifest.texts, *(file.place for file in manifest.files.values() if file.place)]
    for place in places:
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise TemDataError(f"{name}: {MANIFEST} names the place {place!r} outside the project; nothing was pulled")


def _pattern(path: str) -> str:
    folder = Path(path).parent.as_posix()
    return path if folder == "." else f"{folder}/*"


def newest_version(repository: str, repo_type: str) -> str:
    """Raises TemDataError where no version is published there."""
    with reading(repository, None, HfApi().endpoint):
        versions = published_versions(repository, repo_type)
    if not versions:
        raise TemDataError(f"{repository}: no version is published there; expected a tag such as v1.0.0")
    return str(max(versions))


def _within(place: str | None, out: str) -> TypeGuard[str]:
    return place is not None and Path(place).is_relative_to(out)


def _files_of(manifest: Manifest, out: str) -> dict[str, str | None]:
    """The place of each file of an output, and its path in the repository; None for a text of the manifest."""
    files = {file.place: path for path, file in manifest.files.items() if _within(file.place, out)}
    return files | {place: None for place in manifest.texts if _within(place, out)}


def _check_free(project: Path, outs: Sequence[str], manifest: Manifest) -> None:
    """Raises TemDataError for an output that is there, other than by an earlier pull or the same run."""
    for out in outs:
        if (project / out).exists() and not _same(project, out, manifest):
            raise TemDataError(f"{project / out}: is there already, and other; give --replace to lose it")


def _same(project: Path, out: str, manifest: Manifest) -> bool:
    found = [path for path in (project / out, *(project / out).rglob("*")) if path.is_file()]
    files = _files_of(manifest, out)
    if {path.relative_to(project).as_posix() for path in found} != set(files):
        return False
    return all(
        (project / place).read_bytes() == manifest.texts[place].encode()
        if path is None
        else file_of(project / place).sha256 == manifest.files[path].sha256
        for place, path in files.items()
    )


def _place(project: Path, out: str, manifest: Manifest, folder: Path) -> None:
    with atomic_write(project / out) as draft:
        for place, path in _files_of(manifest, out).items():
            target = draft / Path(place).relative_to(out)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path is None:
                target.write_bytes(manifest.texts[place].encode())
            else:
                shutil.copyfile(folder / path, target)
