"""What the README of a dataset folder says to its reader: splits, columns, mask values, and code that decodes a row."""

from __future__ import annotations

from collections.abc import Sequence

# As `schema.features` has them, in its order.
COLUMNS = {
    "image": "the micrograph, 8-bit grey PNG; null for a mask without a picture",
    "mask": "the class of each pixel, 8-bit PNG, by the values below",
    "instances": "the object of each pixel, 16-bit PNG: 0 background, i for the object of `objects.id` i",
    "objects.id": "number of the object in this row, from 1",
    "objects.category": "class of the object, a `ClassLabel`: its number counts from 0, one below the mask value",
    "objects.bbox": "box around the object: x, y, width, height, px",
    "objects.area": "pixels of the object, px²",
    "objects.segmentation": "the whole object, also under another: COCO run-length code, `size` and `counts`",
    "objects.ignore": "true for an object that is ambiguous: neither right nor wrong to find, not one to learn",
    "micrograph_id": "name of the micrograph that the row is, or is cut from",
    "scene": "name of the place; micrographs of one scene overlap or lie close to each other",
    "specimen": "name of the specimen",
    "nm_per_px": "pixel size, nm; null where unknown",
    "thickness_nm": "thickness of the foil, nm; null where unknown",
    "origin": "`exp` experimental, `builtin` simulated, `sim` drawn mask, `gen` generated, `paint`, `copypaste`",
    "x": "left edge of the patch in its micrograph, px",
    "y": "upper edge of the patch in its micrograph, px",
    "symmetry": "which of the eight symmetries of the square was applied to the patch, 0 for none",
    "seed": "seed of a drawn mask or a generated picture, null for none",
    "checkpoint": "the model that generated the picture, empty for none",
    "guidance_scale": "how strongly the model was told the mask, null where there was no model",
    "num_inference_steps": "steps of the model, null where there was no model",
    "labelled_by": "who drew the objects: a person, or a model whose proposals one reviewed; empty where unknown",
}

WHOLE = """\
The split `micrographs` holds whole micrographs, before any split: `split="train"` is an error here.
`tem-data split` and `tem-data patch` make `train`, `validation` and `test` of them.
"""

# Five lines: tests/core/test_schema.py runs them.
CODE = """\
from datasets import load_dataset
from pycocotools.mask import decode
row = load_dataset("{folder}", split="{split}")[0]
pixels = {{{names}[value]: count for count, value in row["mask"].getcolors()}}  # of each class
objects = [decode(code) for code in row["objects"]["segmentation"]]  # (height, width), 1 on the object
"""


def folder_card(names: Sequence[str], ignored: Sequence[str], splits: Sequence[str], folder: str = "FOLDER") -> str:
    """Markdown: the splits, one line for each column, one for each mask value, and the code, `folder` as the path."""
    parts = ["## Splits", _splits(splits), "## Columns", _table(("column", "what it is"), COLUMNS)]
    parts += ["## Mask values", _table(("value", "class"), _values(names)), _ignored(ignored)]
    if splits:
        code = CODE.format(folder=folder, split=splits[0], names=["background", *names])
        parts += ["## Read a row", f"In place of `{folder}` put the path of this folder.", f"```python\n{code}```"]
    return "\n\n".join(part for part in parts if part)


def _splits(splits: Sequence[str]) -> str:
    if not splits:
        return "None: there are no rows."
    named = ", ".join(f"`{split}`" for split in splits)
    return f"{named}\n\n{WHOLE}".rstrip() if "micrographs" in splits else named


def _values(names: Sequence[str]) -> dict[str, str]:
    return {"0": "background"} | {str(number): f"`{name}`" for number, name in enumerate(names, 1)}


def _ignored(ignored: Sequence[str]) -> str:
    if not ignored:
        return ""
    named = ", ".join(f"`{name}`" for name in ignored)
    return f"Objects of {named} are in `objects`, with `ignore`; the mask has background in their place."


def _table(head: tuple[str, str], rows: dict[str, str]) -> str:
    lines = [" | ".join(head), "--- | ---"]
    lines += [f"{_code(one)} | {other.replace('|', chr(92) + '|')}" for one, other in rows.items()]
    return "\n".join(f"| {line} |" for line in lines)


def _code(text: str) -> str:
    return text if text.isdigit() else f"`{text}`"
