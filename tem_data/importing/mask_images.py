"""Folders of masks: a picture of the same stem as the image, whose values are classes.

Where defects are not told apart by an instance map, each connected region (8
neighbours) of one class is taken for a defect, so that touching ones become one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import find_objects

from tem_data.importing.images import files_by_stem, read_array
from tem_data.importing.labels import Label, LabelTable, Pixels
from tem_data.importing.quarantine import Quarantine


def read_masks(
    folder: str | os.PathLike,
    images: str | os.PathLike,
    values: Mapping[int, str],
    quarantine: Quarantine,
    instances: str | os.PathLike | None = None,
) -> list[LabelTable]:
    """The labels of each mask; `values` maps mask values to classes, 0 is background.

    `instances` is a folder of 16-bit instance maps of the same stems: 0
    background, one number a defect, whose class is its commonest mask value. A
    value that is not listed gives a label `value N`. Masks that cannot be read,
    or whose map is missing or of another size, go to the quarantine. Raises TemDataError if a folder
    is missing.
    """
    found, maps = files_by_stem(images), files_by_stem(instances) if instances else {}
    tables = []
    for stem, paths in files_by_stem(folder).items():
        file_name = found[stem][0].name if stem in found else stem
        try:
            mask = read_array(paths[0])
            numbers = read_array(maps[stem][0]) if instances else None
            if numbers is not None and numbers.shape != mask.shape:
                raise ValueError(f"the mask is {mask.shape} px and its instance map {numbers.shape} px")
        except (OSError, ValueError, KeyError) as error:
            quarantine.add(file_name, Path(paths[0]).name, "unreadable table", "set aside", f"mask or map: {error}")
            continue
        regions = _components(mask, values) if numbers is None else _instances(mask, numbers, values)
        labels = tuple(Label(f"region {i}", name, pixels) for i, (name, pixels) in enumerate(regions, 1))
        tables.append(LabelTable(file_name, labels, mask.shape))
    return tables


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
