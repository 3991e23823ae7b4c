"""The command that finds and measures the defects on new micrographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tem_data.cli.app import app
from tem_data.cli.options import ParamsOption, SetOption, names, settings_file
from tem_data.core.errors import TemDataError

if TYPE_CHECKING:
    Paths = Sequence[Path]
else:
    Paths = list[Path]  # what typer makes an argument of several paths of


@app.command()
def predict(
    detector: Annotated[str, typer.Argument(help="Folder written by `train-detector`, or org/name@version.")],
    paths: Annotated[Paths, typer.Argument(help="Micrographs of any format that `import` reads, and folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the result.", file_okay=False)],
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence of a defect; else the detector's own.", min=0, max=1)
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Table with file_name, nm_per_px and, for hardening, thickness_nm; else the files' own scale."
        ),
    ] = None,
    nm_per_px: Annotated[float | None, typer.Option(help="Pixel size of all micrographs, nm.")] = None,
    thickness_nm: Annotated[float | None, typer.Option(help="Thickness of the foil on all micrographs, nm.")] = None,
    save: Annotated[
        str, typer.Option(help="Some of rois, labelme, coco, geojson, overlays; tables and report are always written.")
    ] = "coco,rois,overlays",
    frame: Annotated[int | None, typer.Option(help="Which frame of stacks, from 1; else each of them.", min=1)] = None,
    data_bar: Annotated[
        str, typer.Option(help="Rows at the bottom that are a data bar, which is not searched; auto: found in each.")
    ] = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders within folders, too.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; else a GPU where there is one.")] = None,
    params: ParamsOption = None,
    changes: SetOption = (),
) -> None:
    """Find and measure the defects on whole micrographs.

    Writes defects.csv, micrographs.csv, summary.json, report.html and what
    --save names. What cannot be read is listed in quarantine.csv. Sizes follow
    section materials: of --params, else as the detector was measured with.
    Resume an interrupted run by giving the same command again.
    """
    from tem_data.analysis.settings import AnalysisSettings

    settings = AnalysisSettings(
        *(threshold, frame, _rows(data_bar), calibration, nm_per_px, thickness_nm, names(save), recursive)
    )
    if missing := [path for path in paths if not path.exists()]:
        raise TemDataError(f"{missing[0]}: no such file or folder; give micrographs, or folders of them")

    from tem_data.analysis.steps import analyse
    from tem_data.detection import Detector
    from tem_data.materials.hardening import Materials

    loaded = Detector.from_pretrained(detector, device)
    own = {"materials": dict(loaded.scores.materials)} if loaded.scores and loaded.scores.materials else None
    materials = settings_file(params, changes, own).read(Materials)
    _print(out, analyse(loaded, paths, out, settings, materials, _called(detector)))


def _called(detector: str) -> str:
    """What results call a detector: its name, or where its folder lies, but not on which machine."""
    path = Path(detector)
    return "/".join(path.parts[-2:]) if path.is_absolute() else detector


def _rows(text: str) -> int | Literal["auto"]:
    if text == "auto" or text.isdecimal():
        return "auto" if text == "auto" else int(text)
    raise TemDataError(f"--data-bar {text}: expected a number of rows, or auto")


def _print(out: Path, summary: Mapping[str, Any]) -> None:
    counts = {name: row["count"] for name, row in summary["classes"].items()}
    total = counts.pop("all")
    print(
        f"{total} defects on {summary['micrographs']} micrographs: {', '.join(f'{k} {n}' for k, n in counts.items())}"
    )
    if summary["set_aside"]:
        print(f"{summary['set_aside']} files set aside; {out / 'quarantine.csv'} says why")
    print(f"{out / 'report.html'}: the micrographs with their defects, the doubtful ones first")
