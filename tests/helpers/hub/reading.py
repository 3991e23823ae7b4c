"""What changes nothing in the Hub of the tests: who one is, what is there, downloads.

Path arguments arrive quoted (see `Faulty`): `unquote` gives the revision or the file's path.
"""

import json
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote

import yaml
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from tests.helpers.hub.access import API, USER, Readable, Writable, role_of
from tests.helpers.hub.storage import File, HubError, pointer

router = APIRouter()


@router.get("/api/whoami-v2")
async def whoami(request: Request) -> dict:
    role = role_of(request)
    if role is None:
        raise HubError(401, "Invalid username or password.")
    organisation = {"type": "org", "id": "1", "name": "org", "fullname": "org", "roleInOrg": role}
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
    return {"type": "user", "id": "0", "name": USER, "fullname": USER, "orgs": [organisation], "auth": token}


@router.get(API + "/auth-check")
async def check_reading(repository: Readable) -> None:
    """Nothing to do: who may not read does not come here."""


@router.get(API + "/auth-check/write")
async def check_writing(repository: Writable) -> None:
    """Nothing to do: who may not write does not come here."""


@router.post("/api/validate-yaml")
async def validate_yaml(request: Request) -> JSONResponse:
    try:
        problem = "" if isinstance(front_matter((await request.json())["content"]), dict) else "not a mapping"
    except yaml.YAMLError as error:
        problem = str(error)
    errors = [{"message": f"YAML metadata: {problem}"}] if problem else []
    return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)


def front_matter(text: str) -> object:
    """The YAML between the `---` at the top of a card; {} without one."""
    parts = text.replace("\r\n", "\n").split("---\n", 2)
    return (yaml.safe_load(parts[1]) or {}) if len(parts) == 3 and not parts[0].strip() else {}


@router.api_route(API, methods=["GET", "HEAD"])
@router.api_route(API + "/revision/{revision}", methods=["GET", "HEAD"])
async def repo_info(request: Request, repository: Readable, revision: str = "main", blobs: bool = False) -> dict:
    commit, state = repository.resolve(unquote(revision)), repository.state
    files = repository.commit(commit)["files"]
    readme = files.get("README.md")
    card = front_matter(request.app.state.hub.storage.blob(readme.sha256).read_text()) if readme else {}
    siblings = [{"rfilename": name} | (describe(file, "blobId") if blobs else {}) for name, file in files.items()]
    times = {"createdAt": state["created"], "lastModified": repository.commit(commit)["date"]}
    counts = {"downloads": 0, "likes": 0, "gated": False, "disabled": False, "tags": card.get("tags", [])}
    names = {"id": repository.name, "author": repository.name.split("/")[0], "sha": commit}
    return names | times | counts | {"private": state["private"], "cardData": card, "siblings": siblings}


@router.get(API + "/refs")
async def list_refs(repository: Readable) -> dict:
    state = repository.state
    refs = {
        kind: [{"name": name, "ref": f"refs/{place}/{name}", "targetCommit": at} for name, at in state[kind].items()]
        for kind, place in (("branches", "heads"), ("tags", "tags"))
    }
    return refs | {"converts": [], "pullRequests": []}


@router.get(API + "/commits/{revision}")
async def list_commits(repository: Readable, revision: str) -> list[dict]:
    return [
        {"id": oid, "authors": [{"user": USER}]} | {key: commit[key] for key in ("title", "message", "date")}
        for oid, commit in repository.history(repository.resolve(unquote(revision)))
    ]


@router.get(API + "/tree/{revision}")
@router.get(API + "/tree/{revision}/{path:path}")
async def list_tree(
    request: Request, repository: Readable, revision: str, path: str = "", recursive: bool = False, cursor: int = 0
) -> JSONResponse:
    commit, folder = repository.resolve(unquote(revision)), unquote(path).strip("/")
    entries = tree(repository.commit(commit)["files"])
    inside = [entry for entry in entries if entry["path"].startswith(folder + "/" if folder else "")]
    if folder and not inside:
        raise HubError(404, f"{folder} does not exist on {revision}", "EntryNotFound", commit)
    if not recursive:
        inside = [entry for entry in inside if str(PurePosixPath(entry["path"]).parent) == (folder or ".")]
    end = cursor + request.app.state.hub.page_size
    link = f'<{request.url.include_query_params(cursor=end)}>; rel="next"'
    return JSONResponse(inside[cursor:end], headers={"Link": link} if end < len(inside) else None)


@router.post(API + "/paths-info/{revision}")
async def get_paths_info(request: Request, repository: Readable, revision: str) -> list[dict]:
    body = (await request.body()).decode()
    as_json = request.headers.get("content-type", "").startswith("application/json")
    asked = json.loads(body)["paths"] if as_json else parse_qs(body).get("paths", [])
    paths = {path.strip("/") for path in asked}
    commit = repository.resolve(unquote(revision))
    return [entry for entry in tree(repository.commit(commit)["files"]) if entry["path"] in paths]


@router.api_route("/{kind}s/{org}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
@router.api_route("/{org}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
async def download(request: Request, repository: Readable, revision: str, path: str) -> Response:
    commit = repository.resolve(unquote(revision))
    file = repository.commit(commit)["files"].get(unquote(path))
    if file is None:
        raise HubError(404, "Entry not found", "EntryNotFound", commit)
    headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"'}
    if file.lfs:
        headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
    blob = request.app.state.hub.storage.blob(file.sha256)
    return FileResponse(blob, headers=headers, media_type="application/octet-stream")


def describe(file: File, oid: str = "oid") -> dict:
    lfs = {"oid": file.sha256, "sha256": file.sha256, "size": file.size}
    lfs["pointerSize"] = len(pointer(file.sha256, file.size))
    return {oid: file.git_oid, "size": file.size} | ({"lfs": lfs} if file.lfs else {})


def tree(files: dict[str, File]) -> list[dict]:
    """Every folder and file of a commit, sorted by path."""
    folders = {str(folder) for name in files for folder in PurePosixPath(name).parents} - {"."}
    entries = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders]
    entries += [{"type": "file", "path": name} | describe(file) for name, file in files.items()]
    return sorted(entries, key=lambda entry: entry["path"])
