"""A small Hub on loopback for tests: `huggingface_hub`, `datasets`, `diffusers` and `hf` talk to it as to the real one.

It answers what huggingface_hub 2.4 asks, without Xet storage (`HF_HUB_DISABLE_XET=1`): repositories on disk
(`storage`), the protocol (`access`, `reading`, `writing`), faults to be switched on (`faults`).
"""

import socket
import time
from pathlib import Path
from threading import Thread

from tests.helpers.hub.faults import Asked, Fault, Faulty
from tests.helpers.hub.storage import Storage

WRITE_TOKEN, READ_TOKEN = "hf_tokenThatMayWrite", "hf_tokenThatMayRead"
SWITCHED_OFF = ("XET", "TELEMETRY", "UPDATE_CHECK", "PROGRESS_BARS")


class HubServer:
    """Serves the repositories in `folder` while the `with` block lasts; what was sent outlives it.

    tokens: role (`write` or `read`) of each token; any other token is refused. requests: what was asked so far.
    faults: what goes wrong; tests append `Fault`s. page_size: files in one page of a listing. part_size: larger files
    are uploaded in parts of so many bytes (None: in one piece).
    """

    def __init__(self, folder: Path, port: int = 0):
        self.storage = Storage(folder)
        self.tokens = {WRITE_TOKEN: "write", READ_TOKEN: "read"}
        self.requests: list[Asked] = []
        self.faults: list[Fault] = []
        self.page_size = 1000
        self.part_size: int | None = None
        self.waits: list[float] = []
        self.socket = listen(port)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self, home: Path, token: str = WRITE_TOKEN) -> dict[str, str]:
        """What a process needs in its environment to take this server for the Hub, with its caches in `home`."""
        places = {"HF_HUB_CACHE": "hub", "HF_DATASETS_CACHE": "datasets", "HF_TOKEN_PATH": "token"}
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": token,
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
            **{name: str(Path(home) / place) for name, place in places.items()},
            **{f"HF_HUB_DISABLE_{name}": "1" for name in SWITCHED_OFF},
        }

    def wait(self, seconds: float) -> None:
        """In place of `time.sleep` in a client: short, and remembered."""
        self.waits.append(seconds)
        time.sleep(seconds / 100)

    def asked(self, method: str, text: str = "") -> list[str]:
        """The paths asked for by this method that contain this text, in order."""
        return [asked.path for asked in self.requests if asked.method == method and text in asked.path]

    def __enter__(self) -> "HubServer":
        # Here and not at the top: most tests never start a server.
        import uvicorn

        from tests.helpers.hub import access, reading, writing

        app = access.build_app(self, reading.router, writing.router)
        faulty = Faulty(app, self.faults, self.requests)
        quiet = {"lifespan": "off", "log_level": "critical", "access_log": False, "ws": "none"}
        self.server = uvicorn.Server(uvicorn.Config(faulty, timeout_graceful_shutdown=1, **quiet))
        self.thread = Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


def listen(port: int) -> socket.socket:
    """A socket on loopback; `port` 0 is a free one."""
    # `create_server` leaves the protocol open, and asyncio then leaves Nagle's algorithm on: 40 ms an answer.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock
