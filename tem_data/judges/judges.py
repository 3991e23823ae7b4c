"""Judges of mask adherence: Mask R-CNNs, cross-fitted on the cell's own training micrographs.

Judge k is trained on the patches of all scenes but those of fold k.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.files import atomic_write, read_json, write_json
from tem_data.core.micrograph import Micrograph
from tem_data.detection.detector import Detector
from tem_data.detection.settings import DetectorSettings
from tem_data.detection.training import train_detector
from tem_data.judges.settings import JudgeSettings


@dataclass(frozen=True, eq=False)
class Judge:
    """A detector, and the scenes of the patches that it was trained on."""

    detector: Detector
    seen: frozenset[str]


def folds_of(patches: Sequence[Micrograph], folds: int, seed: int) -> np.ndarray:
    """The fold of each patch, (n,) int in [0, folds); all patches of a scene are in one.

    The scenes with most patches are dealt first, each to the fold that has
    fewest so far (Graham 1969); `seed` decides between equal ones. Raises
    TemDataError where there are fewer than two folds or fewer scenes than folds.
    """
    names, number, counts = np.unique([p.scene_name for p in patches], return_inverse=True, return_counts=True)
    if not 2 <= folds <= len(names):
        raise SettingError(
            "judges",
            "folds",
            f"expected 2 or more, and a scene for each, found {folds}; the training patches are of {len(names)} scenes",
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    held, fold = np.zeros(folds, int), np.zeros(len(names), int)
    for scene in sorted(shuffled, key=lambda i: -counts[i]):
        fold[scene] = held.argmin()
        held[fold[scene]] += counts[scene]
    return fold[number]


def train_judges(
    patches: Sequence[Micrograph],
    classes: Sequence[str],
    settings: JudgeSettings,
    detector: DetectorSettings,
    seed: int,
    work: str | os.PathLike,
) -> list[Judge]:
    """One judge a fold, trained on the patches of all others, with the iterations of `settings`, else as `detector`.

    Checkpoints lie in `work/0`, `work/1`, …: what was killed goes on where it
    stood. A class that one scene alone shows is unknown to the judge of its
    fold, and told on the terminal. Raises TemDataError for a fold without a
    defect, and as `folds_of` and `train_detector` do.
    """
    fold = folds_of(patches, settings.folds, seed)
    _check_folds(patches, fold, classes)
    judges, chosen = [], replace(detector, iterations=settings.iterations)
    for k in range(settings.folds):
        others = [p for p, f in zip(patches, fold, strict=True) if f != k]
        of_judge = int(np.random.SeedSequence([seed, k]).generate_state(1)[0])
        trained, _ = train_detector(others, classes, chosen, of_judge, Path(work, str(k)))
        judges.append(Judge(trained, frozenset(p.scene_name for p in others)))
    return judges


def _check_folds(patches: Sequence[Micrograph], fold: np.ndarray, classes: Sequence[str]) -> None:
    shown: dict[int, set[str]] = {k: set() for k in range(fold.max() + 1)}
    for patch, k in zip(patches, fold, strict=True):
        shown[k] |= {d.category for d in patch.defects if not d.ignore}
    for k, own in shown.items():
        if not own:
            scenes = sorted({p.scene_name for p, f in zip(patches, fold, strict=True) if f == k})
            raise TemDataError(
                f"fold {k} of judges.folds, the scenes {', '.join(scenes)}, holds no defect, so that nothing in it "
                "can be judged; lower judges.folds, train on more micrographs, or take another split.seed"
            )
        unknown = set(classes).difference(*(others for other, others in shown.items() if other != k))
        if unknown:
            print(f"judge {k} is shown no {', '.join(sorted(unknown))}: these are in its own fold alone, or nowhere")


def save_judges(judges: Sequence[Judge], folder: str | os.PathLike) -> None:
    """A folder for each judge, `0`, `1`, …: a detector's, and `scenes.json`, the scenes that it has seen."""
    with atomic_write(folder) as draft:
        for k, member in enumerate(judges):
            member.detector.save_pretrained(draft / str(k))
            write_json(draft / str(k) / "scenes.json", sorted(member.seen))


def load_judges(folder: str | os.PathLike) -> list[Judge]:
    """The inverse of `save_judges`. Raises TemDataError where the folder holds no judge, or a broken one."""
    folders = sorted((p.parent for p in Path(folder).glob("*/scenes.json")), key=lambda p: int(p.name))
    if not folders:
        raise TemDataError(f"{folder}: expected the judges that the stage train_judges writes; run it")
    return [Judge(Detector.from_pretrained(p), frozenset(read_json(p / "scenes.json"))) for p in folders]


def fresh_pairs(judges: Sequence[Judge], pairs: Sequence[Micrograph]) -> list[list[int]]:
    """For each judge the numbers of the pairs whose scene it has not seen.

    Raises TemDataError where there is no pair, and for a pair without a picture or whose scene every judge has seen.
    """
    if not pairs:
        raise TemDataError("there is no pair to judge; generate some")
    for number, pair in enumerate(pairs):
        if pair.image is None:
            raise TemDataError(f"pair {number} ({pair.micrograph_id}) has no picture; generate it before it is judged")
        if all(pair.scene_name in member.seen for member in judges):
            raise TemDataError(
                f"pair {number} is of {pair.scene_name!r}, which every judge has seen; "
                "train the judges on these patches"
            )
    return [[i for i, pair in enumerate(pairs) if pair.scene_name not in member.seen] for member in judges]
