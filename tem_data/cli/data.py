"""Commands on micrographs and patches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tem_data.cli.app import Dataset, OutFile, OutFolder, Patches, Seed, Split, TrainingSize, app
from tem_data.cli.options import options_of
from tem_data.importing.settings import ImportSettings, LabelSource
from tem_data.patches.settings import CopyPasteSettings, PatchSettings
from tem_data.simulation.settings import SimulationSettings
from tem_data.splits.schemes import SplitSettings


@app.command("import")
@options_of(ImportSettings, without=("source",))
def import_(
    images: Annotated[
        Path, typer.Argument(help="Folder of micrographs: TIFF, PNG, JPEG, DM3/DM4, EMD, SER, MRC or HSPY.")
    ],
    annotations: Annotated[Path, typer.Argument(help="File or folder of labels, of any of the kinds of --source.")],
    out: OutFolder,
    settings: ImportSettings,
    source: Annotated[
        LabelSource,
        typer.Option(
            help="What ANNOTATIONS is. auto: any of the others. fiji: Results tables. ellipses: one table with the "
            "columns of --columns. masks: pictures of classes. rois: ROIs of ImageJ."
        ),
    ] = "auto",
    quarantine: Annotated[Path, typer.Option(help="Table of everything that was found wrong.")] = Path(
        "quarantine.csv"
    ),
    overlaps: Annotated[Path, typer.Option(help="Table of the micrographs that overlap.")] = Path("overlaps.csv"),
    sheet: Annotated[
        Path, typer.Option(help="Page with all micrographs and their labels, the doubtful ones first.")
    ] = Path("import.html"),
) -> None:
    """Bring labelled micrographs of your own into a dataset folder.

    What is wrong with a label or an image never stops the import: it is set
    aside, counted on the screen, and listed in the quarantine table and on the
    page `--sheet`.
    """
    from tem_data.importing.steps import import_dataset

    import_dataset(settings, out, quarantine, overlaps, sheet)


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
