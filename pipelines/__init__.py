"""The stages of dvc.yaml."""

import os

# OpenMP's threads spin while they wait, which slows several programs on the same cores tenfold (benchmarks/waiting.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
