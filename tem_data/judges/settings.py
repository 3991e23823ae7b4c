"""How judges are trained."""

from __future__ import annotations

from tem_data.core.settings import section, setting


@section("judges")
class JudgeSettings:
    """Detectors trained on all training micrographs but those of a fold; all else of them is as section detector."""

    folds: int = setting(2, "How many, each of which has not seen the scenes of one fold.", ge=2)
    iterations: int = setting(200, "Steps of the optimizer.", ge=1)
