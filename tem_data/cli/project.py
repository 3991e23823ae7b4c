"""Commands that begin a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tem_data.cli.app import app
from tem_data.core.errors import TemDataError


@app.command()
def settings() -> None:
    """Print all settings with their defaults and what they mean, as a file for --params or conf/defaults.yaml."""
    from tem_data.sections import defaults_yaml

    print(defaults_yaml(), end="")


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder of your micrographs and labels.", exists=True, file_okay=False)
    ],
    name: Annotated[str, typer.Option(help="Name of the profile.")] = "mine",
    project: Annotated[
        Path, typer.Option(help="A clone of the project, whose conf/ gets the profile.", file_okay=False, exists=True)
    ] = Path(),
) -> None:
    """Begin with your own micrographs: write a profile, its classes, and a calibration table to fill in.

    Looks what FOLDER holds: images, here or in images/, and labels beside them. Nothing that is there is replaced.
    """
    from tem_data.importing.starting import begin

    made = begin(folder, name, project)
    if not made:
        raise TemDataError(f"--name {name}: its profile, classes and calibration are there already; give another name")
    for path, what in made.items():
        print(f"{path}: {what}")
    print(f"Look through these files, then run `dvc exp run -S profile={name}`.")
