"""What several tests of interrupted and shared work need."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

ROOT = Path(__file__).resolve().parents[2]
OF_THIS_CHECKOUT = os.environ | {"PYTHONPATH": str(ROOT)}  # also for a process that is started elsewhere


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def permissions(folder: Path) -> set[tuple[bool, int]]:
    """Of a folder and all that is in it: whether it is a folder, and its mode."""
    return {(path.is_dir(), S_IMODE(path.stat().st_mode)) for path in (folder, *folder.rglob("*"))}


class Killed(Exception):
    pass


def killer(at: int):
    def kill(step: int) -> None:
        if step == at:
            raise Killed

    return kill


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run_in_two_processes(module: str, folder: Path) -> None:
    """`python -m module folder` in two processes of Accelerate, over gloo."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, "-m", module, folder], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
