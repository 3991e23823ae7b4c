"""The size of the built-in data set."""

from __future__ import annotations

from tem_data.core.settings import section, setting


@section("import.builtin")
class SimulationSettings:
    """The simulated micrographs."""

    count: int = setting(20, "How many micrographs.", ge=0)
    size_px: int = setting(512, "Side of a micrograph, px.", ge=16)
    nm_per_px: float = setting(0.957, "Pixel size, nm.", gt=0)
    seed: int = setting(0, "The same seed gives the same micrographs.", ge=0)
