"""The tab that shows datasets."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from tem_data.app.session import picture_of, told
from tem_data.core.errors import TemDataError
from tem_data.core.files import read_table
from tem_data.core.micrograph import Micrograph, class_mask
from tem_data.core.places import RESULTS
from tem_data.core.schema import Classes, read_classes, read_dataset

WIDEST_PX, LEAST_PX = 1200, 512
MOST_DOUBTED = 300  # micrographs; larger datasets are of patches
LABELLED = ("exp", "builtin")  # origins whose labels can be doubted
HEADERS = ("No.", "name", "defects", "doubts", "split", "nm per px", "origin", "specimen", "labelled by")
ASIDE = ("file", "item", "reason", "action", "detail")


class Row(NamedTuple):
    """A micrograph of a dataset as the list shows it, and its place within its split."""

    split: str
    place: int
    cells: tuple[str, ...]


def browse_tab(datasets: Mapping[str, Path], project: Path) -> None:
    """`datasets` are folders by the name that the list shows; the `project` may hold what an import set aside."""
    if not datasets:
        gr.Markdown("No dataset was found. Start with `tem-data app --dataset FOLDER`, or in a project with data.")
        return
    with gr.Row():
        names = list(datasets)
        dataset = gr.Dropdown(names, value=names[0], label="Dataset", elem_id="dataset", interactive=True)
        opened = gr.Button("Open", variant="primary", scale=0, min_width=120, elem_id="open")
    with gr.Row():
        with gr.Column(scale=3, min_width=420):
            rows = gr.Dataframe(label="Micrographs", interactive=False, show_search="filter", elem_id="rows")
        with gr.Column(scale=2, min_width=420):
            picture = picture_of("Labels", "labelled")
            about = gr.HTML(elem_id="origin")
    aside = gr.Dataframe(
        label="What the import set aside or changed", interactive=False, wrap=True, visible=False, elem_id="aside"
    )
    opened.click(partial(_open, datasets, project), dataset, [rows, aside, picture, about])

    @told
    def pick(name: str, at: gr.SelectData) -> tuple[Any, str]:
        return look(datasets[name], int(at.row_value[0]) - 1)

    rows.select(pick, dataset, [picture, about], show_progress="minimal")


@told
def _open(datasets: Mapping[str, Path], project: Path, name: str) -> tuple[Any, ...]:
    """The list, what was set aside, and the first micrograph."""
    folder = datasets[name]
    rows, aside = overview(folder), _aside(folder, project)
    kept = [column for column in range(len(HEADERS)) if any(row.cells[column] for row in rows)]
    table = {
        "headers": [HEADERS[column] for column in kept],
        "data": [[row.cells[column] for column in kept] for row in rows],
    }
    held = {"headers": list(ASIDE), "data": aside}
    return table, gr.update(value=held, visible=bool(aside)), *look(folder, 0)


@lru_cache(maxsize=8)
def overview(folder: Path) -> list[Row]:
    """The rows of a dataset. Raises TemDataError for a folder that is none."""
    classes = read_classes(folder)
    rows: list[Row] = []
    first: list[Micrograph] = []
    for split in _splits(folder):
        for place, micrograph in enumerate(read_dataset(folder, split)):
            cells = str(len(rows) + 1), micrograph.micrograph_id, *_cells(micrograph, classes, split)
            rows.append(Row(split, place, cells))
            first += [micrograph] if len(rows) <= MOST_DOUBTED else []
    doubts = _doubts(first) if len(first) == len(rows) else {}
    return [row._replace(cells=(*row.cells[:3], doubts.get(row.cells[1], ""), *row.cells[3:])) for row in rows]


def _splits(folder: Path) -> list[str]:
    names = {path.name.rpartition("-")[0] for path in (folder / "data").glob("*-?????.parquet")}
    if not names:
        raise TemDataError(f"{folder}: expected a dataset folder, as `import` or `patch` writes it")
    return sorted(names)


def _cells(micrograph: Micrograph, classes: Classes, split: str) -> tuple[str, ...]:
    counts = Counter(defect.category for defect in micrograph.defects)
    return (
        ", ".join(f"{name}: {counts[name]}" for name in classes.labels if counts[name]) or "none",
        split,
        f"{micrograph.nm_per_px:.4g}" if micrograph.nm_per_px else "",
        micrograph.origin,
        micrograph.specimen,
        micrograph.labelled_by,
    )


def _doubts(micrographs: Sequence[Micrograph]) -> dict[str, str]:
    """In words, by name; of whole labelled micrographs alone."""
    from tem_data.importing.doubts import doubts_of

    names = {m.micrograph_id: m.micrograph_id for m in micrographs}
    are_patches = len(names) < len(micrographs)
    if are_patches or any(m.image is None or m.origin not in LABELLED for m in micrographs):
        return {}
    found = doubts_of(micrographs, [], names)
    return {name: "; ".join(doubt.reason for doubt in doubts) for name, doubts in found.items()}


def look(folder: Path, number: int) -> tuple[np.ndarray | None, str]:
    """The picture of row `number` with its labels, RGB uint8, and what is known of it as HTML."""
    rows = overview(folder)
    if not 0 <= number < len(rows):
        return None, ""
    row, classes = rows[number], read_classes(folder)
    micrograph = next(islice(read_dataset(folder, row.split), row.place, None))
    facts = dict(zip(HEADERS[1:], row.cells[1:], strict=True)) | {
        "scene": micrograph.scene,
        "thickness, nm": micrograph.thickness_nm,
        "seed": micrograph.seed,
        "guidance": micrograph.guidance_scale,
        "checkpoint": micrograph.checkpoint,
    }
    text = "; ".join(f"{name}: {value}" for name, value in facts.items() if value not in (None, ""))
    return _picture(micrograph, classes), f"<p>{html.escape(text)}</p>"


def _picture(micrograph: Micrograph, classes: Classes) -> np.ndarray:
    from tem_data.figures.overlays import drawn
    from tem_data.figures.pictures import colour_mask

    if micrograph.image is None:
        mask = class_mask(micrograph.defects, classes.names, micrograph.shape)
        picture = (255 * colour_mask(mask, classes.names)).astype(np.uint8)
    else:
        scale = min(1.0, WIDEST_PX / max(micrograph.shape))
        picture = drawn(micrograph.image, micrograph.defects, classes.names, scale)
    times = max(1, LEAST_PX // max(picture.shape))  # a patch would be too small to be looked at
    return picture.repeat(times, 0).repeat(times, 1)


def _aside(folder: Path, project: Path) -> list[list[str]]:
    """The rows of the quarantine beside a dataset, or of the project."""
    for path in (folder / "quarantine.csv", folder.parent / "quarantine.csv", project / RESULTS / "quarantine.csv"):
        if path.is_file():
            return [[row[column] for column in ASIDE] for row in read_table(path, ASIDE)]
    return []
