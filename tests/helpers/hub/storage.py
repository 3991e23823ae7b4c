"""What the Hub of the tests keeps on disk: blobs by SHA-256, and repositories whose commits map paths to blobs."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

KINDS = ("dataset", "model")
LFS_SIZE = 10 * 1024 * 1024
LFS_SUFFIXES = [
    "7z",
    "arrow",
    "bin",
    "ckpt",
    "gz",
    "h5",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "parquet",
    "pickle",
    "pkl",
    "png",
    "pt",
    "pth",
    "safetensors",
    "tar",
    "tif",
    "zip",
]
GIT_ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)


class HubError(Exception):
    """What the server answers in place of a result: status, message and the Hub's `X-Error-Code`."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = ""):
        super().__init__(message)
        self.status, self.code, self.commit = status, code, commit


@dataclass(frozen=True)
class File:
    """One file of a commit: where its bytes are, and its git object id (of the pointer, if it is an LFS file)."""

    sha256: str
    size: int
    git_oid: str
    lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid


def pointer(sha256: str, size: int) -> bytes:
    """The text that git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def wants_lfs(path: str, size: int) -> bool:
    """Whether the Hub's `.gitattributes` or its size makes it an LFS file."""
    return size > LFS_SIZE or path.rpartition(".")[2] in LFS_SUFFIXES


def write_json(path: Path, value: dict) -> None:
    """A killed server leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


@lru_cache(maxsize=16)
def read_commit(path: Path) -> dict:
    """A commit never changes, so it is read once: `parent`, `title`, `message`, `date`, `files`."""
    commit = json.loads(path.read_text())
    return commit | {"files": {name: File(**file) for name, file in commit["files"].items()}}


class Repository:
    """One repository: `repository.json` (visibility, branches, tags) and `commits/ID.json`."""

    def __init__(self, folder: Path, kind: str, name: str):
        self.folder, self.kind, self.name = folder, kind, name

    @property
    def state(self) -> dict:
        return json.loads((self.folder / "repository.json").read_text())

    def change(self, **state: object) -> None:
        write_json(self.folder / "repository.json", self.state | state)

    def set_ref(self, kind: str, name: str, commit: str | None) -> None:
        """Point the branch or tag at the commit; without one, delete it."""
        refs = self.state[kind] | {name: commit}
        self.change(**{kind: {name: commit for name, commit in refs.items() if commit}})

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag or (the beginning of) a commit id means."""
        state = self.state
        for names in (state["branches"], state["tags"]):
            if revision in names:
                return names[revision]
        found = sorted((self.folder / "commits").glob(f"{revision}*.json")) if revision.isalnum() else []
        if len(found) != 1 or len(revision) < 5:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0].stem

    def commit(self, commit: str) -> dict:
        return read_commit(self.folder / "commits" / f"{commit}.json")

    def history(self, commit: str | None) -> Iterator[tuple[str, dict]]:
        """The commit and its ancestors, the latest first."""
        while commit:
            yield commit, self.commit(commit)
            commit = self.commit(commit)["parent"]

    def add_commit(self, branch: str, files: dict[str, File], title: str, message: str) -> str:
        record = {
            "parent": self.state["branches"].get(branch),
            "title": title,
            "message": message,
            "date": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "files": {name: asdict(file) for name, file in sorted(files.items())},
        }
        commit = hashlib.sha1(json.dumps(record).encode()).hexdigest()
        write_json(self.folder / "commits" / f"{commit}.json", record)
        self.set_ref("branches", branch, commit)
        return commit


class Storage:
    """The repositories and blobs in a folder; another server may open the same folder later."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.incoming = self.folder / "incoming"
        for path in (self.incoming, self.folder / "blobs"):
            path.mkdir(parents=True, exist_ok=True)

    def blob(self, sha256: str) -> Path:
        return self.folder / "blobs" / sha256

    def keep(self, parts: list[Path], sha256: str, size: int) -> None:
        """Make the received parts a blob, if they are what was announced; they are gone afterwards."""
        whole, *others = parts
        with whole.open("ab") as file:
            for part in others:
                with part.open("rb") as more:
                    shutil.copyfileobj(more, file)
                part.unlink()
        with whole.open("rb") as file:
            received = hashlib.file_digest(file, "sha256").hexdigest()
        if (received, whole.stat().st_size) != (sha256, size):
            whole.unlink()
            raise HubError(400, f"BadDigest: announced {sha256} ({size} bytes), received {received}")
        whole.replace(self.blob(sha256))

    def regular(self, content: bytes) -> File:
        """A small file, which comes inside the commit."""
        sha256 = hashlib.sha256(content).hexdigest()
        temporary = self.incoming / uuid4().hex
        temporary.write_bytes(content)
        temporary.replace(self.blob(sha256))
        return File(sha256, len(content), git_oid(content), lfs=False)

    def large(self, sha256: str, size: int | None) -> File:
        """A file that was uploaded before the commit that names it."""
        if not self.blob(sha256).is_file() or size not in (None, self.blob(sha256).stat().st_size):
            raise HubError(400, f"An LFS pointer pointed to a file that does not exist: {sha256}")
        size = self.blob(sha256).stat().st_size
        return File(sha256, size, git_oid(pointer(sha256, size)), lfs=True)

    def repository(self, kind: str, name: str) -> Repository | None:
        folder = self.folder / f"{kind}s" / name
        return Repository(folder, kind, name) if (folder / "repository.json").is_file() else None

    def create(self, kind: str, name: str, private: bool) -> Repository:
        """As on the Hub, a new repository has one commit with a `.gitattributes`."""
        repository = Repository(self.folder / f"{kind}s" / name, kind, name)
        created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        state = {"private": private, "created": created, "branches": {}, "tags": {}}
        write_json(repository.folder / "repository.json", state)
        files = {".gitattributes": self.regular(GIT_ATTRIBUTES.encode())}
        repository.add_commit("main", files, "initial commit", "")
        return repository
