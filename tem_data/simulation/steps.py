"""The step that makes a data set of simulated micrographs."""

from __future__ import annotations

import os
from dataclasses import asdict

from tem_data.core.schema import Classes, write_micrographs
from tem_data.simulation.micrographs import simulate
from tem_data.simulation.settings import SimulationSettings

CLASSES = Classes(("100", "111", "bdot"), ("ambiguous",))


def simulate_dataset(out: str | os.PathLike, settings: SimulationSettings) -> None:
    """Write the simulated micrographs as a data set to `out`."""
    write_micrographs(out, simulate(**asdict(settings)), CLASSES, "Simulated micrographs.")
    print(f"{out}: {settings.count} simulated micrographs")
