"""Which test scenes an arm gains or loses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tem_data.scoring import total
from tem_data.scoring.scores import f1_scores
from tem_data.study.arms import ARMS, BASELINE
from tem_data.study.page_tables import by_arm, by_size
from tem_data.study.tables import Run


@dataclass(frozen=True)
class Scene:
    """A test scene with at least one labelled defect; `f1_hm` by the arm's display name, mean over runs."""

    size: int | str
    split: int
    name: str
    micrographs: int
    f1_hm: dict[str, float]

    def gain(self, arm: str) -> float:
        return self.f1_hm[arm] - self.f1_hm[ARMS[BASELINE]]

    @property
    def added(self) -> list[str]:
        """The arms that are compared with the baseline."""
        return [arm for arm in self.f1_hm if arm != ARMS[BASELINE]]


def scenes_of(runs: Sequence[Run]) -> list[Scene]:
    """By training size and split; those that the first added arm gains most come first."""
    found: list[Scene] = []
    for _, of_size in by_size(runs):
        for split in dict.fromkeys(r.split for r in of_size):
            held = list(_of_one_test_set([r for r in of_size if r.split == split]))
            found += sorted(held, key=lambda scene: [-scene.gain(arm) for arm in scene.added])
    return found


def scene_rows(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """A line a scene: F1_HM of each arm, with its gain."""
    return [
        {"n": scene.size, "split": scene.split, "scene": scene.name, "micrographs": scene.micrographs}
        | {
            arm: f"{f1:.3f}" + (f" ({scene.gain(arm):+.3f})" if arm in scene.added else "")
            for arm, f1 in scene.f1_hm.items()
        }
        for scene in scenes
    ]


def scene_verdict(scenes: Sequence[Scene]) -> str:
    """On how many scenes each arm scores higher and lower than the baseline, a sentence a training size."""
    sentences = []
    for size in dict.fromkeys(scene.size for scene in scenes):
        held = [scene for scene in scenes if scene.size == size]
        said = [
            f"{arm} scores higher than {ARMS[BASELINE]} on {sum(s.gain(arm) > 0 for s in held)} of {len(held)} test "
            f"scenes and lower on {sum(s.gain(arm) < 0 for s in held)}"
            for arm in held[0].added
        ]
        sentences += [f"At n = {size}, {'; '.join(said)}."] if said else []
    return " ".join(sentences)


def _of_one_test_set(runs: Sequence[Run]) -> Iterator[Scene]:
    first, arms = runs[0], by_arm(runs)
    for name in dict.fromkeys(first.scene[micrograph] for micrograph in first.counts):
        own = [micrograph for micrograph in first.counts if first.scene[micrograph] == name]
        if sum(first.counts[micrograph].truths.sum() for micrograph in own):
            f1_hm = {arm: float(np.mean([_f1_hm(run, own) for run in held])) for arm, held in arms}
            yield Scene(first.size, first.split, name, len(own), f1_hm)


def _f1_hm(run: Run, micrographs: Sequence[str]) -> float:
    counts = [run.counts[name] for name in micrographs]
    pooled = total(counts, len(counts[0].truths))
    return float(f1_scores(pooled.confusion, pooled.truths, pooled.predictions).hm)
