"""The one schema: a Hugging Face dataset folder that every stage reads and writes.

A folder holds `data/{split}-*.parquet` and a `README.md` whose `configs:` tell
`datasets.load_dataset(folder)` what the splits are. One row is one micrograph
or patch; `tem_data.core.card.COLUMNS` says what its columns are.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from tem_data.core.card import folder_card
from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write
from tem_data.core.micrograph import Defect, Micrograph, class_mask, defect_from_rle, instance_map
from tem_data.core.places import ROLES

SHARD_ROWS = 256


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset, in the order of their mask values, and the labels that are kept but ignored."""

    names: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        return self.names + self.ignored


def read_rows(folder: str | os.PathLike, split: str) -> list[Micrograph]:
    """The micrographs or patches of a split. Raises TemDataError where there are none."""
    if not count_rows(folder, split):
        raise TemDataError(f"{folder}: no rows of split {split!r}; give a dataset folder whose data/ has that split")
    return list(read_dataset(folder, split))


def features(classes: Classes):
    """The typed columns as `datasets.Features`."""
    from datasets import ClassLabel, Features, Image, List, Value

    return Features(
        {
            "image": Image(),
            "mask": Image(),
            "instances": Image(),
            "objects": {
                "id": List(Value("int32")),
                "category": List(ClassLabel(names=list(classes.labels))),
                "bbox": List(List(Value("int32"), length=4)),
                "area": List(Value("int32")),
                "segmentation": List({"size": List(Value("int32")), "counts": Value("string")}),
                "ignore": List(Value("bool")),
            },
            "micrograph_id": Value("string"),
            "scene": Value("string"),
            "specimen": Value("string"),
            "nm_per_px": Value("float64"),
            "thickness_nm": Value("float64"),
            "origin": Value("string"),
            "x": Value("int32"),
            "y": Value("int32"),
            "symmetry": Value("int8"),
            "seed": Value("int64"),
            "checkpoint": Value("string"),
            "guidance_scale": Value("float32"),
            "num_inference_steps": Value("int32"),
            "labelled_by": Value("string"),
        }
    )


def _png(array: np.ndarray) -> dict:
    return {"bytes": cv2.imencode(".png", array)[1].tobytes(), "path": None}


def to_row(micrograph: Micrograph, classes: Classes) -> dict:
    """One row, pictures as PNG bytes."""
    defects, shape = micrograph.defects, micrograph.shape
    for defect in defects:
        if defect.category not in classes.labels:
            raise TemDataError(
                f"{micrograph.micrograph_id}: class {defect.category!r} is not one of {list(classes.labels)}; "
                "add it to the classes of the import"
            )
    return {
        "image": None if micrograph.image is None else _png(micrograph.image),
        "mask": _png(class_mask(defects, classes.names, shape)),
        "instances": _png(instance_map(defects, shape)),
        "objects": {
            "id": list(range(1, len(defects) + 1)),
            "category": [classes.labels.index(d.category) for d in defects],
            "bbox": [list(d.bbox) for d in defects],
            "area": [d.area for d in defects],
            "segmentation": [d.rle(*shape) for d in defects],
            "ignore": [d.ignore for d in defects],
        },
        **{
            name: getattr(micrograph, name)
            for name in (
                "micrograph_id scene specimen nm_per_px thickness_nm origin x y symmetry seed checkpoint "
                "guidance_scale num_inference_steps labelled_by".split()
            )
        },
    }


def from_row(row: Mapping, classes: Classes) -> Micrograph:
    """The inverse of `to_row`. Raises TemDataError for a category that is none of the classes."""
    objects = row["objects"]
    for category in objects["category"]:
        # Python takes -1 for the last class
        if category is None or not 0 <= category < len(classes.labels):
            raise TemDataError(
                f"{row['micrograph_id']}: objects.category {category} is none of 0 to {len(classes.labels) - 1}, which "
                f"stand for {list(classes.labels)}; make the dataset again, with the classes of all its labels"
            )
    defects = [
        cast(Defect, defect_from_rle(classes.labels[category], code, ignore))
        for category, code, ignore in zip(objects["category"], objects["segmentation"], objects["ignore"], strict=True)
    ]
    mask = cast(np.ndarray, cv2.imdecode(np.frombuffer(row["mask"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED))
    image = row["image"] and cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), cv2.IMREAD_GRAYSCALE)
    rest = {name: value for name, value in row.items() if name not in ("image", "mask", "instances", "objects")}
    return Micrograph(image=image, defects=tuple(defects), shape=mask.shape, **rest)


def write_shard(path: str | os.PathLike, micrographs: Iterable[Micrograph], classes: Classes) -> None:
    """One Parquet file, whole or not at all."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    rows = [to_row(m, classes) for m in micrographs]
    with atomic_write(path) as draft:
        Dataset.from_list(rows, features=features(classes)).to_parquet(draft)


def write_dataset(
    folder: str | os.PathLike,
    splits: Mapping[str, Iterable[Micrograph]],
    classes: Classes,
    description: str = "",
    shard_rows: int = SHARD_ROWS,
) -> None:
    """A dataset folder, whole or not at all. Empty splits are left out."""
    with atomic_write(folder) as draft:
        (draft / "data").mkdir(parents=True)
        for split, micrographs in splits.items():
            rows = iter(tqdm(micrographs, f"write {split}", unit="row", leave=False))
            for number in itertools.count():
                shard = list(itertools.islice(rows, shard_rows))
                if not shard:
                    break
                write_shard(draft / "data" / f"{split}-{number:05d}.parquet", shard, classes)
        write_readme(draft, classes, description)


def write_micrographs(
    folder: str | os.PathLike, micrographs: Iterable[Micrograph], classes: Classes, description: str
) -> None:
    """A dataset folder of whole micrographs, before any split; one a shard, so that splits can share files."""
    write_dataset(folder, {"micrographs": micrographs}, classes, description, shard_rows=1)


def write_readme(folder: str | os.PathLike, classes: Classes, description: str = "") -> None:
    """The README whose `configs:` `load_dataset` and the Hub's viewer read; `tem_data:` holds the classes.

    Its text says what the splits, columns and mask values are, with code that decodes a row.
    """
    shards = Path(folder, "data").glob("*-?????.parquet")
    present = {shard.name[: -len("-00000.parquet")] for shard in shards}
    order = sorted(present, key=lambda split: (ROLES.index(split) if split in ROLES else len(ROLES), split))
    head = {
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in order],
            }
        ],
        "tem_data": {"classes": list(classes.names), "ignored": list(classes.ignored)},
    }
    body = "\n\n".join(part for part in (description, folder_card(classes.names, classes.ignored, order)) if part)
    text = f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{body}\n"
    Path(folder, "README.md").write_text(text, encoding="utf-8")


def read_classes(folder: str | os.PathLike) -> Classes:
    """The classes that a dataset folder was written with, from its README."""
    readme = Path(folder, "README.md")
    try:
        head = yaml.safe_load(re.split("^---$", readme.read_text(encoding="utf-8"), flags=re.MULTILINE)[1])["tem_data"]
        return Classes(tuple(head["classes"]), tuple(head["ignored"]))
    except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        raise TemDataError(f"{readme}: expected the README of a dataset folder written by tem_data") from error


def count_rows(folder: str | os.PathLike, split: str | None = None) -> int:
    """How many rows one split has, or all."""
    from pyarrow import parquet

    shards = Path(folder, "data").glob(f"{split or '*'}-*.parquet")
    return sum(parquet.read_metadata(shard).num_rows for shard in shards)


def common_classes(folders: Sequence[str | os.PathLike]) -> Classes:
    """The classes of the first dataset folder; the others have the same ones.

    `read_dataset` gives each row's classes by name, so their order may differ.
    Raises TemDataError for a folder with other classes, as where it ignores one of them.
    """
    first, *others = map(read_classes, folders)
    for folder, other in zip(folders[1:], others, strict=True):
        if set(other.names) != set(first.names):
            raise TemDataError(
                f"{folder}: classes {list(other.names)}; expected {list(first.names)}, as {folders[0]} has them: "
                "import or sample with the same classes"
            )
    return first


def read_dataset(folder: str | os.PathLike, split: str | None = None) -> Iterator[Micrograph]:
    """The rows of one split, or of all, in order; memory holds one row group at a time.

    Raises TemDataError where the folder or one of its shards is not whole,
    where a shard numbers its classes otherwise than the folder's README, and
    for a row with a category that is none of them.
    """
    from pyarrow import ArrowInvalid, parquet

    classes = read_classes(folder)
    for shard in sorted(Path(folder, "data").glob(f"{split or '*'}-*.parquet")):
        try:
            table = parquet.ParquetFile(shard)
        except ArrowInvalid as error:
            raise TemDataError(f"{shard}: not a whole Parquet file ({error}); make the dataset again") from error
        labels = _stored_labels(table.schema_arrow.metadata or {})
        if labels not in (None, classes.labels):
            raise TemDataError(
                f"{shard}: its classes are {list(labels)}, and {list(classes.labels)} in README.md there; make the "
                "dataset again"
            )
        rows = (row for batch in table.iter_batches(64) for row in batch.to_pylist())
        for number, row in enumerate(rows):
            try:
                yield from_row(row, classes)
            except TemDataError as error:
                raise TemDataError(f"{shard}: row {number}: {error}") from error


def _stored_labels(metadata: Mapping[bytes, bytes]) -> tuple[str, ...] | None:
    """The names behind the numbers of `objects.category`, which `datasets` keeps in a Parquet file."""
    try:
        columns = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(columns["objects"]["category"]["feature"]["names"])
    except (LookupError, TypeError, ValueError):
        return None
