"""The command that compares masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_data.cli.app import MinAreaPx, OutFolder, Seed, app
from tem_data.errors import TemDataError

if TYPE_CHECKING:
    from tem_data.micrograph import Micrograph


@app.command("compare-masks")
def compare_masks(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="Experimental masks: a dataset folder, or FOLDER:SPLIT or FOLDER:SPLIT+SPLIT."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Masks to compare with them, given the same way.")],
    out: OutFolder,
    fitted_on: Annotated[
        str | None,
        typer.Option(
            help="The experimental masks that B was fitted on, given the same way, of other scenes than A. The "
            "reference is then random parts of these and A as large as both are, not halves of A."
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Cut whole micrographs into tiles of this side first, px.")] = None,
    min_area_px: MinAreaPx = 20,
    repeats: Annotated[int, typer.Option(help="Random divisions of experimental masks by scene.", min=1)] = 200,
    classifier_repeats: Annotated[int, typer.Option(help="For how many of them the classifier runs.", min=0)] = 100,
    seed: Seed = 0,
) -> None:
    """Tell whether masks differ from experimental ones more than these do among themselves.

    Distances of sizes, shapes, counts and spacing by class, and a classifier
    that tries to tell both apart. Writes masks.json, masks.csv and histograms.
    Give tiles, or whole micrographs and --size: training patches lie on one
    another and are turned, which hides the angles.
    """
    from tem_data import mask_comparison
    from tem_data.figures import mask_histograms
    from tem_data.files import whole, write_json, write_table

    sets = {"A": a, "B": b} | ({"--fitted-on": fitted_on} if fitted_on else {})
    places = {name: _place(text) for name, text in sets.items()}
    classes = _classes([folder for folder, _ in places.values()])
    features = {
        name: mask_comparison.measure_masks(_patches(*place, size, min_area_px), classes, f"{name} ({sets[name]})")
        for name, place in places.items()
    }
    compared = mask_comparison.compare_masks(
        features["A"], features["B"], features.get("--fitted-on"), repeats, classifier_repeats, seed
    )
    with whole(out) as draft:
        draft.mkdir()
        write_json(draft / "masks.json", compared.summary)
        write_table(draft / "masks.csv", compared.rows, mask_comparison.COLUMNS)
        mask_histograms(draft / "histograms", compared, (a, b))
    _print(mask_comparison.ratio_table(compared.summary), mask_comparison.RATIOS_TEXT)
    print(mask_comparison.describe(compared.summary))


def _place(text: str) -> tuple[Path, list[str | None]]:
    """A folder with all its splits, or what stands before the last colon with the splits named after it."""
    folder, colon, splits = text.rpartition(":")
    return (Path(folder), list(splits.split("+"))) if colon and not Path(text).is_dir() else (Path(text), [None])


def _patches(folder: Path, splits: list[str | None], size: int | None, min_area_px: int) -> Iterator[Micrograph]:
    from tem_data.patches import tiles
    from tem_data.schema import count_rows, read_dataset

    for split in splits:
        if not count_rows(folder, split):
            raise TemDataError(f"{folder}: no rows of split {split!r}; give one that data/ there has")
    rows = (row for split in splits for row in read_dataset(folder, split))
    return rows if size is None else tiles(rows, size, min_area_px)


def _classes(folders: list[Path]) -> tuple[str, ...]:
    """Those of the first folder; the others must have the same ones, in any order."""
    from tem_data.schema import read_classes

    names = [read_classes(folder).names for folder in folders]
    for folder, other in zip(folders, names):
        if set(other) != set(names[0]):
            raise TemDataError(
                f"{folder}: classes {list(other)}; expected {list(names[0])}, as {folders[0]} has them: import or "
                "sample with the same classes"
            )
    return names[0]


def _print(rows: list[dict[str, str]], explained: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=explained, caption_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if name == "quantity" else "right")
    for row in rows:
        table.add_row(*row.values())
    Console(width=120).print(table)
