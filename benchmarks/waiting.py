"""What a second program on the same cores costs a training, by how long OpenMP's threads spin while they wait.

    python -m benchmarks.waiting

Times 30 steps of a small convolutional network, alone and beside another such training: as libgomp does by default,
spinning briefly (as the stages do), and not at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

STEPS = 30
POLICIES = {"default": {}, "brief": {"GOMP_SPINCOUNT": "1000"}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}


def train(steps: int) -> float:
    """Seconds that `steps` take after three to warm up."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.SiLU()) for _ in range(8)]
    network = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), *layers)
    optimizer, images = torch.optim.AdamW(network.parameters()), torch.randn(8, 1, 64, 64)
    for step in range(steps + 3):
        if step == 3:
            start = time.perf_counter()
        network(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - start


def measured(policy: str, programs: int) -> float:
    """Seconds of the slowest of some programs that train at once."""
    environment = os.environ | POLICIES[policy]
    command = [sys.executable, "-m", "benchmarks.waiting", "train"]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(programs)]
    return max(float(process.communicate()[0]) for process in running)


def main() -> None:
    alone = measured("default", 1)
    print(f"{'spinning':18}{'programs':>10}{'seconds':>10}{'over one alone':>22}")
    for policy in POLICIES:
        for programs in (1, 2):
            seconds = measured(policy, programs)
            print(f"{policy:18}{programs:10}{seconds:10.2f}{seconds / alone:22.2f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["train"]:
        print(train(STEPS))
    else:
        main()
