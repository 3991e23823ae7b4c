"""Commands on micrographs and patches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tem_data.cli.app import Dataset, OutFile, OutFolder, Patches, Seed, Split, TrainingSize, app
from tem_data.cli.options import options_of
from tem_data.importing.settings import ImportSettings
from tem_data.patches.settings import CopyPasteSettings, PatchSettings
from tem_data.simulation.settings import SimulationSettings
from tem_data.splits.schemes import SplitSettings


@app.command("import")
@options_of(ImportSettings, without=("source",))
def import_(
    images: Annotated[Path, typer.Argument(help="Folder of micrographs: PNG, JPEG or TIFF.")],
    annotations: Annotated[
        Path, typer.Argument(help="COCO file, table of ellipses, or folder of Fiji tables or of mask images.")
    ],
    out: OutFolder,
    settings: ImportSettings,
    source: Annotated[
        Literal["coco", "ellipses", "fiji", "masks"],
        typer.Option(
            help="What ANNOTATIONS is. fiji: files NAME_results.csv and NAME_log.txt, measured in px (in Fiji, before "
            "measuring: Analyze > Set Scale > Click to Remove Scale)."
        ),
    ] = "coco",
    quarantine: Annotated[Path, typer.Option(help="Table of everything that was found wrong.")] = Path(
        "quarantine.csv"
    ),
    overlaps: Annotated[Path, typer.Option(help="Table of the micrographs that overlap.")] = Path("overlaps.csv"),
) -> None:
    """Bring labelled micrographs of your own into a dataset folder.

    What is wrong with a label or an image never stops the import: it is set
    aside, counted on the screen, and listed in the quarantine table.
    """
    from tem_data.importing.steps import import_dataset

    import_dataset(settings, out, quarantine, overlaps)


@app.command()
@options_of(SimulationSettings)
def simulate(out: OutFolder, settings: SimulationSettings) -> None:
    """Make the built-in, simulated micrographs, with exact labels."""
    from tem_data.simulation.steps import simulate_dataset

    simulate_dataset(out, settings)


@app.command()
@options_of(SplitSettings)
def split(dataset: Dataset, out: OutFile, settings: SplitSettings) -> None:
    """Deal micrographs to training, validation and test by whole scenes; writes a table."""
    from tem_data.splits.steps import split_dataset

    split_dataset(dataset, out, settings)


@app.command()
@options_of(PatchSettings)
def patch(
    dataset: Dataset,
    splits: Annotated[Path, typer.Argument(help="Table written by `split`.")],
    out: OutFolder,
    settings: PatchSettings,
    n: TrainingSize = "10",
    k: Split = 1,
    seed: Seed = 0,
) -> None:
    """Cut patches: windows in eight symmetries for training, tiles for validation and test."""
    from tem_data.core.places import training_size
    from tem_data.patches.steps import cut_dataset

    cut_dataset(dataset, splits, out, settings, k, training_size(n), seed)


@app.command("copy-paste")
@options_of(CopyPasteSettings)
def copy_paste(patches: Patches, out: OutFolder, settings: CopyPasteSettings, seed: Seed = 0) -> None:
    """Paste experimental defects onto experimental patches: the control that generated pairs must beat."""
    from tem_data.patches.steps import copy_paste_dataset

    copy_paste_dataset(patches, out, settings, seed)
