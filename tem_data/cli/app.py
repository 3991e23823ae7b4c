"""The typer application and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tem_data.errors import TemDataError

app = typer.Typer(
    help="Few labelled electron micrographs in, more labelled micrographs out. "
    "Steps: import or simulate, split, patch, fit-shapes, sample-masks, train-ldm, generate, train-detector, predict, "
    "score. `dvc repro` runs them all.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def new_folder(path: Path) -> Path:
    """Refuses a folder that holds anything: results are never laid over what a user may still want."""
    if path.is_dir() and any(path.iterdir()):
        raise TemDataError(f"--out {path}: the folder is there already; remove it, or give another name")
    return path


Dataset = Annotated[Path, typer.Argument(help="Dataset folder, as `import`, `simulate` or `patch` writes it.")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", help="A new folder for the result.", callback=new_folder)]
OutFile = Annotated[
    Path, typer.Option("--out", "-o", help="File for the result; one that is there is replaced.", dir_okay=False)
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
Params = Annotated[
    Path, typer.Option(help="File of settings, in the sections of params.yaml.", exists=True, dir_okay=False)
]
