"""What labelled micrographs say of how far a detector can be trusted: the `trust` of its `scores.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from tem_data.core.errors import TemDataError
from tem_data.detection.scores import DetectorScores
from tem_data.trust.appearance import FEATURES
from tem_data.trust.correction import WEIGHT, Correction, Estimate, fit_correction, fit_spread
from tem_data.trust.known import Finds, Known
from tem_data.trust.reliability import Real, Reliability, Share, draw_scores, fit_reliability

SPREAD_OF_F1 = 0.05

Look = Annotated[tuple[Real, ...], Field(min_length=len(FEATURES), max_length=len(FEATURES))]


@dataclass(frozen=True)
class Calibration:
    """Of a detector at its `threshold`, from `micrographs` that it was not trained on.

    `offset` is by how much their F1_HM were above the expected ones, `spread` how far they scatter beyond what
    labels that could turn out otherwise explain. `mean_f1_hm` is their mean. `looks` are the appearances of the
    micrographs trained on, if these are known.
    """

    threshold: Share
    micrographs: Annotated[int, Field(ge=1, le=10**6)]
    mean_f1_hm: Share
    reliability: Reliability
    correction: Correction
    offset: Annotated[float, Field(ge=-1, le=1)]
    spread: Annotated[float, Field(ge=0, le=1)]
    looks: Annotated[tuple[Look, ...], Field(max_length=10_000)] = ()

    @property
    def quantile(self) -> float:
        """Standard deviations to each side of an interval of 95 %: Student's t."""
        from scipy.stats import t  # takes a while to import

        return float(t.ppf(0.975, WEIGHT + self.micrographs - 1))

    def expected_f1_hm(self, finds: Finds) -> Estimate:
        """The F1_HM that a micrograph is expected to have, and its interval."""
        drawn = draw_scores(self.reliability, finds).hm
        half = self.quantile * float(np.hypot(drawn.std(), self.spread))
        value = float(drawn.mean()) + self.offset
        return Estimate(*(float(np.clip(bound, 0, 1)) for bound in (value, value - half, value + half)))


class HeldOut(NamedTuple):
    """A labelled micrograph and what a calibration on the micrographs of all other scenes expects of it."""

    known: Known
    calibration: Calibration


class _Fit(NamedTuple):
    reliability: Reliability
    correction: Correction


def calibrate(known: Sequence[Known], threshold: float, looks: np.ndarray | None = None) -> Calibration:
    """The calibration on labelled micrographs that the detector was not trained on.

    Few of them do: what they leave open is taken from a prior. How far to trust
    it is learnt from each scene by a fit on the others. `looks` (t, f) are the
    appearances of the micrographs trained on. Raises TemDataError without any.
    """
    if not known:
        raise TemDataError("trust: expected labelled micrographs that the detector was not trained on, found none")
    classes = len(known[0].counts.truths)
    fit, held = _fit(known, classes), [(k, _fit(_others(known, k) or known, classes)) for k in known]
    drawn = [draw_scores(other.reliability, k.finds).hm for k, other in held]
    residual = np.array([k.f1_hm - hm.mean() for (k, _), hm in zip(held, drawn, strict=True)])
    offset = residual.sum() / (len(known) + WEIGHT)
    beyond = (residual - offset) ** 2 - np.array([hm.var() for hm in drawn])
    variance = (WEIGHT * SPREAD_OF_F1**2 + beyond.sum()) / (WEIGHT + len(known))
    numbers = np.array([other.correction.numbers(k.counts.predictions) for k, other in held])
    truths = np.array([[*k.counts.truths, k.counts.truths.sum()] for k in known])
    return Calibration(
        threshold=threshold,
        micrographs=len(known),
        mean_f1_hm=float(np.mean([k.f1_hm for k in known])),
        reliability=fit.reliability,
        correction=replace(fit.correction, spread=fit_spread(truths, numbers)),
        offset=float(offset),
        spread=float(np.sqrt(max(0, variance))),
        looks=() if looks is None else tuple(map(tuple, np.asarray(looks, float).tolist())),
    )


def _fit(known: Sequence[Known], classes: int) -> _Fit:
    return _Fit(fit_reliability(known, classes), fit_correction(known, classes))


def _others(known: Sequence[Known], one: Known) -> list[Known]:
    return [k for k in known if k.scene != one.scene]


def held_out(known: Sequence[Known], threshold: float) -> list[HeldOut]:
    """Each micrograph, calibrated without those of its scene; none where there is one scene only."""
    by_scene = {k.scene: others for k in known if (others := _others(known, k))}
    calibrations = {scene: calibrate(others, threshold) for scene, others in by_scene.items()}
    return [HeldOut(k, calibrations[k.scene]) for k in known if k.scene in calibrations]


def record_of(calibration: Calibration) -> dict[str, Any]:
    """The `trust` of `scores.json`; JSON-ready."""
    return asdict(calibration)


def read_calibration(scores: DetectorScores | None, classes: int) -> Calibration | None:
    """The inverse of `record_of`; None where a detector has none. Raises TemDataError for what is no calibration."""
    if scores is None or not scores.trust:
        return None
    try:
        calibration = _ADAPTER.validate_python(_tuples(scores.trust))
    except (ValidationError, RecursionError) as error:
        raise TemDataError(_broken(error)) from error
    sizes = _sizes(calibration)
    if sizes - {classes}:
        raise TemDataError(_broken(f"of {max(sizes - {classes})} classes, of which the detector has {classes}"))
    if min(calibration.correction.recall) <= 0:
        raise TemDataError(_broken("a recall of 0"))
    return calibration


def _sizes(calibration: Calibration) -> set[int]:
    """The numbers of classes that the parts of a calibration are of."""
    reliability, correction = calibration.reliability, calibration.correction
    vectors = (reliability.accuracy, correction.recall, correction.spread[1:])
    squares = (reliability.instead, correction.true_given)
    return {len(v) for v in vectors} | {len(part) for square in squares for part in (square, *square)}


def _broken(reason: object) -> str:
    if isinstance(reason, ValidationError):
        first = reason.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return (
        f"scores.json: trust: expected what evaluation wrote ({reason}); evaluate the detector again, or fetch it anew"
    )


def _tuples(content: Any) -> Any:
    """JSON's lists as the tuples that were written."""
    if isinstance(content, Mapping):
        return {name: _tuples(value) for name, value in content.items()}
    return tuple(map(_tuples, content)) if isinstance(content, list) else content


_ADAPTER = TypeAdapter(Calibration)
