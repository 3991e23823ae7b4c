"""Commands on shapes and the masks drawn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tem_data.cli.app import MinAreaPx, OutFile, OutFolder, Seed, Split, TrainingSize, app
from tem_data.cli.options import options_of
from tem_data.masks.settings import MaskSettings, ShapeSettings


@app.command("fit-shapes")
@options_of(ShapeSettings)
def fit_shapes(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder of whole micrographs.")],
    out: OutFile,
    settings: ShapeSettings,
    splits: Annotated[Path | None, typer.Option(help="Table written by `split`: training micrographs only.")] = None,
    n: TrainingSize = "10",
    k: Split = 1,
) -> None:
    """Learn how large, how long, how turned, how many and how far apart the defects of each class are."""
    from tem_data.core.places import training_size
    from tem_data.masks.steps import fit_dataset
    from tem_data.splits.table import members, read_splits

    chosen = members(read_splits(splits), k, training_size(n))["train"] if splits else None
    fit_dataset(dataset, out, settings, chosen)


@app.command("sample-masks")
@options_of(MaskSettings)
def sample_masks(
    shapes: Annotated[Path, typer.Argument(help="File written by `fit-shapes`.")],
    out: OutFolder,
    settings: MaskSettings,
    patches: Annotated[
        Path | None,
        typer.Option(help="Dataset folder written by `patch`: draw for its training patches, of their size."),
    ] = None,
    min_area_px: MinAreaPx = 20,
    seed: Seed = 0,
) -> None:
    """Draw new multi-class masks from fitted shapes; by default like the measured ones."""
    from tem_data.masks.steps import sample_dataset

    sample_dataset(shapes, out, settings, min_area_px, seed, patches)
