"""Everything that can go wrong between a client and the Hub of the tests, and the log of what was asked."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from starlette.requests import ClientDisconnect

ALWAYS = 10**9
ANSWERS = {
    "error": (500, "Internal Error - We're working hard to fix this as soon as possible!"),
    "rate limit": (429, "Too Many Requests"),
    "forbidden": (403, "Forbidden: you must use a write token to upload to a repository."),
    "quota": (
        403,
        "Private repository storage limit reached, please upgrade your plan to increase your private limit.",
    ),
    "unauthorised": (401, "Invalid credentials in Authorization header"),
}
# What tests ask, and what huggingface_hub asks for once a process, whatever it does.
UNLOGGED = ("/_test/", "/api/agent-harnesses")


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD /path" matches the regular expression `path`.

    error, rate limit, forbidden, quota, unauthorised: the answer. slow: held for `seconds` (rate limit: Retry-After).
    cut upload: the connection ends when half of the request's body is there, and nothing is done. cut download: the
    request is done, but the connection ends after half of the answer's body. wrong bytes: the answer has the right
    length and wrong content. The first `after` matching requests pass.
    """

    what: Literal[
        "error", "rate limit", "forbidden", "quota", "unauthorised", "slow", "cut upload", "cut download", "wrong bytes"
    ]
    path: str = ""
    times: int = 1
    after: int = 0
    seconds: float = 0

    def strikes(self, line: str) -> bool:
        if not self.times or not re.search(self.path, line):
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Asked:
    """One request: its path without query and percent signs, the bytes of both bodies, the answer's status."""

    method: str
    path: str
    token: str = ""
    range: str = ""
    received: int = 0
    sent: int = 0
    status: int = 0


class Faulty:
    """ASGI middleware that logs every request and does to it what the faults say."""

    def __init__(self, app: Callable, faults: list[Fault], requests: list[Asked]):
        self.app, self.faults, self.requests = app, faults, requests

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        # Routes are matched against the quoted path: only so is "a%2Fb" one branch and not two segments.
        scope["path"] = scope["raw_path"].decode()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        token = headers.get("authorization", "").removeprefix("Bearer ")
        asked = Asked(scope["method"], unquote(scope["path"]), token, headers.get("range", ""))
        if not asked.path.startswith(UNLOGGED):
            self.requests.append(asked)
        struck = [fault for fault in self.faults if fault.strikes(f"{asked.method} {asked.path}")]
        for fault in struck:
            if fault.what == "slow":
                await asyncio.sleep(fault.seconds)
        # Once it has waited, "slow" is no fault any more.
        fault = next((fault for fault in struck if fault.what != "slow"), Fault("slow"))
        exchange = Exchange(asked, fault, receive, send, int(headers.get("content-length", 0)))
        if fault.what in ANSWERS:
            await exchange.refuse()
            return
        # What a cut raises ends the request; anything else is an error of the server.
        cut = (ConnectionError, ClientDisconnect) if fault.what.startswith("cut") else ()
        with suppress(*cut):
            await self.app(scope, exchange.receive, exchange.send)


class Exchange:
    """One request and its answer, with the fault between the server and the client."""

    def __init__(self, asked: Asked, fault: Fault, receive: Callable, send: Callable, length: int):
        self.asked, self.fault, self.inner_receive, self.inner_send = asked, fault, receive, send
        self.request_length, self.answer_length = length, 0

    def hang_up(self) -> None:
        # ASGI has no word for it: uvicorn's `send` is a method of the object that holds the connection.
        self.inner_send.__self__.transport.close()

    async def receive(self) -> dict:
        message = await self.inner_receive()
        self.asked.received += len(message.get("body", b""))
        if self.fault.what == "cut upload" and 2 * self.asked.received >= self.request_length:
            self.hang_up()
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.asked.status = message["status"]
            self.answer_length = int(dict(message["headers"]).get(b"content-length", 0))
        elif (body := message.get("body", b"")) and self.asked.method != "HEAD":
            if self.fault.what == "wrong bytes":
                message = message | {"body": bytes(255 - byte for byte in body[:64]) + body[64:]}
            if self.fault.what == "cut download" and 2 * (self.asked.sent + len(body)) >= self.answer_length:
                half = body[: max(self.answer_length // 2 - self.asked.sent, 0)]
                await self.inner_send({"type": "http.response.body", "body": half, "more_body": True})
                self.asked.sent += len(half)
                self.hang_up()
                raise ConnectionError("cut")
            self.asked.sent += len(body)
        await self.inner_send(message)

    async def refuse(self) -> None:
        """Answer with the fault's status, after the whole request is there, so that no client fails in sending it."""
        while (await self.receive()).get("more_body"):
            pass
        status, message = ANSWERS[self.fault.what]
        headers = {"content-type": "application/json", "x-error-message": message}
        if status == 429:
            headers["retry-after"] = str(round(self.fault.seconds))
        body = json.dumps({"error": message}).encode()
        headers["content-length"] = str(len(body))
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})
