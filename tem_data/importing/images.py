"""Images of a folder, as 8-bit grey, and the pixel size in their metadata."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from PIL import Image

from tem_data.core.errors import TemDataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def read_array(path: str | os.PathLike) -> np.ndarray:
    """The picture as it is stored, `(height, width)`; colour as 8-bit grey.

    Raises OSError or ValueError if it cannot be decoded or a value is not finite.
    """
    picture = _loaded(path)
    kept = picture.mode.startswith(("I", "F")) or picture.mode in "LP"
    values = np.asarray(picture if kept else picture.convert("L"))
    if lost := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{lost} pixels are infinite or not a number")
    return values


def read_image(path: str | os.PathLike) -> np.ndarray:
    """A micrograph as `(height, width) uint8`; more than 8 bits are scaled from the 0.1–99.9 % percentiles.

    These are of the finite pixels; +∞ becomes 255, −∞ and what is not a number 0.
    Raises OSError or ValueError if it cannot be decoded or no pixel is finite.
    """
    picture = _loaded(path)
    if not picture.mode.startswith(("I", "F")):
        return np.asarray(picture.convert("L"))
    values = np.asarray(picture, np.float32)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("no finite grey level")
    low, high = np.percentile(finite, (0.1, 99.9))
    with np.errstate(over="ignore"):  # far beyond the percentiles
        scaled = (values - low) / max(high - low, np.finfo(np.float32).tiny) * 255
    return np.rint(np.nan_to_num(scaled).clip(0, 255)).astype(np.uint8)


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


def files_by_stem(folder: str | os.PathLike) -> dict[str, list[Path]]:
    """The pictures of a folder by file name without extension; raises TemDataError if there is no such folder."""
    if not Path(folder).is_dir():
        raise TemDataError(f"{folder}: expected a folder of images; give its path in the section `import`")
    found: dict[str, list[Path]] = {}
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.stem, []).append(path)
    return found
