"""What was read of a COCO file as labels: as they stand there, for the import, or as defects of micrographs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import cast

from tem_data.coco.faults import Fault, Faults
from tem_data.coco.reading import NOWHERE, CocoFile, Instance, read_truth
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, defect_from_rle
from tem_data.importing.labels import Label, LabelTable, Polygons
from tem_data.importing.quarantine import Quarantine

IGNORE = ("ambiguous",)
Meaning = Callable[[str], tuple[str, bool] | None]
"""Class of a category, and whether it is ignored; None if it is none that counts."""


def read_coco(path: str | os.PathLike, quarantine: Quarantine) -> list[LabelTable]:
    """The labels of each image entry, also of images without labels; what cannot be read goes to the quarantine.

    Raises TemDataError as `read_truth` does.
    """
    file = read_truth(Faults(path, quarantine), file_names=True)
    tables = []
    for key, image in file.images.items():
        labels = [_label(instance) for instance in file.instances[key] if not _only_box(instance)]
        boxes = [instance for instance in file.instances[key] if _only_box(instance)]
        for instance in boxes:
            detail = "has a box and no segmentation; draw its outline"
            quarantine.add(image.file_name, instance.item, "only a box", "set aside", detail)
        lost = file.lost[key] + len(boxes)
        # labels of no listed image may be of any image that has none
        lost += 0 if labels else file.lost[NOWHERE]
        by, proposed = file.proposed_by, image.proposed
        tables.append(LabelTable(image.file_name, tuple(labels), image.shape, lost, proposed_by=by, proposed=proposed))
    return tables


def _only_box(instance: Instance) -> bool:
    return instance.outline is None and instance.box is not None


def _label(instance: Instance) -> Label:
    outline = instance.outline if instance.outline != Polygons(()) else None
    return Label(instance.item, instance.category, outline, instance.area, instance.crowd, instance.proposal)


def counted_categories(file: CocoFile, ignore: Sequence[str], path: str | os.PathLike) -> tuple[str, ...]:
    """The names of the categories that are not ignored, in order.

    Raises TemDataError for a name to ignore, other than `IGNORE`, that the file does not have.
    """
    names = dict.fromkeys(category.name for category in file.categories.values())
    if unused := sorted(set(ignore) - set(names) - set(IGNORE)):
        raise TemDataError(f"{path}: no category {unused} to ignore; there are {sorted(names)}")
    return tuple(name for name in names if name not in ignore)


def micrographs_of(file: CocoFile, meaning: Meaning, faults: Faults, threshold: float = 0.0) -> list[Micrograph]:
    """The images, which must have sizes, with their instances of at least `threshold` and some area as defects.

    Raises TemDataError where there are instances and none can be read, or with a quarantine, which names no scores,
    none has the score.
    """
    micrographs = []
    held = [instance for instances in file.instances.values() for instance in instances]
    if held and all(instance.score < threshold for instance in held):
        best = max(instance.score for instance in held)
        detail = f"results, none of which reaches the threshold {threshold:g} (the best has {best:.3g})"
        if faults.quarantine is not None:
            raise TemDataError(f"{faults.path}: {len(held)} {detail}; lower `threshold`")
        faults.warnings[detail] = len(held)
    for key, image in file.images.items():
        shape = cast("tuple[int, int]", image.shape)
        defects = []
        for instance in file.instances[key]:
            if instance.score < threshold:
                continue
            try:
                defect = _defect(instance, shape, meaning)
            except Fault as fault:
                faults.found(fault, instance.item, image.file_name)
                continue
            if defect is not None:
                defects.append(defect)
                continue
            detail = "covers no px of the image"
            faults.odd(
                "truths without area, left out", "bad shape", instance.item, image.file_name, detail, "set aside"
            )
        micrographs.append(Micrograph(image.file_name, None, tuple(defects), shape))
    if faults.first and (held or file.lost) and not any(m.defects for m in micrographs):
        raise TemDataError(faults.first)
    return micrographs


def _defect(instance: Instance, shape: tuple[int, int], meaning: Meaning) -> Defect | None:
    meant = meaning(instance.category)
    if meant is None:
        raise Fault("unknown class", instance.category)
    if instance.outline is None:
        raise Fault("bad shape", "has no segmentation; give masks")
    category, ignored = meant
    return defect_from_rle(category, instance.outline.rle(shape), ignored or instance.crowd, instance.score)
