"""The quarantine: everything that an import rejects, clips or recomputes, with the reason."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

from tem_data.core.files import write_table

REASONS = {
    "missing image": "labels whose image is not in the folder",
    "unreadable image": "an image that cannot be decoded",
    "several planes": "a stack or an image of several channels, of which none was chosen",
    "unreadable table": "a table or log of one image that cannot be understood",
    "size mismatch": "image and labels disagree about the size of the image",
    "bad entry": "an entry of a COCO file that lacks what it needs, or holds it in a form that is not understood",
    "only a box": "a label without an outline",
    "box elsewhere": "a stated box that contradicts its outline, as where x and y are exchanged in one of the two",
    "crowd": "iscrowd 1: taken as labels where all labels have it, else ignored",
    "no labels": "an image without a table, or whose labels were all set aside",
    "no image": "other files in the folder of images",
    "unused row": "a row of the calibration table that names none of the images",
    "unclear unit": "a table of ellipses that may be in px or in the unit of its image",
    "calibrated table": "a table of ellipses in the unit of its image",
    "data bar": "a bar with magnification and scale below the micrograph",
    "scale out of range": "so large at the scale that a detector was trained at that it cannot be searched",
    "no calibration": "nm per px known neither from the calibration table nor from the image's metadata",
    "labels of another image": "a table that does not fit its image",
    "bad shape": "a shape that is damaged, with NaN, of zero size, or too small for one px",
    "stray part": "parts of fewer than three points, beside one that is a shape",
    "leaves the image": "a shape of which a part lies outside the image",
    "outside the image": "a shape of which no part lies in the image",
    "unknown class": "a class that `classes` and `ignored` do not list",
    "no class": "a row that got no class",
    "conflicting class": "a row, or one shape in two rows, that got two classes",
    "missing row": "a log that names a row which its table does not have",
    "duplicate shape": "the same shape twice on one image",
    "duplicate id": "two entries of one id, or two entries of one image",
    "wrong area": "the stated area is more than 5 % off the shape's",
}


@dataclass
class Quarantine:
    """Everything that was found wrong. `action` is what was done: set aside, kept, clipped, …"""

    rows: list[dict[str, str]] = field(default_factory=list)

    def add(self, file: str, item: str, reason: str, action: str, detail: str = "") -> None:
        assert reason in REASONS, reason
        self.rows.append({"file": file, "item": item, "reason": reason, "action": action, "detail": detail})

    def counts(self) -> dict[str, int]:
        """How many rows each reason has."""
        return dict(sorted(Counter(row["reason"] for row in self.rows).items()))

    def write(self, path: str | os.PathLike) -> None:
        """A CSV file with columns file, item, reason, action, detail."""
        write_table(path, self.rows, ("file", "item", "reason", "action", "detail"))

    def summary(self) -> str:
        """The counts by reason and action, one line each, with what the reason means."""
        counts = Counter((row["reason"], row["action"]) for row in self.rows)
        lines = [
            f"{counts[reason, action]:6d}  {reason}, {action}: {meaning}"
            for reason, meaning in REASONS.items()
            for action in sorted({a for r, a in counts if r == reason})
        ]
        return "\n".join(lines) or "nothing found wrong"
