"""Predictions: a list of COCO results with the ids of a ground truth, or a whole COCO file, joined by file names."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from tem_data.coco.faults import Faults, shown
from tem_data.coco.reading import RESULTS, CocoFile, file_of, instances_of, ours, read_content
from tem_data.core.errors import TemDataError
from tem_data.core.rle import finite
from tem_data.formats.marks import KEY

NAMES: tuple[Callable[[str], str], ...] = (
    str,
    lambda name: PurePath(name).name,
    lambda name: PurePath(name).stem,
    lambda name: unicodedata.normalize("NFC", PurePath(name).stem).casefold(),
)
UNKNOWN_THRESHOLD = 0.5
GAP = 0.05  # that the least confidence in a list may lie above the cut by chance
EXPECTED = f"{RESULTS}, or a whole COCO file whose annotations have a `score`"


class Cut(NamedTuple):
    """The confidence below which predictions were not kept: as their file records, else the least that is in it.

    What is scored or measured below the cut is the same as at the cut, and not what the model finds there.
    """

    threshold: float
    recorded: bool

    def __str__(self) -> str:
        origin = "recorded in the file" if self.recorded else "the least confidence in the file"
        return f"{self.threshold:.4g} ({origin})"

    def chosen(self, threshold: float | None) -> float:
        """A threshold that was given, else the one that the file records, at which its model is best, else 0.5."""
        if threshold is None:
            return self.threshold if self.recorded else UNKNOWN_THRESHOLD
        return threshold

    def kept(self, thresholds: Sequence[float]) -> list[float]:
        """The thresholds from the cut on; the cut itself stands for those below."""
        above = [threshold for threshold in thresholds if threshold > self.threshold]
        return list(thresholds) if len(above) == len(thresholds) else [self.threshold, *above]

    def warning(self, threshold: float) -> str:
        """What to say of numbers at a threshold below the cut; "" where it is not below."""
        if threshold >= self.threshold - (0 if self.recorded else GAP):
            return ""
        certain = "" if self.recorded else "where they were cut there, "
        return (
            f"predictions go down to {self} only; {certain}these are the numbers at {self.threshold:.4g}, not at "
            f"{threshold:g}: predict again to go lower"
        )


class Found(NamedTuple):
    """The truth of the images that were searched, the results on them, and the cut."""

    truth: CocoFile
    results: CocoFile
    cut: Cut


def read_found(truth: CocoFile, faults: Faults, masks: bool = True) -> Found:
    """The predictions on the images of `truth`.

    A list of results has the ids of the truth, and all images of the truth were
    searched. A whole COCO file says itself which were: its images are those of
    the truth by file name, without their folder, suffix or capitals where the names
    differ in these, and its categories by name. Images that only one of both has are
    left out and counted in the warnings. Raises TemDataError where the file is
    neither, no image is in both, one is of another size, or a category is none of the truth's.
    """
    content = read_content(faults.path, object, EXPECTED)
    if isinstance(content, list):
        results = instances_of(content, truth, faults, masks)
        return Found(truth, results, _cut(None, results))
    if not isinstance(content, dict):
        raise TemDataError(f"{faults.path}: expected {EXPECTED}, found a {type(content).__name__}")
    if not holds_found(content):
        raise TemDataError(
            f"{faults.path}: expected {EXPECTED}; it has annotations without: give predictions, or compare two sets of "
            "labels by `agree`"
        )
    return _joined(truth, *read_whole(content, faults, masks), faults)


def holds_found(content: Any) -> bool:
    """Whether a whole COCO file holds predictions: each annotation has a score, or the file records a threshold."""
    entries = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        return False
    scored = [isinstance(entry, dict) and entry.get("score") is not None for entry in entries]
    return all(scored) if scored else "threshold" in ours(content.get("info"))


def read_whole(content: Mapping[str, Any], faults: Faults, masks: bool = True) -> tuple[CocoFile, Cut]:
    """A whole COCO file of predictions on its own images, with sizes, and its cut."""
    file = file_of(content, faults, file_names=True, sizes=True, masks=masks, scores=True)
    given = ours(content.get("info")).get("threshold")
    if given is not None and not (finite(given) and 0 <= given <= 1):
        raise TemDataError(
            f"{faults.path}: expected `info.{KEY}.threshold` to be a confidence in [0, 1], found {shown(given)}"
        )
    return file, _cut(given, file)


def _cut(recorded: float | None, file: CocoFile) -> Cut:
    if recorded is not None:
        return Cut(float(recorded), True)
    return Cut(min((i.score for held in file.instances.values() for i in held), default=0.0), False)


def _joined(truth: CocoFile, own: CocoFile, cut: Cut, faults: Faults) -> Found:
    places = _places(truth, own, faults)
    used = {instance.category for key in places for instance in own.instances[key]}
    known = [category.name for category in truth.categories.values()]
    if unknown := sorted(used - set(known)):
        raise TemDataError(
            f"{faults.path}: categories {unknown} are none of the truth's {known}; name them alike, or add to the "
            "truth's `categories` what its images have none of"
        )
    images = {key: image for key, image in truth.images.items() if key in places.values()}
    searched = truth._replace(images=images, instances={key: truth.instances[key] for key in images})
    results = {there: own.instances[here] for here, there in places.items()}
    lost = Counter({there: own.lost[here] for here, there in places.items()})
    ordered = {key: results[key] for key in images}
    return Found(searched, searched._replace(instances=ordered, lost=lost), cut)


def _places(truth: CocoFile, own: CocoFile, faults: Faults) -> dict[str, str]:
    """The key of the truth's image for that of each image of `own` that it has."""
    places: dict[str, str] = {}
    known = [_by_name(truth, part) for part in NAMES]
    for here, image in own.images.items():
        there = _same_image(image.file_name, known, faults)
        if there is None:
            continue
        if there in places.values():
            raise TemDataError(f"{faults.path}: {image.file_name!r} is there twice, by another folder or suffix")
        shapes = image.shape, truth.images[there].shape
        if shapes[0] != shapes[1]:
            found, true = (f"{s[1]}×{s[0]}" if s else "unknown" for s in shapes)
            raise TemDataError(
                f"{faults.path}: {image.file_name!r} is of {found} px here, and of {true} px in the truth; "
                "predict on the images that were labelled"
            )
        places[here] = there
    if own.images and not places:
        names = [shown(next(iter(file.images.values())).file_name) for file in (own, truth) if file.images]
        raise TemDataError(
            f"{faults.path}: none of its images, as {names[0]}, is one of the truth, as {names[-1]}; they go by "
            "`file_name`, name them alike"
        )
    for file, left, what in (
        (own, set(own.images) - set(places), "images of the predictions without a truth"),
        (truth, set(truth.images) - set(places.values()), "images of the truth that were not searched"),
    ):
        if left:
            first = next(image.file_name for key, image in file.images.items() if key in left)
            faults.warnings[f"{what}, left out, as {first!r}"] = len(left)
    return places


def _by_name(truth: CocoFile, part: Callable[[str], str]) -> dict[str, list[str]]:
    """The keys of the images of each name."""
    found: dict[str, list[str]] = {}
    for key, image in truth.images.items():
        if image.file_name:
            found.setdefault(part(image.file_name), []).append(key)
    return found


def _same_image(name: str, known: Sequence[Mapping[str, list[str]]], faults: Faults) -> str | None:
    """The key of the truth's only image of this name: whole, then without its folder, suffix or capitals."""
    for part, keys in zip(NAMES, known, strict=True):
        alike = keys.get(part(name), [])
        if len(alike) > 1:
            raise TemDataError(f"{faults.path}: {name!r} may be any of {len(alike)} images of the truth; rename them")
        if alike:
            return alike[0]
    return None
