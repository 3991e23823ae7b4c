"""How far two sets of labels of the same images agree: the ceiling that a model's score is read against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.scoring.labels import Labels, labels_of
from tem_data.scoring.matching import Rule
from tem_data.scoring.scores import Scores, compare, count_images, scores_of, total
from tem_data.scoring.significance import Interval, score_intervals


@dataclass(frozen=True, eq=False)
class Agreement:
    """B's labels scored as if A's were the truth, with intervals, and A's on B's; which images only one of them has.

    `one_sided` are images that both have and only one labelled, which count as free of defects in the other.
    """

    scores: Scores
    intervals: dict[str, Interval]
    reversed: Scores
    images: tuple[str, ...]
    scenes: int
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    one_sided: tuple[str, ...]

    def to_dict(self) -> dict:
        return {
            "images": list(self.images),
            "scenes": self.scenes,
            "only_in_a": list(self.only_in_a),
            "only_in_b": list(self.only_in_b),
            "one_sided": list(self.one_sided),
            "a_as_truth": self.scores.to_dict() | {"interval": {k: list(v) for k, v in self.intervals.items()}},
            "b_as_truth": self.reversed.to_dict(),
        }


def agree(a: Sequence[Micrograph], b: Sequence[Micrograph], rule: Rule = Rule(), seed: int = 0) -> Agreement:
    """How far the labels of `a` and `b` agree on the images, by `micrograph_id`, that both hold.

    The classes are those that either names. F1_detect is the same whichever is
    taken for the truth but for ambiguous labels and, with greedy assignment,
    its order; both directions are given. Intervals: 95 % bootstrap over scenes, or
    over images where scenes are not known. Raises TemDataError where no image
    is in both, one is there twice, or their sizes differ.
    """
    images = [_by_id(micrographs, name) for micrographs, name in ((a, "first"), (b, "second"))]
    common = [name for name in images[0] if name in images[1]]
    if not common:
        raise TemDataError(
            f"no image is in both sets of labels: the first has {_some(images[0])}, the second {_some(images[1])}; "
            "images go by file name without extension, rename them alike"
        )
    for name in common:
        if images[0][name].shape != images[1][name].shape:
            sizes = " and ".join(f"{held[name].shape[1]}×{held[name].shape[0]}" for held in images)
            raise TemDataError(f"{name}: its size is {sizes} px in the two sets; label images of one size")
    _refuse_other_case([{d.category for m in held.values() for d in m.defects if not d.ignore} for held in images])
    classes = tuple(sorted({d.category for held in images for n in common for d in held[n].defects if not d.ignore}))
    labels = [{n: labels_of(held[n].defects, held[n].shape, classes) for n in common} for held in images]
    scene = {n: images[0][n].scene or images[1][n].scene or n for n in common}
    counts = [_counts(t, p, len(classes), rule) for t, p in (labels, labels[::-1])]
    forth, back = (scores_of(total(by_image.values(), len(classes)), classes, 0.0) for by_image in counts)
    return Agreement(
        forth,
        score_intervals(counts[0], scene, classes, seed),
        back,
        tuple(common),
        len(set(scene.values())),
        tuple(n for n in images[0] if n not in images[1]),
        tuple(n for n in images[1] if n not in images[0]),
        tuple(n for n in common if bool(images[0][n].defects) != bool(images[1][n].defects)),
    )


def _refuse_other_case(names: Sequence[set[str]]) -> None:
    """Raises TemDataError where a class of one set is in the other only with other capitals."""
    for own, others in (names, names[::-1]):
        alike = {other.lower(): other for other in others - own}
        if twice := [name for name in sorted(own - others) if name.lower() in alike]:
            name, other = twice[0], alike[twice[0].lower()]
            raise TemDataError(
                f"one set of labels names a class {name!r}, the other {other!r}; name them alike, as by --classes "
                f"{name}={name}+{other}"
            )


def _counts(truths: dict[str, Labels], predictions: dict[str, Labels], classes: int, rule: Rule) -> dict:
    return count_images(compare(truths, predictions, rule.match), classes, rule)


def _by_id(micrographs: Sequence[Micrograph], name: str) -> dict[str, Micrograph]:
    by_id = {m.micrograph_id: m for m in micrographs}
    if len(by_id) < len(micrographs):
        raise TemDataError(
            f"the {name} set of labels holds an image more than once; compare whole micrographs, not patches"
        )
    return by_id


def _some(images: dict[str, Micrograph]) -> str:
    names = list(images)
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "") if names else "none"
