"""Folders of masks: a picture of the same stem as the image, whose grey levels or colours are classes.

Where defects are not told apart by an instance map, each connected region (8
neighbours) of one class is taken for a defect, so that touching ones become one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import find_objects

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.files import decoded
from tem_data.formats.mask_levels import class_levels, colour_levels
from tem_data.images.reading import SeveralPlanes, Stored, files_by_stem, read_stored
from tem_data.importing.labels import Label, LabelTable, Pixels
from tem_data.importing.quarantine import Quarantine

LABEL_MAP = ("labelmap.txt", "label_colors.txt")


def read_masks(
    folder: str | os.PathLike,
    values: Mapping[int, str] | None,
    colours: Mapping[str, str] | None,
    classes: Sequence[str],
    quarantine: Quarantine,
    instances: str | os.PathLike | None = None,
    suffix: str = "",
) -> list[LabelTable]:
    """The labels of each mask, whose table is named after its stem without `suffix`.

    `values` maps grey levels to classes, `colours` colours such as #800000; without `colours` a file labelmap.txt
    beside the masks or their folder names them. Without any of these all but 0 is the one of `classes`, and where there
    is none a single level the class `defect`. 0 and black are background. `instances` is a folder of 16-bit instance
    maps of the same stems: 0 background, one number a defect, whose class is its commonest mask value. A value that is
    not listed gives a label `value N`. Masks that cannot be read, or not without doubt, or whose map is missing or of
    another size, go to the quarantine. Raises TemDataError if a folder is missing, and SettingError where the classes
    of several levels are not named.
    """
    maps = files_by_stem(instances) if instances else {}
    named = _named_colours(folder, colours)
    if values is None and not named and len(classes) > 1:
        raise SettingError(
            "import", "mask_values", "missing; name the class of each grey level, or of each colour by mask_colours"
        )
    masks = files_by_stem(folder)
    if not masks:
        raise TemDataError(f"{folder}: expected masks as pictures, such as PNG or TIFF; there are none")
    tables = []
    for stem, paths in masks.items():
        name = stem.removesuffix(suffix)
        if suffix and stem + suffix in masks:  # the image beside its mask
            continue
        try:
            mask, known = _levels(read_stored(paths[0]), values, named, classes)
            numbers = _instance_map(maps, name, stem, mask) if instances else None
            regions = list(_components(mask, known) if numbers is None else _instances(mask, numbers, known))
            _refuse_background(regions, mask)
        except (OSError, ValueError) as error:
            why = f"{error.count} pages; save one picture an image" if isinstance(error, SeveralPlanes) else error
            quarantine.add(name, Path(paths[0]).name, "unreadable table", "set aside", f"mask or map: {why}")
            continue
        labels = tuple(Label(f"region {i}", class_, pixels) for i, (class_, pixels) in enumerate(regions, 1))
        tables.append(LabelTable(name, labels, (mask.shape[0], mask.shape[1])))
    return tables


def _named_colours(folder: str | os.PathLike, colours: Mapping[str, str] | None) -> dict[tuple[int, ...], str]:
    """The class of each colour: those given, else those of a label map beside the masks."""
    if colours is not None:
        return {_colour(text): name for text, name in colours.items()}
    paths = (Path(place, name) for place in (Path(folder), Path(folder).parent) for name in LABEL_MAP)
    return next((read_label_map(path) for path in paths if path.is_file()), {})


def _colour(text: str) -> tuple[int, ...]:
    try:
        return tuple(bytes.fromhex(text.removeprefix("#"))[k] for k in range(3))
    except (ValueError, IndexError) as error:
        raise SettingError("import", "mask_colours", f"expected colours as #800000=loop, found {text!r}") from error


def read_label_map(path: Path) -> dict[tuple[int, ...], str]:
    """The class of each colour of CVAT's `name:r,g,b::` lines, or CamVid's `r g b name`; black is background.

    Raises TemDataError.
    """
    named = {}
    try:
        lines = decoded(path.read_bytes()).splitlines()
    except (OSError, ValueError) as error:
        raise TemDataError(f"{path}: cannot be read ({error}); save it in UTF-8") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        camvid = re.fullmatch(r"\s*(\d+\s+\d+\s+\d+)\s+(.+?)\s*", line)
        name, *fields = camvid.group(2, 1) if camvid else line.split(":")
        parts = fields[0].replace(",", " ").split() if fields else []
        if len(parts) != 3 or not all(part.isdigit() and int(part) < 256 for part in parts):
            raise TemDataError(f"{path}: line {number}: expected name:red,green,blue::, found {line!r}")
        if any(map(int, parts)):
            named[tuple(map(int, parts))] = name.strip()
    return named


def _levels(
    stored: Stored, values: Mapping[int, str] | None, named: Mapping[tuple[int, ...], str], classes: Sequence[str]
) -> tuple[np.ndarray, Mapping[int, str]]:
    """The levels of a mask (height, width), and the class of each."""
    if named and (stored.kind == "colour" or (stored.kind == "palette" and values is None)):
        return colour_levels(stored, named)
    return class_levels(stored, values, classes[0] if classes else "")


def _instance_map(maps: Mapping[str, Sequence[Path]], name: str, stem: str, mask: np.ndarray) -> np.ndarray:
    paths = maps.get(stem) or maps.get(name)
    if not paths:
        raise ValueError(f"no instance map of {stem}")
    numbers = read_stored(paths[0]).values
    if numbers.shape != mask.shape:
        raise ValueError(f"the mask is {mask.shape} px and its instance map {numbers.shape} px")
    return numbers


def _refuse_background(regions: Sequence[tuple[str, Pixels]], mask: np.ndarray) -> None:
    """Raises ValueError where a defect fills most of the image and touches all its edges: the mask is inverted."""
    for _, pixels in regions:
        filled = pixels.area() / mask.size
        if pixels.mask.size == mask.size and pixels.mask.all():
            raise ValueError("one defect fills the whole image; the mask has no background of 0")
        if filled > 0.5 and pixels.mask.shape == mask.shape:
            raise ValueError(
                f"one defect fills {filled:.0%} of the image and touches all its edges; it seems to be the background: "
                "invert the mask, or name the classes by mask_values or mask_colours"
            )


def _name(value: int, values: Mapping[int, str]) -> str:
    return values.get(value, f"value {value}")


def _components(mask: np.ndarray, values: Mapping[int, str]) -> Iterator[tuple[str, Pixels]]:
    for value in np.unique(mask[mask != 0]).tolist():
        here = mask == value
        # what is not listed is set aside as one, not as every stray pixel of a soft edge
        numbers = cv2.connectedComponents(here.astype(np.uint8))[1] if value in values else here.astype(np.int32)
        for pixels in _regions(numbers):
            yield _name(value, values), pixels


def _instances(mask: np.ndarray, numbers: np.ndarray, values: Mapping[int, str]) -> Iterator[tuple[str, Pixels]]:
    for pixels in _regions(numbers.astype(np.int32)):
        height, width = pixels.mask.shape
        inside = mask[pixels.y : pixels.y + height, pixels.x : pixels.x + width][pixels.mask]
        found, counts = np.unique(inside[inside != 0], return_counts=True)
        yield (_name(int(found[counts.argmax()]), values) if found.size else ""), pixels


def _regions(numbers: np.ndarray) -> Iterator[Pixels]:
    for number, box in enumerate(find_objects(numbers), 1):
        if box is not None:
            yield Pixels(numbers[box] == number, box[1].start, box[0].start, numbers.shape)
