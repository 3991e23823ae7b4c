"""Rows of a loaded dataset as other tools take them: detectron2, torchvision, COCO.

A row knows its classes by number alone, the numbers are those of its dataset, and so
every conversion starts from the dataset:

    pairs = load_dataset("org/name", "synthetic-n10-split1", split="train")
    targets = Targets.of(pairs)
    image, target = targets.to_torchvision(pairs[0])
    loader = DataLoader(pairs, batch_size=4, collate_fn=targets.collate_fn)
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from pycocotools import mask as rle_ops
from tqdm import tqdm

from tem_data.coco.writing import coco_truth
from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, write_json
from tem_data.core.micrograph import Micrograph, paste
from tem_data.core.rle import to_rle
from tem_data.core.schema import Classes, from_row

if TYPE_CHECKING:
    import torch

NEEDED = ("image", "mask", "objects", "micrograph_id")
DESCRIBING = {field.name for field in fields(Micrograph)} - {"image", "defects", "shape"}


@dataclass(frozen=True)
class Targets:
    """Turns rows of one dataset, decoded or not, of any `with_format`, streamed or not, into targets.

    `labels` are the names of the dataset's `objects.category`. `classes` give the numbers: class k is
    k for detectron2, k + 1 for torchvision and in COCO files, and k + 1 in the column `mask` where
    `classes` begins as `labels` does.

    Objects marked `ignore` are neither found nor missed. detectron2 and torchvision cannot train on
    such: they get none to learn, so that their models take the place for background, and are told
    where it is (`iscrowd`, `ignored`). Rows without them are
    `dataset.filter(lambda objects: not any(objects["ignore"]), input_columns="objects")`.
    """

    labels: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Any, classes: Sequence[str] | None = None) -> Targets:
        """The targets of one split as `datasets.load_dataset` gives it, with the class numbers of its own labels.

        With `classes` (a detector's, or the `classes` of the dataset's card, which leave ignored labels
        out) numbers are theirs, by name, whatever the order in this dataset. Raises TemDataError where
        the dataset has no such labels, as a dict of splits has not.
        """
        try:
            labels = tuple(dataset.features["objects"]["category"].feature.names)
        except (AttributeError, KeyError, TypeError) as error:
            raise TemDataError(
                f"a {type(dataset).__name__} without the class names of `objects.category`: expected one split of a "
                'dataset of tem_data; load it with split="train", and call Targets.of before `map`, which may drop them'
            ) from error
        classes = labels if classes is None else tuple(classes)
        if len(set(classes)) != len(classes):
            raise TemDataError(f"classes {list(classes)}: a name is there twice; name each class once")
        return cls(labels, classes)

    def to_micrograph(self, row: Mapping[str, Any]) -> Micrograph:
        """The row as a Micrograph: the inverse of `schema.to_row`.

        The column `instances` and columns of your own may be there or not. `with_format("torch")` rounds
        `nm_per_px` and `thickness_nm` to 32 bits. Raises TemDataError where another column is missing,
        where a picture or a shape is damaged, and for an object of a label that is not among `classes`
        and not ignored.
        """
        if missing := [name for name in NEEDED if name not in row]:
            raise TemDataError(
                f"a row without {', '.join(missing)}: expected one of a tem_data dataset; keep its columns"
            )
        rest = {name: _plain(row[name]) for name in row if name in DESCRIBING}
        where = rest["micrograph_id"]
        image, mask = _pixels(row["image"], f"{where}: image"), _pixels(row["mask"], f"{where}: mask")
        if mask is None or (image is not None and image.shape != mask.shape):
            found = "none" if mask is None else f"one of {mask.shape}"
            raise TemDataError(f"{where}: expected a mask of the picture's size, found {found}; take the row out")
        objects = self._objects(row["objects"], mask.shape, where)
        png = {"bytes": cv2.imencode(".png", mask)[1].tobytes()}
        bare = from_row(rest | {"image": None, "mask": png, "objects": objects}, Classes(self.labels))
        return replace(bare, image=image)

    def to_detectron2(self, row: Mapping[str, Any], image_id: int | None = None) -> dict[str, Any]:
        """The row as detectron2's models take it and, at once, as a dict of its datasets.

        `image` is (3, H, W) uint8; `instances` holds `gt_boxes` (px), `gt_classes` and `gt_masks`
        (BitMasks). So `build_detection_train_loader(dataset, mapper=targets.to_detectron2, ...)` trains.
        `annotations` hold `bbox` (XYWH_ABS), `category_id`, `segmentation` (RLE) and `iscrowd`, which is
        1 for ignored objects; these are not among `instances`, as detectron2's own mapper leaves them out.
        With `image_id`, a row's place counted from 1, the dict has `image_id` and `file_name` as
        `write_coco` gives them, too, for `DatasetCatalog` and evaluators. detectron2's DatasetMapper
        reads that file: put the folder `images` of `write_coco` before it. Raises TemDataError as
        `to_torchvision` does, and where detectron2 is not installed.
        """
        from tem_data.detection.training import detectron2_dict

        micrograph = _with_picture(self.to_micrograph(row))
        annotations = [
            {
                "bbox": annotation["bbox"],
                "bbox_mode": 1,  # detectron2.structures.BoxMode.XYWH_ABS
                "category_id": annotation["category_id"] - 1,
                "segmentation": annotation["segmentation"],
                "iscrowd": annotation["iscrowd"],
            }
            for annotation in coco_truth([micrograph], self._categories())["annotations"]
        ]
        named = {} if image_id is None else {"image_id": image_id, "file_name": file_name(image_id)}
        return detectron2_dict(micrograph, self.classes) | {"annotations": annotations} | named

    def to_torchvision(
        self, row: Mapping[str, Any], image_id: int | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor | int]]:
        """The row as `torchvision.models.detection.maskrcnn_*` take it: an image (3, H, W) float32 in 0..1, a target.

        The target has `boxes` (N, 4) float32 (x1, y1, x2, y2 px), `labels` (N,) int64, `masks` (N, H, W)
        uint8, `area` (N,) float32 (px²), `iscrowd` (N,) int64, all 0, and `image_id` where it is given.
        Ignored objects are not among these; `ignored` (H, W) uint8 is 1 where they lie. Raises
        TemDataError as `to_micrograph` does, and where the row has no picture.
        """
        import torch

        micrograph = _with_picture(self.to_micrograph(row))
        taught = [defect for defect in micrograph.defects if not defect.ignore]
        masks = np.zeros((len(taught), *micrograph.shape), np.uint8)
        for mask, defect in zip(masks, taught, strict=True):
            paste(mask, defect, 1)
        corners = [(x, y, x + w, y + h) for x, y, w, h in (defect.bbox for defect in taught)]
        target: dict[str, torch.Tensor | int] = {
            "boxes": torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([self.classes.index(d.category) + 1 for d in taught], dtype=torch.int64),
            "masks": torch.from_numpy(masks),
            "area": torch.tensor([d.area for d in taught], dtype=torch.float32),
            "iscrowd": torch.zeros(len(taught), dtype=torch.int64),
            "ignored": torch.from_numpy(_ignored(micrograph)),
        }
        image = torch.from_numpy(micrograph.image).float().div(255).expand(3, *micrograph.shape)
        return image, target if image_id is None else target | {"image_id": image_id}

    def collate_fn(
        self, rows: Iterable[Mapping[str, Any]]
    ) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor | int]]]:
        """For a torch `DataLoader(dataset, collate_fn=targets.collate_fn)`: the images and targets of a batch.

        They are as `to_torchvision` gives them: `model(*batch)` trains. Images of a batch may differ in size. Raises
        TemDataError as `to_torchvision` does.
        """
        pairs = [self.to_torchvision(row) for row in rows]
        return [image for image, _ in pairs], [target for _, target in pairs]

    def _objects(self, objects: Mapping[str, Any], shape: tuple[int, int], where: str) -> dict[str, list]:
        """What `from_row` reads of `objects`, checked: anyone may have written what the Hub holds."""
        plain = {name: _plain(objects.get(name, ())) for name in ("category", "segmentation", "ignore")}
        if len(set(map(len, plain.values()))) != 1:
            raise TemDataError(f"{where}: expected category, segmentation and ignore of each object; take the row out")
        codes = []
        for number, (label, code, ignore) in enumerate(zip(*plain.values(), strict=True), 1):
            item = f"{where}: object {number}"
            if label is None or not 0 <= label < len(self.labels):
                raise TemDataError(f"{item}: category {label} is none of {list(self.labels)}; take the row out")
            if not ignore and self.labels[label] not in self.classes:
                raise TemDataError(
                    f"{item} is of class {self.labels[label]!r}, which is none of {list(self.classes)}, and not "
                    "ignored; add it to the classes that you gave"
                )
            try:
                codes.append(to_rle(code, *shape))
                if not rle_ops.area(codes[-1]):
                    raise TemDataError("expected a segmentation of at least one pixel")
            except TemDataError as error:
                raise TemDataError(f"{item}: {error}; take the row out") from error
        return plain | {"segmentation": codes}

    def _categories(self) -> Classes:
        """The classes and, after them, the labels that only ignored objects have."""
        return Classes(self.classes + tuple(label for label in self.labels if label not in self.classes))


def write_coco(
    dataset: Iterable[Mapping[str, Any]],
    path: str | os.PathLike,
    classes: Sequence[str] | None = None,
    images: str | os.PathLike | None = None,
) -> None:
    """A COCO ground truth of one split; image ids and category ids count from 1, in the order of rows and classes.

    Ignored objects have `iscrowd` 1. Pictures go to the new folder `images`, where one is given:
    `000001.png` is that of the first row. `classes` as for `Targets.of`. Raises TemDataError as `Targets`
    does, where `images` is there already, and for a row without a picture that should go there.
    """
    targets = Targets.of(dataset, classes)
    if images is not None and Path(images).exists():
        raise TemDataError(f"{images} is there already; expected a new folder: give another, or move it away")
    micrographs = []
    with nullcontext() if images is None else atomic_write(images) as draft:
        if draft:
            draft.mkdir()
        for number, row in enumerate(tqdm(dataset, "write COCO", unit="row"), 1):
            micrograph = targets.to_micrograph(row)
            if draft:
                cv2.imwrite(str(draft / file_name(number)), cast(np.ndarray, _with_picture(micrograph).image))
            micrographs.append(replace(micrograph, image=None))
    names = [file_name(number) for number in range(1, len(micrographs) + 1)]
    write_json(path, coco_truth(micrographs, targets._categories(), names))


def file_name(image_id: int) -> str:
    """The name of a row's picture, beside a COCO file; `image_id` is the row's place, counted from 1."""
    return f"{image_id:06d}.png"


def _with_picture(micrograph: Micrograph) -> Micrograph:
    if micrograph.image is None:
        raise TemDataError(
            f"{micrograph.micrograph_id}: a row of origin {micrograph.origin!r} without a picture; expected one with "
            "a picture: take another configuration, such as `experimental` or a synthetic one"
        )
    return micrograph


def _ignored(micrograph: Micrograph) -> np.ndarray:
    """Where ignored defects lie: (H, W) uint8, 0 or 1."""
    region = np.zeros(micrograph.shape, np.uint8)
    for defect in micrograph.defects:
        if defect.ignore:
            paste(region, defect, 1)
    return region


def _pixels(picture: Any, item: str) -> np.ndarray | None:
    """A new array (H, W) uint8 of a picture as `datasets` gives it: a dict of bytes, a PIL image, an array, a tensor.

    Raises TemDataError, which names `item`, where it is no 8-bit grey picture.
    """
    if picture is None:
        return None
    if isinstance(picture, Mapping):
        data = np.frombuffer(picture.get("bytes") or b"", np.uint8)
        array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    else:
        array = np.array(picture)
        array = array[0] if array.ndim == 3 and len(array) == 1 else array  # with_format("torch") puts channels first
    if array is None or array.ndim != 2 or array.dtype != np.uint8:
        found = "no picture" if array is None else f"{array.dtype} of shape {array.shape}"
        raise TemDataError(
            f"{item}: expected an 8-bit grey picture (height, width), found {found}; give one row, unchanged"
        )
    return array


def _plain(value: Any) -> Any:
    """Tensors, arrays and NumPy's scalars as lists and numbers; NaN, by which formats show a null, as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
