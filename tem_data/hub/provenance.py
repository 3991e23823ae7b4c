"""Which run of the pipeline made what is published: nothing is, that git and dvc.lock do not vouch for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tem_data.errors import TemDataError
from tem_data.hub.manifest import file_of

LOCK = "dvc.lock"


def made_by(project: Path, outs: Iterable[Path], profile: str) -> dict[str, Any]:
    """The git revision, profile, hash of dvc.lock and version of this package behind the stage outputs `outs`.

    Raises TemDataError where a tracked file is not committed, or an output is not what dvc.lock says.
    """
    revision, changed = _git(project, "rev-parse", "HEAD"), _git(project, "status", "--porcelain", "-uno")
    if changed:
        named = ", ".join(line.split(maxsplit=1)[1] for line in changed.splitlines()[:3])
        raise TemDataError(
            f"{project}: {named} …: changed since the last commit; commit first, so that it can be traced"
        )
    for out in wrong_outs(project, outs):
        raise TemDataError(
            f"{project / out}: not what {LOCK} says a stage made; run `dvc repro` and commit {LOCK} first"
        )
    lock = file_of(project / LOCK).sha256
    return {"git_revision": revision, "profile": profile, "dvc_lock": lock, "tem_data": version("tem_data")}


def wrong_outs(project: Path, outs: Iterable[Path]) -> list[Path]:
    """The outputs that are absent, or of other content than dvc.lock of this project has them.

    Raises TemDataError where there is no DVC project.
    """
    with _dvc(project) as repo:
        return [out for out in outs if any(o.workspace_status() for o in _found(repo, project / out))]


def keep_in_cache(project: Path, outs: Iterable[Path]) -> None:
    """Adds outputs that are as dvc.lock has them to DVC's cache, so that their stages count as run."""
    with _dvc(project) as repo:
        for out in (o for path in outs for o in _found(repo, project / path)):
            out.commit()


def _found(repo: Any, path: Path) -> list:
    from dvc.exceptions import OutputNotFoundError

    try:
        return repo.find_outs_by_path(str(path.absolute()))
    except OutputNotFoundError as error:
        raise TemDataError(
            f"{path}: no stage of dvc.yaml makes it; take dvc.yaml and params.yaml of the run"
        ) from error


@contextmanager
def _dvc(project: Path) -> Iterator[Any]:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(project) as repo:
            yield repo
    except DvcException as error:
        raise TemDataError(f"{project}: {error}; give the folder of a project in which `dvc repro` has run") from error


def _git(project: Path, *command: str) -> str:
    try:
        done = subprocess.run(["git", *command], cwd=project, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or error
        raise TemDataError(
            f"{project}: git {command[0]}: {str(said).strip()}; publish from a clone with git"
        ) from error
    return done.stdout.rstrip("\n")
