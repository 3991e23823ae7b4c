"""The typer application and the arguments that several commands share."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from tem_data.core.errors import TemDataError
from tem_data.core.files import locked

STEPS = (
    *("init", "import", "simulate", "split", "patch", "fit-shapes", "sample-masks", "compare-masks", "train-ldm"),
    *("generate", "paint", "fidelity", "copy-paste", "train-detector"),
    *("predict", "suggest", "score", "agree", "measure", "export"),
    *("publish", "pull", "app", "settings"),
)
app = typer.Typer(
    help="Few labelled electron micrographs in, more labelled micrographs out. The commands are the steps, in their "
    "order; `dvc repro` runs them all.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"tem-data {version('tem_data')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def new_folder(ctx: typer.Context, path: Path) -> Path:
    """Refuses a folder that holds anything: results are never laid over what a user may still want.

    It stays locked until the command has ended, so that it is as empty then.
    """
    if ctx.resilient_parsing:  # the shell asks what could come next
        return path
    ctx.find_root().with_resource(locked(path))
    if path.is_dir() and any(path.iterdir()):
        raise TemDataError(f"--out {path}: the folder is there already; remove it, or give another name")
    return path


Dataset = Annotated[Path, typer.Argument(help="Dataset folder, as `import`, `simulate` or `patch` writes it.")]
Patches = Annotated[Path, typer.Argument(help="Dataset folder written by `patch`.")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", help="A new folder for the result.", callback=new_folder)]
OutFile = Annotated[
    Path, typer.Option("--out", "-o", help="File for the result; one that is there is replaced.", dir_okay=False)
]
MinAreaPx = Annotated[int, typer.Option(help="Ignore what an edge leaves of a defect below this area, px².", min=0)]
Judges = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the judges of these PATCHES; where there is none they are trained and kept there. "
        "Without it they are trained for this command alone."
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.", min=0)]
Split = Annotated[int, typer.Option("--split", help="Which split of the table.", min=1)]
TrainingSize = Annotated[str, typer.Option("--n", help="Training and validation micrographs together, or `all`.")]
