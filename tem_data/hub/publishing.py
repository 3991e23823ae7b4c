"""Publishing a version: one commit and one tag, or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoCard, get_token
from huggingface_hub.errors import EntryNotFoundError, HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import DatasetInfo, ModelInfo
from tqdm import tqdm

from tem_data.cards import published_card
from tem_data.cards.rendering import BUILTIN
from tem_data.core.errors import TemDataError
from tem_data.download.fetching import reading
from tem_data.download.manifest import MANIFEST, PROVENANCE, README, Manifest, file_of, read_manifest
from tem_data.hub.contents import INDEX, Contents
from tem_data.hub.provenance import LOCK, made_by
from tem_data.hub.rows import Change, Items, compare, read_index, row_hashes, write_index
from tem_data.hub.versions import Version, checked_version, published_versions

Info = ModelInfo | DatasetInfo
FILES = "files"
LOGIN = "`hf auth login`, or HF_TOKEN in the environment"


@dataclass(frozen=True)
class Published:
    """What a repository holds: `head` is the newest commit, `last` the newest version and `tagged` its commit.

    `manifest` and `items` are of that version; `owned` are the files of it and of the newest commit that tem_data
    published. Without any version `last` is None.
    """

    head: str | None = None
    private: bool | None = None
    last: Version | None = None
    tagged: str | None = None
    manifest: Manifest | None = None
    items: Items = field(default_factory=dict)
    owned: frozenset[str] = frozenset()


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
    git and dvc.lock do not vouch for, a repository of something else, a version that is taken or says too little, and
    metadata that the Hub does not take.
    """
    project, work = Path(project), Path(work)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise TemDataError(f"{repository!r}: expected organisation/name, or your own name before the slash")
    head = contents.head | _licence(params, license)
    origin = made_by(project, [*contents.outs, *contents.shown], params["profile"])
    text = contents.card.read_text(encoding="utf-8")
    card = hashlib.sha256(json.dumps([text, head], sort_keys=True).encode()).hexdigest()
    files, items, manifest = _here(contents, project, work, origin, card)
    before = _published(repository, contents.kind, work)
    if before.manifest and manifest.same_content(before.manifest) and before.head == before.tagged:
        return Plan(repository, before, None, {}, {}, b"", before.manifest)
    changes = compare(before.items, items)
    next_one = checked_version(version, before.last, changes.values())
    told = {"since": before.last and str(before.last), "by_group": {name: c._asdict() for name, c in changes.items()}}
    manifest = manifest.as_version(str(next_one), told)
    readme = published_card(
        text,
        repository=repository,
        manifest=manifest,
        head=head,
        about=contents.about,
        figures=contents.figures,
    )
    with reading(repository, None, HfApi().endpoint):
        RepoCard(readme).validate(repo_type=_repo_type(contents.kind))
    return Plan(repository, before, next_one, changes, files, readme.encode(), manifest)


def publish(plan: Plan, private: bool = True) -> str:
    """Send the version of `plan`, and tag it last; returns the commit.

    A repository that is not there yet is made, private by default; one that is
    keeps who may see it, and what others put there. What a publish that broke off
    had sent already is not sent again. Raises TemDataError where the Hub does not
    take it; then no tag is there.
    """
    api, name, kind = HfApi(), plan.repository, _repo_type(plan.manifest.kind)
    check_token()
    with _sending(plan, api.endpoint):
        if not plan.before.head:
            api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        parent = plan.before.head or api.repo_info(name, repo_type=kind).sha
        commit = api.create_commit(
            name, _operations(plan), commit_message=str(plan.version), repo_type=kind, parent_commit=parent
        ).oid
        info = cast(Info, api.repo_info(name, repo_type=kind, revision=commit))
        there = {file.rfilename for file in info.siblings or ()}
        if absent := {*plan.files, README, MANIFEST} - there:
            raise TemDataError(
                f"{name} {plan.version} is not published: the Hub left out {', '.join(sorted(absent)[:3])}; does a "
                ".gitignore in the repository name them? Remove it, then give the same command again"
            )
        api.create_tag(name, tag=str(plan.version), revision=commit, repo_type=kind)
    return commit


def check_token() -> None:
    """Raises TemDataError without a token of the Hub."""
    if not get_token():
        raise TemDataError(f"publishing needs a token of the Hub that may write; give one by {LOGIN}")


def _operations(plan: Plan) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Raises TemDataError where a file is no longer what was planned."""
    kept = {*plan.files, README, MANIFEST}
    operations: list[CommitOperationAdd | CommitOperationDelete]
    operations = [CommitOperationDelete(path) for path in sorted(plan.before.owned - kept)]
    operations += [CommitOperationAdd(README, plan.readme), CommitOperationAdd(MANIFEST, plan.manifest.dumps())]
    for path, file in plan.files.items():
        operation = CommitOperationAdd(path, str(file))
        if operation.upload_info.sha256.hex() != plan.manifest.files[path].sha256:
            raise TemDataError(f"{file}: changed while it was published; let no stage run meanwhile, and begin again")
        operations.append(operation)
    return operations


def _licence(params: Mapping[str, Any], given: str | None) -> dict[str, str]:
    licence = given or params["cards"].get("license")
    if params["import"]["source"] != BUILTIN and not licence:
        raise TemDataError(
            "the licence of experimental micrographs is never assumed; give --license, or cards.license in params.yaml"
        )
    return {"license": licence} if licence else {}


def _here(
    contents: Contents, project: Path, work: Path, origin: Mapping[str, Any], card: str
) -> tuple[dict[str, Path], dict[tuple[str, str], bytes], Manifest]:
    """All files by their path in the repository, what makes a version of them, and their manifest."""
    local, items = _with_provenance(contents, project, work)
    paths = tqdm(local, "hash", unit="file", delay=2)
    files = {path: file_of(local[path], contents.places.get(path)) for path in paths}
    items |= {(FILES, path): file.sha256.encode() for path, file in files.items() if _counts(path, contents.kind)}
    outs = sorted(out.as_posix() for out in contents.outs)
    return local, items, Manifest(contents.kind, files, outs, contents.texts, origin, card)


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


def _repo_type(kind: str) -> str:
    return "dataset" if kind == "dataset" else "model"


def _published(repository: str, kind: str, work: Path) -> Published:
    """What the Hub has under this name. Raises TemDataError if it is something that tem_data did not publish."""
    api, repo_type = HfApi(), _repo_type(kind)

    def manifest_at(revision: str | None) -> Manifest | None:
        try:
            return read_manifest(api.hf_hub_download(repository, MANIFEST, repo_type=repo_type, revision=revision))
        except EntryNotFoundError:
            return None

    with reading(repository, None, api.endpoint):
        try:
            info = cast(Info, api.repo_info(repository, repo_type=repo_type))
        except RepositoryNotFoundError:
            return Published()
        if info.id != repository:
            raise TemDataError(f"{repository} is called {info.id} now; publish there")
        versions = published_versions(repository, repo_type)
        last = max(versions, default=None)
        at_head, manifest = manifest_at(info.sha), manifest_at(str(last)) if last else None
        _check_ours(repository, kind, at_head, {file.rfilename for file in info.siblings or ()} if not manifest else ())
        owned = frozenset(path for held in (at_head, manifest) if held for path in held.files)
        if not (last and manifest):
            return Published(info.sha, info.private, owned=owned)
        items = {(FILES, path): file.sha256.encode() for path, file in manifest.files.items() if _counts(path, kind)}
        if INDEX in manifest.files:
            items |= read_index(api.hf_hub_download(repository, INDEX, repo_type=repo_type, revision=str(last)))
    return Published(info.sha, info.private, last, versions[last], manifest, items, owned)


def _check_ours(repository: str, kind: str, at_head: Manifest | None, paths: Collection[str]) -> None:
    """A publish that broke off before its tag leaves a manifest; a repository that is as it was made is anybody's."""
    if at_head and at_head.kind != kind:
        raise TemDataError(f"{repository} holds a {at_head.kind}, not a {kind}; give another name")
    strange = set(paths) - {".gitattributes"}
    if strange and not at_head:
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
        cause = next((e for e in _chain(error) if getattr(e, "response", None) is not None), error)
        status = getattr(getattr(cause, "response", None), "status_code", None)
        said = " ".join(str(getattr(cause, "server_message", None) or cause).split())
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
    if status in (402, 413, 507) or (status == 403 and "storage" in said.lower()):
        return f"the storage of its owner is full; make room or ask for more, then {again}"
    match status:
        case 401:
            return f"the Hub does not know your token; give one that may write by {LOGIN}"
        case 403:
            return "your token may not write there; take one that may, or a name of your own"
        case 409:
            return "somebody else made it or its tag meanwhile, which is never overwritten; give the command again"
        case 412:
            return "somebody else changed the repository meanwhile; give the command again"
        case 429:
            return f"the Hub asks for a pause; wait some minutes, then {again}"
    if status and status < 500:
        return "the Hub does not take it"
    return f"the connection was lost or the Hub failed; {again}"
