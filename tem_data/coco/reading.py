"""The one reader of COCO instances (cocodataset.org/#format-data): JSON, its structure, typed records.

Ids are the same where their text is, numbers may be written 1.0, `iscrowd` as
true. What a record holds is checked; the rest goes to `Faults`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from tem_data.coco.boxes import agreeing
from tem_data.coco.faults import Fault, Faults, confidence, crowd, identity, path_of, shown, text
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json
from tem_data.core.rle import IN_FRACTIONS, MOST_PX, checked_polygons, in_fractions, numbers, to_rle, whole
from tem_data.formats.marks import KEY
from tem_data.importing.labels import Polygons, RunLengths
from tem_data.importing.tables import number

TRUTH = "a COCO ground truth with `images`, `annotations` and `categories`"
NOWHERE = ""  # of labels whose image is not listed
RESULTS = "a list of results [{image_id, category_id, segmentation, score}, ...]"


class Image(NamedTuple):
    """`given_id` as the file writes it; `file_name` "" and `shape` (height, width) None where it states none.

    `proposed` is how many labels a model proposed for it.
    """

    given_id: Any
    file_name: str
    shape: tuple[int, int] | None
    proposed: int = 0


class Category(NamedTuple):
    given_id: Any
    name: str


class Instance(NamedTuple):
    """A label or a result. `item` says where it stands, `category` is its name, `box` x, y, width, height in px.

    `proposal` is the fingerprint of one that we wrote.
    """

    item: str
    category: str
    outline: Polygons | RunLengths | None
    box: list[float] | None
    area: float | None = None
    crowd: bool = False
    score: float = 1.0
    proposal: str = ""


class CocoFile(NamedTuple):
    """Images and categories by the text of their ids; of each image its instances, and how many cannot be read.

    `lost` counts labels of images that are not listed at `NOWHERE`; `proposed_by` is the model that proposed them.
    """

    images: dict[str, Image]
    categories: dict[str, Category]
    instances: Mapping[str, list[Instance]]
    lost: dict[str, int]
    proposed_by: str = ""


def read_truth(
    faults: Faults,
    file_names: bool = False,
    sizes: bool = False,
    masks: bool = True,
    annotated: bool = True,
) -> CocoFile:
    """A COCO ground truth, whose images need file names of their own, or sizes, if these are asked for.

    Without `masks` a segmentation is looked at only where there is no box; if
    not `annotated` there need be no annotations. Raises TemDataError where it is
    no such file, where two categories have one id, which leaves no label sure,
    and where no image can be used.
    """
    content = read_content(faults.path, dict, TRUTH)
    return file_of(content, faults, file_names, sizes, masks, annotated)


def file_of(
    content: Mapping[str, Any],
    faults: Faults,
    file_names: bool = False,
    sizes: bool = False,
    masks: bool = True,
    annotated: bool = True,
    scores: bool = False,
) -> CocoFile:
    """Parsed JSON as `read_truth` takes it; with `scores` every annotation has one, as predictions have."""
    for part in ("images", "categories", *(["annotations"] if annotated else ())):
        if not isinstance(content.get(part), list):
            raise TemDataError(f"{faults.path}: expected a list `{part}`, as {TRUTH} has it; export COCO instances")
    images = _images(content["images"], faults, file_names, sizes)
    if content["images"] and not images:
        raise TemDataError(faults.first)
    categories = _categories(content["categories"], faults)
    model = ours(content.get("info")).get("model")
    by = model if isinstance(model, str) else ""
    file = CocoFile(images, categories, {key: [] for key in images}, Counter(), by)
    entries = content["annotations"] if annotated else []
    if not scores and (scored := sum(isinstance(entry, dict) and "score" in entry for entry in entries)):
        faults.warnings["annotations that have a score, as predictions have, taken as labels"] = scored
    known = f"the {len(images)} usable entries of `images`, whose ids are {_ids(images)}"
    return _read_instances(entries, file, faults, masks, known, scores)


def ours(holder: Any) -> Mapping[str, Any]:
    """What we wrote into `info` or the entry of an image."""
    held = holder.get(KEY) if isinstance(holder, dict) else None
    return held if isinstance(held, dict) else {}


def instances_of(entries: list, truth: CocoFile, faults: Faults, masks: bool = True) -> CocoFile:
    """A list of results with the ids of the images and categories of `truth`."""
    file = truth._replace(instances={key: [] for key in truth.images}, lost=Counter())
    images = (
        f"the {len(truth.images)} of the ground truth, whose ids are {_ids(truth.images)}; write these as `image_id`, "
        "and score each set of images against its own ground truth"
    )
    return _read_instances(entries, file, faults, masks, images, True)


def _ids(entries: Mapping[str, Image] | Mapping[str, Category]) -> str:
    return shown([entry.given_id for entry in entries.values()])


def read_content(path: str | os.PathLike, kind: type, expected: str) -> Any:
    """Raises TemDataError where the file is not JSON, or holds something else than a `kind`."""
    try:
        content = read_json(path)
    except TemDataError as error:
        raise TemDataError(f"{error}; expected COCO: {expected}") from error
    if not isinstance(content, kind):
        raise TemDataError(f"{path}: expected {expected}, found a {type(content).__name__}")
    return content


def _categories(entries: list, faults: Faults) -> dict[str, Category]:
    categories: dict[str, Category] = {}
    for place, entry in enumerate(entries):
        item = f"categories[{place}]"
        try:
            key = identity(_object(entry).get("id"), "id")
            figure = whole(entry.get("name"))
            name = text(entry.get("name") if figure is None else str(figure), "name")
        except Fault as fault:
            faults.found(Fault(fault.reason, f"{fault.detail}; a category needs `id` and `name`"), item)
            continue
        if key in categories:
            raise TemDataError(
                f"{faults.path}: {item}: category id {key} is there twice; give each category its own id"
            )
        categories[key] = Category(entry["id"], name.strip())
    return categories


def _images(entries: list, faults: Faults, file_names: bool, sizes: bool) -> dict[str, Image]:
    images: dict[str, Image] = {}
    names: set[str] = set()
    for place, entry in enumerate(entries):
        item, name = f"images[{place}]", ""
        try:
            key = identity(_object(entry).get("id"), "id")
            name = _file_name(entry) if file_names else _name_if_any(entry)
            if key in images:
                raise Fault("duplicate id", f"image id {key} is there twice; give each image its own id")
            if file_names and name in names:
                raise Fault("duplicate id", f"file name {name!r} is there twice; name each image once")
            proposed = whole(ours(entry).get("labels")) or 0
            images[key] = Image(entry["id"], name, _size(entry, key, item, name, faults, sizes), proposed)
            names.add(name)
        except Fault as fault:
            faults.found(fault, item, name)
    return images


def _object(entry: Any) -> dict:
    if isinstance(entry, dict):
        return entry
    raise Fault("bad entry", f"expected an object {{...}}, found {shown(entry)}")


def _file_name(entry: Mapping[str, Any]) -> str:
    if "file_name" not in entry:
        raise Fault("bad entry", "has no file_name; add it")
    # of Windows, whose paths some labelling tools write
    return path_of(text(entry["file_name"], "file_name")).replace("\\", "/")


def _name_if_any(entry: Mapping[str, Any]) -> str:
    try:
        return _file_name(entry)
    except Fault:
        return ""


def _size(
    entry: Mapping[str, Any], key: str, item: str, file_name: str, faults: Faults, needed: bool
) -> tuple[int, int] | None:
    given = entry.get("height"), entry.get("width")
    height, width = map(whole, given)
    if height and width and height > 0 and width > 0:
        if height * width > MOST_PX:
            raise Fault("bad entry", f"image id {key}: {height}×{width} px are more than the {MOST_PX} px of a mask")
        return height, width
    found = ", ".join(map(shown, given))
    fault = Fault("bad entry", f"image id {key}: expected `height` and `width` in px, found ({found}); add them")
    if needed:
        raise fault
    if given != (None, None):
        faults.found(fault, item, file_name, "kept")
    return None


def _read_instances(entries: list, file: CocoFile, faults: Faults, masks: bool, images: str, results: bool) -> CocoFile:
    seen: set[str] = set()
    for place, entry in enumerate(entries):
        item, image, file_name = _item(entry, place, results), None, ""
        try:
            given = _object(entry).get("image_id")
            image = identity(given, "image_id")
            if image not in file.images:
                raise Fault("missing image", f"image id {shown(given)} is none of {images}")
            file_name = file.images[image].file_name
            if item in seen:
                detail = "another annotation has the same id"
                faults.odd("annotations with the id of another", "duplicate id", item, file_name, detail)
            seen.add(item)
            file.instances[image].append(_instance(entry, item, file.images[image], file, faults, masks, results))
        except Fault as fault:
            faults.found(fault, item, file_name)
            file.lost[image if image in file.images else NOWHERE] += 1
    _judge_crowds(file, faults)
    return file


def _judge_crowds(file: CocoFile, faults: Faults) -> None:
    """Brush masks are often written as crowds: where every label is one, they are labels; else they are ignored."""
    every = [(key, instance) for key, instances in file.instances.items() for instance in instances]
    crowds = [(key, instance) for key, instance in every if instance.crowd]
    if crowds and len(crowds) == len(every):
        detail = f"all {len(every)} labels have iscrowd 1, as brush masks are exported"
        faults.odd(f"truths taken as labels: {detail}", "crowd", "", Path(faults.path).name, detail, "taken as labels")
        for instances in file.instances.values():
            instances[:] = [instance._replace(crowd=False) for instance in instances]
        return
    for key, instance in crowds:
        detail = "iscrowd 1, which others have not: it does not count; write 0 if it is one defect, as a brush mask"
        where = instance.item, file.images[key].file_name
        faults.odd("truths with iscrowd 1, ignored", "crowd", *where, detail, "ignored")


def _item(entry: Any, place: int, results: bool) -> str:
    """Where an entry stands, by its id if it has one; nothing else hangs on the id of an annotation."""
    if results:
        return f"item {place}"
    try:
        return f"annotation {identity(_object(entry).get('id'), 'id')}"
    except Fault:
        return f"annotations[{place}]"


def _instance(
    entry: Mapping[str, Any], item: str, image: Image, file: CocoFile, faults: Faults, masks: bool, results: bool
) -> Instance:
    category = _category(entry.get("category_id"), file.categories)
    score = confidence(entry.get("score")) if results else 1.0
    is_crowd = not results and crowd(entry.get("iscrowd"))
    segmentation, box = entry.get("segmentation"), entry.get("bbox")
    if box is not None and not (numbers(box) and len(box) == 4 and min(box[2:]) >= 0):
        fault = Fault("bad entry", f"expected `bbox` to be [x, y, width, height] in px, found {shown(box)}")
        if not segmentation:
            raise fault
        faults.found(fault, item, image.file_name, "kept")
        box = None
    outline = None
    if segmentation and (masks or box is None or 0 in box[2:]):
        outline = _outline(segmentation, item, image, faults)
        box = agreeing(box, outline, item, image.file_name, faults)
    if box is not None and outline is None and in_fractions(box):
        raise Fault("bad entry", f"`bbox` {shown(box)}: {IN_FRACTIONS}")
    area = None if entry.get("area") is None else number(entry["area"])
    mark = entry.get(KEY)
    return Instance(item, category, outline, box, area, is_crowd, score, mark if isinstance(mark, str) else "")


def _category(given: Any, categories: dict[str, Category]) -> str:
    key = None if given is None else identity(given, "category_id")
    if key not in categories:
        known = _ids(categories)
        detail = f"category id {shown(given)} is none of the ground truth's {known}; write the ids of its `categories`"
        raise Fault("no class", detail)
    return categories[key].name


def _outline(segmentation: Any, item: str, image: Image, faults: Faults) -> Polygons | RunLengths:
    reason = "bad shape"
    try:
        if isinstance(segmentation, dict):
            stated = _stated(segmentation.get("size"))
            shape = image.shape or stated
            if shape is None:
                raise TemDataError("expected the `size` [height, width] of the mask")
            reason = "size mismatch" if stated not in (None, shape) else reason
            return RunLengths(to_rle(segmentation, *shape)["counts"], shape)
        parts = checked_polygons(segmentation, image.shape)
        if in_fractions(value for part in parts for value in part):
            raise TemDataError(IN_FRACTIONS)
    except TemDataError as error:
        raise Fault(reason, f"segmentation: {error}") from error
    stray = len(segmentation) - len(parts)
    if parts and stray:
        detail = f"{stray} of its {len(segmentation)} parts left out"
        faults.odd("shapes without their parts of fewer than three points", "stray part", item, image.file_name, detail)
    return Polygons(tuple(tuple(map(float, part)) for part in parts))


def _stated(size: Any) -> tuple[int, int] | None:
    sides = [whole(side) for side in size] if isinstance(size, list) else []
    known = len(sides) == 2 and all(side and side > 0 for side in sides)
    return cast("tuple[int, int]", tuple(sides)) if known else None
