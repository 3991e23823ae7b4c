"""Which run of the pipeline made what is published: nothing is, that git and dvc.lock do not vouch for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tem_data.core.errors import TemDataError
from tem_data.download.manifest import file_of

LOCK = "dvc.lock"
KEPT_BY_GIT = (LOCK, "dvc.yaml", "params.yaml", "results", "cards")
MOST_NAMED = 3


def made_by(project: Path, outs: Sequence[Path], profile: str) -> dict[str, Any]:
    """The git revision, profile, hash of dvc.lock and version of this package behind the stage outputs `outs`.

    Raises TemDataError where a file of the project is not committed, or an output is not what its stage makes of the
    settings and inputs of this revision.
    """
    revision, named = _git(project, "rev-parse", "HEAD"), uncommitted(project)
    named += _git(project, "ls-files", "--others", "--exclude-standard", "--", *KEPT_BY_GIT).splitlines()
    if named:
        raise TemDataError(
            f"{project}: not committed: {', '.join(named[:MOST_NAMED])}; commit, so that the version can be traced"
        )
    with _dvc(project) as repo:
        found = [out for path in outs for out in _found(repo, project / path)]
        wrong = [str(out.def_path) for out in found if out.workspace_status()]
        wrong += [name for name, stage in {o.stage.name: o.stage for o in found}.items() if _is_stale(stage)]
    if wrong:
        first = ", ".join(wrong[:MOST_NAMED])
        raise TemDataError(f"{project}: not as {LOCK} says: {first}; run `dvc repro`, then commit")
    lock = file_of(project / LOCK).sha256
    return {"git_revision": revision, "profile": profile, "dvc_lock": lock, "tem_data": version("tem_data")}


def uncommitted(project: Path, paths: Sequence[str] = ()) -> list[str]:
    """The tracked files, all or of `paths`, with changes that no commit holds."""
    lines = _git(project, "status", "--porcelain", "-uno", "--", *paths).splitlines()
    return [line.split(maxsplit=1)[-1] for line in lines]


def check_outs(project: Path, outs: Iterable[Path]) -> None:
    """Raises TemDataError where there is no DVC project, or no stage makes one of the outputs."""
    with _dvc(project) as repo:
        for out in outs:
            _found(repo, project / out)


def keep_in_cache(project: Path, outs: Iterable[Path]) -> list[Path]:
    """Adds outputs that are as dvc.lock has them to DVC's cache, so that their stages count as run; gives the others.

    Raises as `check_outs`.
    """
    others = []
    with _dvc(project) as repo:
        for path in outs:
            found = _found(repo, project / path)
            if any(out.workspace_status() for out in found):
                others.append(path)
                continue
            for out in found:
                out.commit()
    return others


def _is_stale(stage: Any) -> bool:
    """Whether its command, settings or inputs are not those of dvc.lock; inputs may be absent."""
    return stage.changed_stage() or any(state != "deleted" for dep in stage.deps for state in dep.status().values())


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
