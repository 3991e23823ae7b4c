"""Commands on shapes and the masks drawn from them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tem_data.cli.app import MinAreaPx, OutFile, OutFolder, Seed, app, number_list, pairs
from tem_data.core.errors import TemDataError


class Overlap(StrEnum):
    measured = "measured"
    allowed = "allowed"
    forbidden = "forbidden"


@app.command("fit-shapes")
def fit_shapes(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder of whole micrographs.")],
    out: OutFile,
    splits: Annotated[Path | None, typer.Option(help="Table written by `split`: training micrographs only.")] = None,
    n: Annotated[int, typer.Option("--n", help="With --splits: training size.")] = 10,
    k: Annotated[int, typer.Option("--split", help="With --splits: which split.")] = 1,
    min_ellipse_iou: Annotated[
        float,
        typer.Option(help="A class whose outlines fit their ellipses less keeps its real outlines.", min=0, max=1),
    ] = 0.8,
) -> None:
    """Learn how large, how long, how turned, how many and how far apart the defects of each class are."""
    from tem_data.core.schema import read_classes, read_dataset
    from tem_data.masks import shapes
    from tem_data.splits.table import members, read_splits

    chosen = splits and set(members(read_splits(splits), k, n)["train"])
    micrographs = (m for m in read_dataset(dataset) if not chosen or m.micrograph_id in chosen)
    fitted = shapes.fit_shapes(micrographs, read_classes(dataset).names, min_ellipse_iou)
    shapes.save_shapes(fitted, out)
    for line in shapes.describe_shapes(fitted):
        print(line)
    print(f"{out}: {len(fitted.fields)} micrographs, lengths in {fitted.unit}")


@app.command("sample-masks")
def sample_masks(
    shapes: Annotated[Path, typer.Argument(help="File written by `fit-shapes`.")],
    out: OutFolder,
    count: Annotated[int, typer.Option(help="How many masks.")] = 1000,
    size: Annotated[int, typer.Option(help="Side of a mask, px.")] = 256,
    nm_per_px: Annotated[float | None, typer.Option(help="Pixel size; by default that of the micrographs.")] = None,
    density: Annotated[float, typer.Option(help="Times as many defects as measured.")] = 1.0,
    class_density: Annotated[
        str, typer.Option(help="Times as many of single classes, as '100=2,111=0.5'; changes their shares.")
    ] = "",
    class_size: Annotated[str, typer.Option(help="Times as large, of single classes, as 'bdot=0.8'.")] = "",
    angle: Annotated[
        str, typer.Option(help="measured, uniform, or one direction in degrees, counter-clockwise from +x.")
    ] = "measured",
    min_size: Annotated[
        float | None, typer.Option(help="Leave out defects with a shorter major axis, nm (px where SHAPES is in px).")
    ] = None,
    max_size: Annotated[float | None, typer.Option(help="Leave out defects with a longer one.")] = None,
    empty: Annotated[
        float | None, typer.Option(help="Share of masks without a defect; by default as it comes.")
    ] = None,
    overlap: Annotated[
        Overlap,
        typer.Option(help="measured: as rare as on the micrographs. allowed: at random. forbidden: as the paper."),
    ] = Overlap.measured,
    min_area_px: MinAreaPx = 20,
    seed: Seed = 0,
) -> None:
    """Draw new multi-class masks from fitted shapes; by default like the measured ones."""
    from tem_data.core.schema import Classes, write_dataset
    from tem_data.masks.sampler import MaskSampler
    from tem_data.masks.settings import MaskSettings
    from tem_data.masks.shapes import load_shapes
    from tem_data.patches.cutting import ignore_slivers

    settings = MaskSettings(
        size_px=size,
        nm_per_px=nm_per_px,
        density=density,
        class_density=_factors(class_density),
        class_size=_factors(class_size),
        angle=angle if angle in ("measured", "uniform") else number_list(angle, "--angle", -360, 360)[0],
        min_size=min_size,
        max_size=max_size,
        empty=empty,
        overlap=overlap.value,
    )
    sampler = MaskSampler(load_shapes(shapes), settings)
    masks = (ignore_slivers(mask, min_area_px) for mask in sampler.masks(seed, 0, count))
    write_dataset(out, {"train": masks}, Classes(sampler.classes), "Simulated masks (SIM).")


def _factors(text: str) -> dict[str, float]:
    """`a=2,b=0.5` as {a: 2.0, b: 0.5}."""
    try:
        return {name: float(factor) for name, factor in (pairs(text) or {}).items()}
    except ValueError as error:
        raise TemDataError(f"expected class=factor with commas between, found {text!r}") from error
