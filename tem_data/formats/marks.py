"""What a label that we write says of itself, so that an import can tell what a person did with it.

Programs keep the mark with a shape that is moved, renamed or reshaped, and shapes that are drawn anew have none.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

import numpy as np

from tem_data.core.micrograph import Defect

KEY = "tem_data"
LINE = re.compile(rf"^{KEY}: ?([0-9a-f]{{16}}) (\d{{1,9}}) (\d{{1,3}}) (\S+) (\S*)$", re.MULTILINE)


class Mark(NamedTuple):
    """The `fingerprint` of a label, how many its image had in `total`, its class with the group of this, its model.

    `proposed_by` is "" for labels of people.
    """

    fingerprint: str
    total: int
    group: int
    category: str
    proposed_by: str

    def line(self) -> str:
        """A line of the properties of an ImageJ region, which keep ASCII only."""
        words = self.fingerprint, self.total, self.group, quote(self.category, safe=""), quote(self.proposed_by)
        return f"{KEY}: {' '.join(map(str, words))}\n"


def mark_in(properties: str) -> Mark | None:
    """The mark among the properties of an ImageJ region."""
    found = LINE.search(properties)
    if found is None:
        return None
    fingerprint, total, group, category, proposed_by = found.groups()
    return Mark(fingerprint, int(total), int(group), unquote(category), unquote(proposed_by))


def fingerprint(defect: Defect, category: str, ignored: bool) -> str:
    """16 characters that are other ones for other pixels, another class or another meaning of a defect."""
    head = f"{category} {ignored:d} {defect.x} {defect.y} {defect.mask.shape} "
    return hashlib.sha256(head.encode() + np.packbits(defect.mask).tobytes()).hexdigest()[:16]
