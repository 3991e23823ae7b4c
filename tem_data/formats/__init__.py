"""What the readers of the formats have in common: labels as they stand in a file, images, the quarantine.

A reader turns files into `LabelTable`s; whether the labels are right is judged in
`checking`, and `tem_data.importing` makes micrographs of them.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tem_data.errors import TemDataError
from tem_data.files import read_table, write_table
from tem_data.micrograph import Defect, defect_from_ellipse, defect_from_mask, defect_from_polygons, ellipse_box

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
REASONS = {
    "missing image": "labels whose image is not in the folder",
    "unreadable image": "an image that cannot be decoded",
    "unreadable table": "a table or log of one image that cannot be understood",
    "size mismatch": "image and labels disagree about the size of the image",
    "no labels": "an image without a table, or whose labels were all set aside",
    "no calibration": "nm per px known neither from the calibration table nor from the image's metadata",
    "labels of another image": "a table that does not fit its image",
    "bad shape": "a shape with NaN, of zero size, or too small for one px",
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


Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge of an outline, px."""


class Ellipse(NamedTuple):
    """Centre and full axes in px, angle counter-clockwise from +x in degrees, as in Fiji."""

    x: float
    y: float
    major: float
    minor: float
    angle_deg: float

    def box(self) -> Box:
        return ellipse_box(*self)

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        return defect_from_ellipse(category, *self, shape, ignore)

    def area(self) -> float:
        return float(np.pi / 4 * self.major * self.minor)

    def key(self) -> Hashable:
        return self


class Polygons(NamedTuple):
    """Flat x, y lists in px, as in COCO."""

    parts: tuple[tuple[float, ...], ...]

    def box(self) -> Box:
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in self.parts])
        return *points.min(0).tolist(), *points.max(0).tolist()

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        return defect_from_polygons(category, self.parts, shape, ignore)

    def area(self) -> float:
        corners = [np.reshape(part, (-1, 2)).T for part in self.parts]
        return float(sum(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 for x, y in corners))

    def key(self) -> Hashable:
        return self.parts


class Pixels(NamedTuple):
    """A bool mask whose upper left pixel is `(x, y)` of an image of `shape`."""

    mask: np.ndarray
    x: int
    y: int
    shape: tuple[int, int]

    def box(self) -> Box:
        return self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0]

    def drawn(self, category: str, shape: tuple[int, int], ignore: bool) -> Defect | None:
        return defect_from_mask(category, self.mask, self.x, self.y, ignore)

    def area(self) -> float:
        return float(self.mask.sum())

    def key(self) -> Hashable:
        return self.x, self.y, self.mask.shape, self.mask.tobytes()


class Label(NamedTuple):
    """One label as it stands in a file; `item` says where; `name` is its class there; None: no shape was given."""

    item: str
    name: str
    outline: Ellipse | Polygons | Pixels | None
    area: float | None = None
    ignore: bool = False


class LabelTable(NamedTuple):
    """All labels of one image; `shape` `(height, width)` where the file states it."""

    file_name: str
    labels: tuple[Label, ...]
    shape: tuple[int, int] | None = None


@dataclass
class Quarantine:
    """Everything that was found wrong. `action` is set aside, kept, clipped or recomputed."""

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


def read_array(path: str | os.PathLike) -> np.ndarray:
    """The picture as it is stored, `(height, width)`; colour as 8-bit grey. Raises OSError or ValueError."""
    picture = _loaded(path)
    return np.asarray(picture if picture.mode.startswith(("I", "F")) or picture.mode in "LP" else picture.convert("L"))


def read_image(path: str | os.PathLike) -> np.ndarray:
    """A micrograph as `(height, width) uint8`; more than 8 bits are scaled from the 0.1–99.9 % percentiles.

    Raises OSError or ValueError if it cannot be decoded.
    """
    picture = _loaded(path)
    if not picture.mode.startswith(("I", "F")):
        return np.asarray(picture.convert("L"))
    values = np.asarray(picture, np.float32)
    low, high = np.nanpercentile(values, (0.1, 99.9))
    return np.rint(np.nan_to_num((values - low) / max(high - low, 1e-6) * 255).clip(0, 255)).astype(np.uint8)


def _loaded(path: str | os.PathLike) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except (SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error


def nm_per_px_in_metadata(path: str | os.PathLike) -> float | None:
    """The pixel size that Fiji wrote into a TIFF (XResolution in px per `unit=` of its description), in nm.

    None where there is none, or where x and y differ.
    """
    with Image.open(path) as picture:
        tags = getattr(picture, "tag_v2", {})
        description, across, down = (tags.get(tag) for tag in (270, 282, 283))
    unit = re.search(r"^unit=(\S+)", str(description), re.MULTILINE)
    nm = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "\\u00B5m": 1e3, "micron": 1e3, "microns": 1e3}
    if not unit or unit[1] not in nm or not across or not down or not np.isclose(float(across), float(down), rtol=1e-3):
        return None
    return nm[unit[1]] / float(across)


def required_table(path: str | os.PathLike, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows, maybe none, of a CSV file that must have `columns`; raises TemDataError if it has not."""
    rows = read_table(path)
    if rows:
        header = list(rows[0])
    else:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    missing = [name for name in columns if name not in header]
    if missing:
        raise TemDataError(f"{path}: expected the columns {', '.join(columns)}; missing: {', '.join(missing)}")
    return rows


def number(text: Any) -> float:
    """A number, NaN if it is none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


def files_by_stem(folder: str | os.PathLike) -> dict[str, list[Path]]:
    """The pictures of a folder by file name without extension; raises TemDataError if there is no such folder."""
    if not Path(folder).is_dir():
        raise TemDataError(f"{folder}: expected a folder of images; give its path in the section `import`")
    found: dict[str, list[Path]] = {}
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.stem, []).append(path)
    return found
