"""What several tests of interrupted and shared work need."""

import os
import subprocess
import sys
from pathlib import Path


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
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([*launch, "-m", module, folder], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
