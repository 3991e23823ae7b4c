"""The ids that a ground truth gives to images and classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from tem_data.coco.faults import Faults
from tem_data.coco.reading import read_truth
from tem_data.coco.writing import Ids
from tem_data.core.errors import TemDataError


def truth_ids(path: str | os.PathLike, file_names: Sequence[str], classes: Sequence[str]) -> Ids:
    """The ids of images, by the last part of their file name, and of classes in a COCO ground truth.

    Raises TemDataError as `read_truth` does, and where it does not name one of them, or names an image twice.
    """
    truth = read_truth(Faults(path), file_names=True, annotated=False)
    images: dict[str, list[Any]] = {}
    for image in truth.images.values():
        images.setdefault(PurePath(image.file_name).name, []).append(image.given_id)
    for name in file_names:
        if len(images.get(name, ())) != 1:
            raise TemDataError(
                f"{path}: expected one image {name!r}, found {len(images.get(name, ()))}; "
                "take the image out of the folder, or add it to the ground truth's `images`"
            )
    categories = {category.name: category.given_id for category in truth.categories.values()}
    if missing := [name for name in classes if name not in categories]:
        raise TemDataError(
            f"{path}: the detector's {', '.join(missing)} is none of its categories {', '.join(categories)}; "
            "name them as the detector does"
        )
    return Ids([images[name][0] for name in file_names], categories, len(images) - len(file_names))
