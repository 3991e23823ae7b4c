"""How good a detector is, and how it is to be used: `scores.json` of its folder, which evaluation writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tem_data.detection.about import Count, Name, Share, read_strictly

SCORES = "scores.json"
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ClassScores:
    """`precision`: of the finds that are called this class, how many are; `recall`: of this class, how many are found
    and called so. Both are None where there are none."""

    precision: Share | None
    recall: Share | None
    truths: Count
    predictions: Count


@dataclass(frozen=True)
class RoleScores:
    """The scores on the validation or the test micrographs, at the detector's threshold."""

    micrographs: Count
    f1_detect: Share
    f1_class: Share
    f1_hm: Share
    by_class: Mapping[Name, ClassScores]


@dataclass(frozen=True)
class DetectorScores:
    """`threshold` was chosen on validation; `materials` is the section that sizes were measured with, as plain values.

    `split` and `size` (number of training micrographs, or `all`) say which cell of a study it was trained in. `trust`
    holds what the confidence of its finds means, as plain values.
    """

    threshold: Share
    validation: RoleScores
    test: RoleScores | None = None
    materials: Mapping[str, Any] = field(default_factory=dict)
    split: Count | None = None
    size: Count | Name | None = None
    trust: Mapping[str, Any] = field(default_factory=dict)


def read_scores(folder: str | os.PathLike) -> DetectorScores | None:
    """None where a folder has no `scores.json`. Raises TemDataError where it is not one that evaluation wrote."""
    path = Path(folder, SCORES)
    return read_strictly(path, DetectorScores) if path.exists() else None
