"""Publishing a version: one commit and one tag, or nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HTTPError, RepositoryNotFoundError
from tqdm import tqdm

from tem_data.cards import published_card
from tem_data.errors import TemDataError
from tem_data.hub.contents import INDEX, Contents
from tem_data.hub.fetching import reading
from tem_data.hub.manifest import MANIFEST, PROVENANCE, README, Manifest, file_of, read_manifest
from tem_data.hub.provenance import LOCK, made_by
from tem_data.hub.rows import Change, compare, read_index, row_hashes, write_index
from tem_data.hub.versions import Version, checked_version, versions_of

FILES = "files"
LOGIN = "`hf auth login`, or HF_TOKEN in the environment"


@dataclass(frozen=True)
class Published:
    """What a repository holds: `last` is its newest version, None without any."""

    exists: bool
    private: bool | None = None
    last: Version | None = None
    manifest: Manifest | None = None
    items: Mapping[tuple[str, str], bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """One version that can be published, and what there is already.

    `files` are local files by their path in the repository; `readme` and `manifest` come beside them. `version` is None
    where the newest version has this content already.
    """

    repository: str
    before: Published
    version: Version | None
    changes: Mapping[str, Change]
    files: Mapping[str, Path]
    readme: bytes
    manifest: Manifest


def plan_version(
    repository: str,
    contents: Contents,
    params: Mapping[str, Any],
    project: str | os.PathLike,
    work: str | os.PathLike,
    version: str | None = None,
    license: str | None = None,
) -> Plan:
    """What publishing `contents` as `org/name` would do; nothing is sent. `work` keeps files made to be published.

    `license` is by default that of the card. Raises TemDataError for experimental data without a licence, outputs that
    git and dvc.lock do not vouch for, a repository of something else, and a version that is taken or says too little.
    """
    project = Path(project)
    license = license or params["cards"]["license"]
    if params["import"]["source"] != "builtin" and not license:
        raise TemDataError(
            "the licence of experimental micrographs is never assumed; give --license, or cards.license in params.yaml"
        )
    origin = made_by(project, [*contents.outs, *contents.shown], params["profile"])
    local, items = _with_provenance(contents, project, Path(work))
    files = {
        path: file_of(local[path], contents.places.get(path)) for path in tqdm(local, "hash", unit="file", delay=2)
    }
    items |= {(FILES, path): file.sha256.encode() for path, file in files.items() if _counts(path, contents.kind)}
    text = contents.card.read_text()
    head = contents.head | ({"license": license} if license else {})
    outs = sorted(out.as_posix() for out in contents.outs)
    manifest = Manifest(contents.kind, files, outs, contents.texts, origin, _hash(text, head))
    before = _published(repository, contents.kind, Path(work))
    if before.manifest and manifest.same_content(before.manifest):
        return Plan(repository, before, None, {}, {}, b"", before.manifest)
    changes = compare(before.items, items)
    next_one = checked_version(version, before.last, changes.values())
    told = {"since": before.last and str(before.last), "by_group": {name: c._asdict() for name, c in changes.items()}}
    manifest = manifest.as_version(str(next_one), told)
    readme = published_card(
        text,
        kind=contents.kind,
        repository=repository,
        manifest=manifest,
        head=head,
        about=contents.about,
        figures=contents.figures,
    )
    return Plan(repository, before, next_one, changes, local, readme.encode(), manifest)


def publish(plan: Plan, private: bool = True) -> str:
    """Send the version of `plan`, and tag it last; returns the commit.

    A repository that is not there yet is made, private by default; one that is
    keeps who may see it. What a publish that broke off had sent already is not
    sent again. Raises TemDataError where the Hub does not take it; then no tag is
    there.
    """
    api, kind = HfApi(), _repo_type(plan.manifest.kind)
    if not get_token():
        raise TemDataError(f"publishing needs a token of the Hub that may write; give one by {LOGIN}")
    with _sending(plan, api.endpoint):
        api.create_repo(plan.repository, repo_type=kind, private=private, exist_ok=True)
        head = api.repo_info(plan.repository, repo_type=kind)
        kept = {*plan.files, README, MANIFEST, ".gitattributes"}
        operations = [
            *(CommitOperationDelete(file.rfilename) for file in head.siblings or () if file.rfilename not in kept),
            CommitOperationAdd(README, plan.readme),
            CommitOperationAdd(MANIFEST, plan.manifest.dumps()),
        ]
        additions = [CommitOperationAdd(path, str(file)) for path, file in plan.files.items()]
        commit = api.create_commit(
            plan.repository,
            [*operations, *additions],
            commit_message=str(plan.version),
            repo_type=kind,
            parent_commit=head.sha,
        ).oid
        api.create_tag(plan.repository, tag=str(plan.version), revision=commit, repo_type=kind)
    return commit


def _with_provenance(contents: Contents, project: Path, work: Path) -> tuple[dict[str, Path], dict]:
    """All files of a version by their path in the repository, and the content of its rows."""
    local = {
        **contents.files,
        f"{PROVENANCE}/{LOCK}": project / LOCK,
        f"{PROVENANCE}/params.yaml": project / "params.yaml",
    }
    if not contents.groups:
        return local, {}
    hashes = (row for group, shards in contents.groups.items() for row in row_hashes(shards, group))
    local[INDEX] = work / "rows.parquet"
    write_index(local[INDEX], tqdm(hashes, "rows", unit="row", delay=2))
    return local, read_index(local[INDEX])


def _counts(path: str, kind: str) -> bool:
    """Whether a file of its own makes a version of data; the rows of a dataset count by themselves."""
    return (
        path.startswith(("tables/", "shapes/")) if kind == "dataset" else not path.startswith(("assets/", PROVENANCE))
    )


def _hash(text: str, head: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([text, head], sort_keys=True).encode()).hexdigest()


def _repo_type(kind: str) -> str:
    return "dataset" if kind == "dataset" else "model"


def _published(repository: str, kind: str, work: Path) -> Published:
    """What the Hub has under this name. Raises TemDataError if it is something that tem_data did not publish."""
    api, repo_type = HfApi(), _repo_type(kind)
    with reading(repository, None, api.endpoint):
        try:
            info = api.repo_info(repository, repo_type=repo_type)
        except RepositoryNotFoundError:
            return Published(False)
        tags = [tag.name for tag in api.list_repo_refs(repository, repo_type=repo_type).tags]
        versions = versions_of(tags)
        if not versions:
            _check_ours({file.rfilename for file in info.siblings or ()}, repository)
            return Published(True, info.private)
        last = versions[-1]

        def download(path: str) -> Path:
            return Path(
                api.hf_hub_download(repository, path, repo_type=repo_type, revision=str(last), local_dir=work / "last")
            )

        manifest = read_manifest(download(MANIFEST))
        rows = read_index(download(INDEX)) if INDEX in manifest.files else {}
    if manifest.kind != kind:
        raise TemDataError(f"{repository} holds a {manifest.kind}, not a {kind}; give another name")
    items = {(FILES, path): file.sha256.encode() for path, file in manifest.files.items() if _counts(path, kind)}
    return Published(True, info.private, last, manifest, rows | items)


def _check_ours(paths: set[str], repository: str) -> None:
    """A publish that broke off before its tag leaves a manifest; an empty repository is anybody's."""
    strange = paths - {".gitattributes", README}
    if strange and MANIFEST not in paths:
        raise TemDataError(
            f"{repository} is there already and holds {sorted(strange)[0]}, which tem_data did not publish; "
            "give another name"
        )


@contextmanager
def _sending(plan: Plan, endpoint: str) -> Iterator[None]:
    """Says of what the Hub or the network refuses what to do. Nothing is published until the tag is there."""
    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        cause = next((e for e in _chain(error) if hasattr(e, "response")), error)
        status = getattr(getattr(cause, "response", None), "status_code", None)
        said = " ".join(str(cause).split())
        raise TemDataError(
            f"{plan.repository} {plan.version} is not published ({endpoint}): {_remedy(status, said)} "
            f"[{f'HTTP {status}: ' if status else ''}{said[:200]}]"
        ) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _remedy(status: int | None, said: str) -> str:
    again = "give the same command again, what was sent is not sent twice"
    if "storage" in said.lower() or "quota" in said.lower() or status in (402, 413, 507):
        return f"the storage of its owner is full; make room or ask for more, then {again}"
    match status:
        case 401:
            return f"the Hub does not know your token; give one that may write by {LOGIN}"
        case 403:
            return "your token may not write there; take one that may, or a name of your own"
        case 409:
            return "its tag was set by somebody else meanwhile, and is never overwritten; give the command again"
        case 412:
            return "somebody else changed the repository meanwhile; give the command again"
        case 429:
            return f"the Hub asks for a pause; wait some minutes, then {again}"
    if status and status < 500:
        return "the Hub does not take it"
    return f"the connection was lost or the Hub failed; {again}"
