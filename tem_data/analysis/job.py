"""What a run works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_data.analysis.settings import AnalysisSettings
from tem_data.importing.quarantine import Quarantine
from tem_data.materials.hardening import Materials
from tem_data.trust.micrograph import Trust

if TYPE_CHECKING:
    from tem_data.detection import Detector


@dataclass(frozen=True)
class Job:
    """What searches, how far it is trusted, how, what its results call the detector, and what could not be taken."""

    detector: Detector
    trust: Trust
    settings: AnalysisSettings
    materials: Materials
    model: str
    quarantine: Quarantine

    @property
    def threshold(self) -> float:
        given = self.settings.threshold
        return self.detector.threshold if given is None else given

    @property
    def origin_of_threshold(self) -> str:
        if self.settings.threshold is not None:
            return "as given"
        if self.detector.scores is None:
            return "the default, as the detector states none"
        return "chosen on the detector's validation micrographs"
