"""What a person did with the labels that a model proposed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tem_data.core.rle import MOST_PX
from tem_data.formats.marks import fingerprint
from tem_data.importing.labels import Label, LabelTable

COUNTS = ("unchanged", "changed", "added", "removed")


class Review(NamedTuple):
    """How many labels of an image, proposed by a model, are as it proposed them, and what was done with the others."""

    proposed_by: str
    unchanged: int
    changed: int
    added: int
    removed: int

    @property
    def touched(self) -> bool:
        return any((self.changed, self.added, self.removed))

    @property
    def labelled_by(self) -> str:
        """The model, and that a person reviewed its proposals where these show it."""
        return f"{self.proposed_by}, reviewed" if self.touched else self.proposed_by


def review_of(table: LabelTable) -> Review | None:
    """What the marks of the labels tell; None where no model proposed them."""
    if not table.proposed_by:
        return None
    marked = [label for label in table.labels if label.proposal]
    same = {label.proposal for label in marked if _fingerprint(label) == label.proposal}
    # of a shape and its copy one is the proposal
    changed = {label.proposal for label in marked} - same
    added = len(table.labels) - len(same) - len(changed)
    removed = max(0, table.proposed - len(same) - len(changed))
    return Review(table.proposed_by, len(same), len(changed), added, removed)


def _fingerprint(label: Label) -> str:
    if label.outline is None or not np.isfinite(box := label.outline.box()).all() or min(box[:2]) < 0:
        return ""
    shape = getattr(label.outline, "shape", None) or (int(np.ceil(box[3])), int(np.ceil(box[2])))
    if shape[0] * shape[1] > MOST_PX:
        return ""
    drawn = label.outline.drawn(label.name, shape, label.ignore)
    return fingerprint(drawn, label.name, label.ignore) if drawn else ""


def totals(reviews: Iterable[Review]) -> dict[str, int]:
    """The counts over all images."""
    held = list(reviews)
    return {what: sum(getattr(review, what) for review in held) for what in COUNTS}


def summary(reviews: Iterable[Review]) -> str:
    """What was done with all proposals, in one line for each model; "" where there are none."""
    by_model: dict[str, list[Review]] = {}
    for review in reviews:
        by_model.setdefault(review.proposed_by, []).append(review)
    return "\n".join(_line(model, held) for model, held in by_model.items())


def _line(model: str, reviews: Sequence[Review]) -> str:
    counts = ", ".join(f"{count} {what}" for what, count in totals(reviews).items())
    text = f"labels proposed by {model} on {len(reviews)} micrographs: {counts}"
    if left := sum(not review.touched for review in reviews):
        text += f"; {left} micrographs are as proposed: if a person saw them, say so by --labelled-by"
    return text
