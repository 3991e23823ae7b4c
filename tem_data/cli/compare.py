"""Commands that compare masks and pictures with experimental ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_data.cli.app import Judges, MinAreaPx, OutFolder, Seed, app
from tem_data.cli.options import ParamsOption, SetOption, settings_file
from tem_data.core.errors import TemDataError
from tem_data.scoring.evaluation import EvaluationSettings

if TYPE_CHECKING:
    from tem_data.core.micrograph import Micrograph


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
    from tem_data.core.schema import common_classes
    from tem_data.mask_comparison.comparison import compare_masks as compared_masks
    from tem_data.mask_comparison.features import measure_masks
    from tem_data.mask_comparison.steps import write_comparison
    from tem_data.mask_comparison.text import RATIOS_TEXT, ratio_table

    sets = {"A": a, "B": b} | ({"--fitted-on": fitted_on} if fitted_on else {})
    places = {name: _place(text) for name, text in sets.items()}
    classes = common_classes([folder for folder, _ in places.values()]).names
    features = {
        name: measure_masks(_patches(*place, size, min_area_px), classes, f"{name} ({sets[name]})")
        for name, place in places.items()
    }
    compared = compared_masks(
        features["A"], features["B"], features.get("--fitted-on"), repeats, classifier_repeats, seed
    )
    write_comparison(out, compared, (a, b))
    _print(ratio_table(compared.summary), RATIOS_TEXT)


@app.command()
def fidelity(
    patches: Annotated[Path, typer.Argument(help="Dataset folder written by `patch`, on which the LDM was trained.")],
    pairs: Annotated[Path, typer.Argument(help="Dataset folder written by `generate`.")],
    ldm: Annotated[str, typer.Option(help="Folder or Hub name of the latent diffusion model that made PAIRS.")],
    out: OutFolder,
    judges: Judges = None,
    params: ParamsOption = None,
    changes: SetOption = (),
    seed: Seed = 0,
) -> None:
    """Compare generated pairs with real ones: do they show their masks, in real texture, and without copying?

    Judges of the masks are detectors, each trained on all training micrographs
    but those of a fold (sections detector and judges), and scored by section
    evaluate. Writes report.html, fidelity.json, adherence.csv and figures; resume
    an interrupted run by giving the same command again.
    """
    from tem_data.core.schema import common_classes
    from tem_data.detection.settings import DetectorSettings
    from tem_data.diffusion.steps import load_pipeline
    from tem_data.fidelity.steps import compare_pairs
    from tem_data.fidelity.text import describe
    from tem_data.judges.settings import JudgeSettings
    from tem_data.judges.steps import judges_for
    from tem_data.training.device import own_device

    file = settings_file(params, changes)
    common_classes([patches, pairs])
    settings = file.read(JudgeSettings), file.read(DetectorSettings)
    pipeline, _ = load_pipeline(ldm)
    autoencoder = pipeline.to(own_device()).autoencoder
    with judges_for(patches, judges, out, *settings, seed) as panel:
        title = f"Generated pictures of {pairs}"
        summary = compare_pairs(patches, pairs, autoencoder, panel, out, file.read(EvaluationSettings), seed, title)
    print(describe(summary))


def _place(text: str) -> tuple[Path, list[str | None]]:
    """A folder with all its splits, or what stands before the last colon with the splits named after it."""
    folder, colon, splits = text.rpartition(":")
    return (Path(folder), list(splits.split("+"))) if colon and not Path(text).is_dir() else (Path(text), [None])


def _patches(
    folder: Path, splits: list[str | None], size: int | None = None, min_area_px: int = 0
) -> Iterator[Micrograph]:
    from tem_data.core.schema import count_rows, read_dataset
    from tem_data.patches.cutting import tiles

    for split in splits:
        if not count_rows(folder, split):
            raise TemDataError(f"{folder}: no rows of split {split!r}; give one that data/ there has")
    rows = (row for split in splits for row in read_dataset(folder, split))
    return rows if size is None else tiles(rows, size, min_area_px)


def _print(rows: list[dict[str, str]], explained: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=explained, caption_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if name == "quantity" else "right")
    for row in rows:
        table.add_row(*row.values())
    Console(width=120).print(table)
