"""What changes the Hub of the tests: repositories, tags, branches, uploads, commits.

Path arguments arrive quoted (see `Faulty`): `unquote` gives the revision.
"""

import base64
import json
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from tests.helpers.hub.access import API, USER, Writable, check_writer
from tests.helpers.hub.faults import Fault
from tests.helpers.hub.storage import File, HubError, Repository, Storage, wants_lfs

router = APIRouter()


@router.post("/api/repos/create")
async def create_repo(request: Request) -> JSONResponse:
    check_writer(request)
    hub, asked = request.app.state.hub, await request.json()
    kind, name = asked.get("type") or "model", f"{asked.get('organization') or USER}/{asked['name']}"
    url = page(hub.url, kind, name)
    if hub.storage.repository(kind, name):
        message = f"You already created this {kind} repo: {name}"
        return JSONResponse({"error": message, "url": url}, 409, {"X-Error-Message": message})
    hub.storage.create(kind, name, asked.get("visibility") == "private")
    return JSONResponse({"url": url, "name": name})


def page(url: str, kind: str, name: str) -> str:
    """Where people read about a repository; clients learn its kind from it."""
    return f"{url}/{name}" if kind == "model" else f"{url}/{kind}s/{name}"


@router.put(API + "/settings")
async def change_settings(request: Request, repository: Writable) -> None:
    settings = await request.json()
    repository.change(private=settings.get("visibility") == "private" or settings.get("private", False))


@router.post(API + "/tag/{revision}")
async def create_tag(request: Request, repository: Writable, revision: str) -> None:
    set_new_ref(repository, "tags", (await request.json())["tag"], repository.resolve(unquote(revision)))


@router.post(API + "/branch/{branch}")
async def create_branch(request: Request, repository: Writable, branch: str) -> None:
    start = json.loads(await request.body() or b"{}").get("startingPoint") or "main"
    set_new_ref(repository, "branches", unquote(branch), repository.resolve(start))


def set_new_ref(repository: Repository, kind: str, name: str, commit: str) -> None:
    if name in repository.state[kind]:
        raise HubError(409, f"Reference already exists in {kind}: {name}")
    repository.set_ref(kind, name, commit)


@router.delete(API + "/tag/{name_of_ref}")
@router.delete(API + "/branch/{name_of_ref}")
async def delete_ref(request: Request, repository: Writable, name_of_ref: str) -> None:
    kind, name = "tags" if "/tag/" in request.url.path else "branches", unquote(name_of_ref)
    if name not in repository.state[kind]:
        raise HubError(404, f"Reference does not exist: {name}", "RevisionNotFound")
    repository.set_ref(kind, name, None)


@router.post(API + "/preupload/{revision}")
async def preupload(request: Request, repository: Writable, revision: str) -> dict:
    commit = repository.resolve(unquote(revision))
    present = repository.commit(commit)["files"]
    answer = []
    for file in (await request.json())["files"]:
        mode = "lfs" if wants_lfs(file["path"], file["size"]) else "regular"
        oid = present[file["path"]].etag if file["path"] in present else None
        answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": answer, "commitOid": commit}


@router.post("/{kind}s/{org}/{name}.git/info/lfs/objects/batch")
@router.post("/{org}/{name}.git/info/lfs/objects/batch")
async def lfs_batch(request: Request, repository: Writable) -> dict:
    """How to upload each file; nothing for those that are here already."""
    hub, objects = request.app.state.hub, []
    for wanted in (await request.json())["objects"]:
        sha256, size = wanted["oid"], wanted["size"]
        objects.append({"oid": sha256, "size": size})
        if hub.storage.blob(sha256).is_file():
            continue
        upload = {"href": f"{hub.url}/_lfs/{sha256}?size={size}"}
        if hub.part_size and size > hub.part_size:
            count = -(-size // hub.part_size)
            parts = {str(part): f"{hub.url}/_lfs/{sha256}/{part}" for part in range(1, count + 1)}
            upload["header"] = {"chunk_size": str(hub.part_size)} | parts
        objects[-1]["actions"] = {"upload": upload}
    return {"transfer": "basic", "objects": objects}


@router.put("/_lfs/{sha256}")
async def put_whole(request: Request, sha256: str, size: int) -> None:
    storage = request.app.state.hub.storage
    path = storage.incoming / uuid4().hex
    await receive(request, path)
    storage.keep([path], sha256, size)


@router.put("/_lfs/{sha256}/{part}")
async def put_part(request: Request, sha256: str, part: int) -> Response:
    await receive(request, request.app.state.hub.storage.incoming / f"{sha256}.{part}")
    return Response(headers={"ETag": f'"{part}"'})


@router.post("/_lfs/{sha256}")
async def join_parts(request: Request, sha256: str, size: int) -> None:
    storage, parts = request.app.state.hub.storage, (await request.json())["parts"]
    storage.keep([storage.incoming / f"{sha256}.{part['partNumber']}" for part in parts], sha256, size)


async def receive(request: Request, path: Path) -> None:
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
    except BaseException:
        path.unlink()
        raise


@router.post(API + "/commit/{revision}")
async def commit(request: Request, repository: Writable, revision: str) -> dict:
    hub, branch = request.app.state.hub, unquote(revision)
    header, *operations = (json.loads(line) for line in (await request.body()).splitlines())
    head, parent = repository.state["branches"].get(branch), header["value"].get("parentCommit")
    if head is None:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    if parent and not head.startswith(parent):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(repository.commit(head)["files"])
    for operation in operations:
        apply(operation["key"], operation["value"], files, hub.storage)
    title, message = header["value"]["summary"], header["value"].get("description", "")
    oid = repository.add_commit(branch, files, title, message)
    url = f"{page(hub.url, repository.kind, repository.name)}/commit/{oid}"
    return {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""}


def apply(key: str, value: dict, files: dict[str, File], storage: Storage) -> None:
    """One line of a commit, done to the files of its parent."""
    path = value["path"]
    if key == "file":
        files[path] = storage.regular(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        files[path] = storage.large(value["oid"], value.get("size"))
    elif key == "deletedFolder":
        for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[name]
    elif path in files:
        del files[path]
    else:
        raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")


@router.post("/_test/faults")
async def set_faults(request: Request) -> None:
    """For tests in another process than the server: a JSON list of `Fault`s in place of those in force."""
    request.app.state.hub.faults[:] = [Fault(**fault) for fault in await request.json()]
