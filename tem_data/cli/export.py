"""The command that gives labels to other programs."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tem_data.cli.app import Dataset, OutFolder, app


@app.command()
def export(
    dataset: Dataset,
    out: OutFolder,
    format: Annotated[
        Literal["coco", "labelme", "rois"],
        typer.Option(help="Labels as one COCO file, or for each image a LabelMe file or a RoiSet of ImageJ."),
    ] = "coco",
    split: Annotated[str | None, typer.Option(help="One split of the dataset, as `train`; without it all.")] = None,
) -> None:
    """Write images and labels for other programs, to the pixel; `import` brings them back.

    `import images LABELS --calibration calibration.csv` restores what those files do not hold.
    """
    from tem_data.formats.exporting import export_dataset

    export_dataset(dataset, out, format, split)
