"""What evaluation leaves with a detector: the contents of its `scores.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from tem_data.core.micrograph import Micrograph
from tem_data.detection.scores import ClassScores, DetectorScores, RoleScores
from tem_data.materials import Materials
from tem_data.scoring.evaluation import Found, Tiles
from tem_data.scoring.matching import Rule
from tem_data.scoring.scores import Scores
from tem_data.trust.appearance import looks_of
from tem_data.trust.calibration import HeldOut, calibrate, held_out, record_of
from tem_data.trust.known import known_micrographs


class Judged(NamedTuple):
    """Scores at the detector's threshold, and the number of micrographs that they are of."""

    scores: Scores
    micrographs: int


def scores_record(
    validation: Judged,
    test: Judged | None,
    materials: Materials,
    split: int | None = None,
    size: int | str | None = None,
    trust: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The contents of `scores.json`, as `DetectorScores` describes them; JSON-ready."""
    return asdict(
        DetectorScores(
            threshold=validation.scores.threshold,
            validation=_of_role(validation),
            test=test and _of_role(test),
            materials=asdict(materials),
            split=split,
            size=size,
            trust=trust or {},
        )
    )


class Trusted(NamedTuple):
    """The `trust` of `scores.json`, and the micrographs that it is from, each beside a calibration on the others."""

    record: dict[str, Any]
    held: list[HeldOut]


def trusted(
    judged: Sequence[tuple[Tiles, Found]],
    training: Iterable[Micrograph],
    classes: Sequence[str],
    threshold: float,
    rule: Rule = Rule(),
) -> Trusted:
    """How far a detector can be trusted at a threshold, by labelled tiles and what it found on them at every score.

    `judged` are those of validation and, where there are any, of test; `training` are the patches that it was
    trained on. Raises TemDataError as `calibrate` does.
    """
    known = [k for tiles, found in judged for k in known_micrographs(tiles, found, classes, threshold, rule)]
    return Trusted(record_of(calibrate(known, threshold, looks_of(training))), held_out(known, threshold))


def _of_role(judged: Judged) -> RoleScores:
    scores, counts = judged.scores, judged.scores.counts
    right = counts.confusion.diagonal()
    by_class = {
        name: ClassScores(
            precision=_share(right[k], counts.predictions[k]),
            recall=_share(right[k], counts.truths[k]),
            truths=int(counts.truths[k]),
            predictions=int(counts.predictions[k]),
        )
        for k, name in enumerate(scores.classes)
    }
    return RoleScores(judged.micrographs, scores.f1_detect, scores.f1_class, scores.f1_hm, by_class)


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
