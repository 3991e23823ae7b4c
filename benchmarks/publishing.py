"""Time and peak memory of publishing and of streaming, as the number of pairs grows; the Hub is one on loopback.

    python -m benchmarks.publishing [--pairs 1000 10000] [--side 128]

Each step is a process of its own, whose peak memory the system tells. The baseline of publishing is
`Dataset.push_to_hub`, which knows neither versions nor what changed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tem_data.cards.tables import markdown_table

SPLIT = "synthetic-n4-split1"
NAME = "org/defects"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--side", type=int, default=128, help="side of a picture, px")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--project", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        STEPS[args.step](args.project)
        print(peak_kb())
        return
    rows = [row for pairs in args.pairs for row in measured(pairs, args.side)]
    print(markdown_table(rows))


def peak_kb() -> int:
    """Of this process alone; getrusage counts that of its parent, too."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def measured(pairs: int, side: int) -> list[dict]:
    """One line a step: seconds and peak memory, MB, beside those of a process that only imports."""
    from tests.helpers.finished_project import finished_project
    from tests.helpers.hub.server import HubServer

    rows = []
    with tempfile.TemporaryDirectory() as folder, HubServer(Path(folder, "hub")) as hub:
        project = finished_project(Path(folder, "project"), pairs, side=side)
        environment = os.environ | hub.environment(Path(folder, "home"))
        for step in STEPS:
            command = [sys.executable, "-m", "benchmarks.publishing", "--step", step, "--project", str(project)]
            start = time.perf_counter()
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            seconds, peak = time.perf_counter() - start, int(done.stdout.splitlines()[-1]) / 1024
            rows.append({"pairs": pairs, "step": step, "s": f"{seconds:.1f}", "peak MB": f"{peak:.0f}"})
    return rows


def only_import(project: Path) -> None:
    import datasets  # noqa: F401

    import tem_data.hub.publishing  # noqa: F401


def publish(project: Path) -> None:
    import yaml

    from tem_data.hub.contents import dataset_contents
    from tem_data.hub.publishing import plan_version
    from tem_data.hub.publishing import publish as send

    params = yaml.safe_load((project / "params.yaml").read_text())
    with tempfile.TemporaryDirectory() as work:
        send(plan_version(NAME, dataset_contents(project, params), params, project, work))


def stream(project: Path) -> None:
    from datasets import load_dataset

    for row in load_dataset(NAME, SPLIT, split="train", revision="v1.0.0", streaming=True):
        row["image"].load()


def load(project: Path) -> None:
    from datasets import load_dataset

    for row in load_dataset(NAME, SPLIT, split="train", revision="v1.0.0"):
        row["image"].load()


def push_to_hub(project: Path) -> None:
    from datasets import load_dataset

    from tests.helpers.finished_project import CELL

    load_dataset(str(project / CELL.folder / "pairs/exp_gen"), split="train").push_to_hub("org/pushed", private=True)


STEPS = {
    "import": only_import,
    "publish": publish,
    "stream": stream,
    "load": load,
    "push_to_hub of the generated pairs": push_to_hub,
}


if __name__ == "__main__":
    main()
