"""The typer application and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tem_data.core.errors import TemDataError
from tem_data.core.files import locked

STEPS = (
    *("import", "simulate", "split", "patch", "fit-shapes", "sample-masks", "compare-masks", "train-ldm", "generate"),
    *("fidelity", "filter-pairs", "copy-paste", "train-detector", "predict", "score", "agree", "measure"),
    *("publish", "pull"),
)
app = typer.Typer(
    help="Few labelled electron micrographs in, more labelled micrographs out. The commands are the steps, in their "
    "order; `dvc repro` runs them all.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


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


def class_names(text: str) -> dict[str, list[str]]:
    """`a=b+c,d` as {a: [b, c], d: [d]}."""
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name.strip(): (aliases or name).strip().split("+") for name, _, aliases in pairs}


def number_list(text: str, option: str, low: float, high: float) -> list[float]:
    """`10,50` as [10.0, 50.0]. Raises TemDataError for what is no number from `low` to `high`."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise TemDataError(f"{option}: expected numbers with commas between, found {text!r}") from error
    if not all(low <= number <= high for number in numbers):
        raise TemDataError(f"{option}: expected numbers from {low:g} to {high:g}, found {text!r}")
    return numbers


def pairs(text: str) -> dict[str, str] | None:
    """`a=b,c=d` as {a: b, c: d}; None for nothing."""
    try:
        return dict(part.split("=") for part in text.split(",") if part) or None
    except ValueError as error:
        raise TemDataError(f"expected name=value with commas between, found {text!r}") from error


def read_params(path: Path, *sections: str) -> dict[str, Any]:
    import yaml

    try:
        params = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise TemDataError(f"{path}: no such file; run it in a clone of the project, or name one") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TemDataError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    for section in sections:
        if not isinstance(params, dict) or not isinstance(params.get(section), dict):
            raise TemDataError(f"{path}: expected a section {section!r} of settings; add it as params.yaml has it")
    return params


Dataset = Annotated[Path, typer.Argument(help="Dataset folder, as `import`, `simulate` or `patch` writes it.")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", help="A new folder for the result.", callback=new_folder)]
OutFile = Annotated[
    Path, typer.Option("--out", "-o", help="File for the result; one that is there is replaced.", dir_okay=False)
]
MinAreaPx = Annotated[int, typer.Option(help="Ignore what an edge leaves of a defect below this area, px².")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
Params = Annotated[
    Path, typer.Option(help="File of settings, in the sections of params.yaml.", exists=True, dir_okay=False)
]
