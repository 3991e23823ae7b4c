"""The command that measures defects."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tem_data.cli.app import OutFolder, app
from tem_data.cli.options import ParamsOption, SetOption, class_names, names, options_of, settings_file
from tem_data.cli.score import Classes, Threshold
from tem_data.scoring.matching import Rule


@app.command()
@options_of(Rule, without=("ignore_ambiguous",))
def measure(
    truth: Annotated[
        Path,
        typer.Argument(
            help="Whole micrographs: a COCO file or dataset folder with your labels, a COCO file that just lists the "
            "images, or the found.json of `predict`."
        ),
    ],
    out: OutFolder,
    settings: Rule,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="COCO results, with masks, to measure and compare with TRUTH: a list with its ids, or the found.json "
            "of `predict`, by file names."
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Table with file_name, nm_per_px and, for hardening, thickness_nm.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the image files, which state pixel sizes that the table has not.")
    ] = None,
    threshold: Threshold = None,
    classes: Classes = "",
    ignore: Annotated[str, typer.Option(help="Categories that are not measured.")] = "ambiguous",
    frame: Annotated[
        bool,
        typer.Option(help="Count by an unbiased frame: ½ for a defect on an edge, ¼ on a corner. Else every one is 1."),
    ] = False,
    params: ParamsOption = None,
    changes: SetOption = (),
) -> None:
    """Measure sizes, shapes, densities and hardening, and how far predictions are from labels.

    Writes defects.csv, micrographs.csv and summary.json. Sizes and shapes are
    those of defects that no edge cuts; errors are (predicted - true) / true. The
    rules of size and α by class are section materials; by default FeCrAl's
    published ones.
    """
    from tem_data.core.files import atomic_write, write_json, write_table
    from tem_data.materials import DEFECT_COLUMNS, MICROGRAPH_COLUMNS, Materials
    from tem_data.materials.coco import measure_coco

    materials = settings_file(params, changes).read(Materials)
    found = measure_coco(
        truth,
        predictions,
        calibration,
        materials,
        settings,
        threshold,
        names(ignore),
        frame,
        class_names(classes),
        images,
    )
    with atomic_write(out) as draft:
        write_table(draft / "defects.csv", found.measurement.defects, DEFECT_COLUMNS)
        write_table(draft / "micrographs.csv", found.measurement.micrographs, MICROGRAPH_COLUMNS)
        write_json(draft / "summary.json", found.measurement.summary)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if found.sides["predicted"]:
        print(f"predictions of at least {found.measurement.summary['threshold']:g}")
    print_summary(found.measurement.summary, [side for side, present in found.sides.items() if present])


def print_summary(summary: dict[str, Any], sides: list[str]) -> None:
    """The quantities of all micrographs together, the errors where both sides are there, and what was left out."""
    from rich.console import Console

    console = Console(width=120)
    console.print(_quantities(summary, sides))
    if len(sides) == 2:
        console.print(_errors(summary))
    print("sizes by the rule of: " + ", ".join(f"{name} {rule}" for name, rule in summary["size_rule"].items()))
    for key, lost in (
        ("without_nm_per_px", "micrographs without nm_per_px, left out of all but counts and circularity"),
        ("without_thickness_nm", "micrographs without thickness_nm, left out of volume density and hardening"),
        ("without_barrier_strength", "classes without materials.barrier_strength, left out of hardening"),
    ):
        if names := summary[key]:
            print(f"{lost}: {len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})")


def _quantities(summary: dict[str, Any], sides: list[str]) -> Any:
    from rich.table import Table

    table = Table(title=f"{summary['micrographs']} micrographs together")
    head = ("number", "of which\ncut", "size, nm", "Heywood\ncircularity", "density,\n1e-4 nm⁻²", "density,\n1e21 m⁻³")
    for column in ("class", "", *head, "hardening, MPa\nlinear", "hardening, MPa\nquadrature"):
        table.add_column(column, justify="right")
    for name, values in summary["classes"].items():
        for side in sides:
            of = {key.removeprefix(f"{side}_"): value for key, value in values["pooled"].items()}
            table.add_row(
                name,
                side,
                _text(of["count"], "g"),
                str(of["cut"]),
                _spread(of["mean_size_nm"], of["std_size_nm"]),
                _text(of["mean_circularity"], ".3f"),
                _text(of["areal_density_1e-4_per_nm2"], ".3g"),
                _text(of["volume_density_1e21_per_m3"], ".3g"),
                _text(of["hardening_linear_mpa"], ".1f"),
                _text(of["hardening_quadrature_mpa"], ".1f"),
            )
    return table


ERRORS = {
    "size": "mean_size_nm",
    "size,\nfound only": "found_mean_size_nm",
    "circularity": "mean_circularity",
    "circularity,\nfound only": "found_mean_circularity",
    "areal density": "areal_density_1e-4_per_nm2",
    "hardening\nlinear": "hardening_linear_mpa",
    "hardening\nquadrature": "hardening_quadrature_mpa",
}


def _errors(summary: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="Errors, %: mean magnitude ± its deviation over micrographs; in brackets of all together")
    for column in ("class", *ERRORS):
        table.add_column(column, justify="right")
    for name, values in summary["classes"].items():
        table.add_row(name, *(_error(values, quantity) for quantity in ERRORS.values()))
    return table


def _error(values: dict[str, Any], quantity: str) -> str:
    over, pooled = values["per_micrograph"][quantity]["percent_error"], values["pooled"][f"{quantity}_error_percent"]
    if pooled is None:
        return "–"
    return f"{_text(over['mean_absolute'], '.1f')} ± {_text(over['std_absolute'], '.1f')} ({pooled:+.1f})"


def _spread(mean: float | None, deviation: float | None) -> str:
    return _text(mean, ".1f") + ("" if deviation is None else f" ± {deviation:.1f}")


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
