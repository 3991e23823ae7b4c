"""How far what was found on a new micrograph can be trusted, from what is known without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_data.core.micrograph import Defect
from tem_data.detection.scale import rescaled
from tem_data.materials.measuring import ALL
from tem_data.trust.appearance import appearance_of, novelty, strangest
from tem_data.trust.calibration import Calibration, read_calibration
from tem_data.trust.correction import Estimate
from tem_data.trust.known import Finds, finds_of

if TYPE_CHECKING:
    from tem_data.detection import Detector

STRANGE = 2.0


@dataclass(frozen=True)
class MicrographTrust:
    """What is known of a micrograph without labels; None, or empty, where the detector was not calibrated.

    `f1_hm` is the F1_HM to expect, None also where nothing was found; `counts` are the numbers of true defects to
    expect, by class and of `all`; `uncertain` is the number of finds that may well be false, `missed` that of defects
    that were probably not found. `novelty` is how far it looks from the nearest micrograph trained on (1: as far as
    these look from one another), `look` its appearance. `reasons` say in words why to doubt it.
    """

    f1_hm: Estimate | None
    counts: dict[str, Estimate]
    uncertain: int | None
    missed: float | None
    novelty: float | None
    look: tuple[float, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Trust:
    """What a detector's finds are worth. `looks` are the appearances of the micrographs trained on, `tile` as in
    `About`; without a calibration only how a micrograph looks is known."""

    classes: tuple[str, ...]
    tile: int
    calibration: Calibration | None
    looks: tuple[tuple[float, ...], ...]

    @classmethod
    def of_detector(cls, detector: Detector, threshold: float | None = None) -> Trust:
        """That of a detector which is used with `threshold`, by default its own.

        With another one it counts as not calibrated. Raises TemDataError where
        what it was published with is broken.
        """
        used = detector.threshold if threshold is None else threshold
        calibration = read_calibration(detector.scores, len(detector.classes))
        known = calibration if calibration and abs(calibration.threshold - used) < 1e-9 else None
        return cls(detector.classes, detector.about.tile, known, calibration.looks if calibration else ())

    def of(
        self, defects: Iterable[Defect], faint: float, image: np.ndarray, factor: float = 1.0, note: str = ""
    ) -> MicrographTrust:
        """How far the finds on an image (h, w) uint8 can be trusted.

        `defects` are those from the threshold on, `faint` is the sum of the
        scores from `FAINT` up to it; `factor` and `note` as in `Prediction`.
        """
        searched = rescaled(image, (max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))))
        finds, look = finds_of(defects, faint, self.classes), appearance_of(searched, self.tile)
        far, reasons = self._novelty(look)
        reasons = [*([note] if note else []), *reasons]
        if self.calibration is None:
            return MicrographTrust(None, {}, None, None, far, tuple(look.tolist()), tuple(reasons))
        return self._calibrated(self.calibration, finds, look, far, reasons)

    def _calibrated(
        self, calibration: Calibration, finds: Finds, look: np.ndarray, far: float | None, reasons: Sequence[str]
    ) -> MicrographTrust:
        chance = calibration.reliability.chance(finds.scores)
        missed, uncertain = calibration.reliability.missed(finds), int(((chance > 0.25) & (chance < 0.75)).sum())
        found = np.bincount(finds.categories, minlength=len(self.classes))
        estimates = calibration.correction.estimates(found, calibration.quantile)
        return MicrographTrust(
            f1_hm=calibration.expected_f1_hm(finds) if len(finds.scores) else None,
            counts=dict(zip((*self.classes, ALL), estimates, strict=True)),
            uncertain=uncertain,
            missed=missed,
            novelty=far,
            look=tuple(look.tolist()),
            reasons=(*reasons, *_doubts(len(finds.scores), uncertain, float(chance.sum()), missed)),
        )

    def _novelty(self, look: np.ndarray) -> tuple[float | None, list[str]]:
        if not self.looks:
            return None, []
        trained = np.array(self.looks)
        far = novelty(look, trained)
        words = f"looks unlike what was trained on: {strangest(look, trained)}, {far:.1f} times the usual distance"
        return far, [words] if far > STRANGE else []


def _doubts(found: int, uncertain: int, true: float, missed: float) -> list[str]:
    """What is to be doubted in the finds of a micrograph, in words."""
    if not found:
        return ["nothing was found"]
    doubts = []
    if uncertain > 2 * found / 3:
        doubts.append(f"{uncertain} of {found} finds are uncertain")
    if missed > max(2, true / 2):
        doubts.append(f"about {missed:.0f} defects are probably missed")
    return doubts
