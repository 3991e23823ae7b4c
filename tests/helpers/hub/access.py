"""Who may see and change what in the Hub of the tests."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from tests.helpers.hub.storage import KINDS, HubError, Repository

if TYPE_CHECKING:
    from tests.helpers.hub.server import HubServer

USER = "user"
API = "/api/{kind}s/{org}/{name}"


def build_app(hub: "HubServer", *routers: APIRouter) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.hub = hub
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(HubError, refuse)
    return app


async def refuse(request: Request, error: HubError) -> JSONResponse:
    headers = {"X-Error-Message": str(error), "X-Error-Code": error.code, "X-Repo-Commit": error.commit}
    given = {name: value for name, value in headers.items() if value}
    return JSONResponse({"error": str(error)}, error.status, given)


def role_of(request: Request) -> str | None:
    """`write`, `read`, or None for who shows no token."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    tokens = request.app.state.hub.tokens
    if token and token not in tokens:
        raise HubError(401, "Invalid credentials in Authorization header")
    return tokens.get(token)


def check_writer(request: Request) -> None:
    role = role_of(request)
    if role is None:
        raise HubError(401, "Invalid username or password.")
    if role != "write":
        raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")


async def readable(request: Request, org: str, name: str, kind: str = "model") -> Repository:
    """The repository of the request's path, if whoever asks may see it."""
    role = role_of(request)
    repository = request.app.state.hub.storage.repository(kind, f"{org}/{name}") if kind in KINDS else None
    if repository is None or (repository.state["private"] and role is None):
        raise HubError(404 if role else 401, "Repository not found", "RepoNotFound")
    return repository


async def writable(request: Request, org: str, name: str, kind: str = "model") -> Repository:
    repository = await readable(request, org, name, kind)
    check_writer(request)
    return repository


Readable = Annotated[Repository, Depends(readable)]
Writable = Annotated[Repository, Depends(writable)]
