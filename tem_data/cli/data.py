"""Commands on micrographs and masks."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tem_data.cli.app import Dataset, MinAreaPx, OutFile, OutFolder, Seed, app, class_names, number_list, pairs
from tem_data.core.errors import TemDataError


class Source(StrEnum):
    coco = "coco"
    ellipses = "ellipses"
    fiji = "fiji"
    masks = "masks"


class Scheme(StrEnum):
    random = "random"
    table = "table"
    k_fold = "k_fold"
    leave_out_percent = "leave_out_percent"
    leave_one_group_out = "leave_one_group_out"


@app.command("import")
def import_(
    images: Annotated[Path, typer.Argument(help="Folder of micrographs: PNG, JPEG or TIFF.")],
    annotations: Annotated[
        Path, typer.Argument(help="COCO file, table of ellipses, or folder of Fiji tables or of mask images.")
    ],
    out: OutFolder,
    source: Annotated[
        Source,
        typer.Option(
            help="What ANNOTATIONS is. fiji: files NAME_results.csv and NAME_log.txt, measured in px "
            "(in Fiji, before measuring: Analyze > Set Scale > Click to Remove Scale)."
        ),
    ] = Source.coco,
    classes: Annotated[
        str,
        typer.Option(help="Classes, each with its names in the files, as '100=100_1+100_2,111,bdot=bd'."),
    ] = "100=100+100_1+100_2,111,bdot=bdot+bd",
    ignored: Annotated[
        str, typer.Option(help="Labels that are kept but never scored, written the same way.")
    ] = "ambiguous",
    calibration: Annotated[
        Path | None, typer.Option(help="Table with file_name, nm_per_px and, if known, thickness_nm, specimen.")
    ] = None,
    max_side: Annotated[int | None, typer.Option(help="Halve larger micrographs until no side is longer, px.")] = None,
    class_numbers: Annotated[
        str, typer.Option(help="With --source fiji: the class of each number in the logs, as '0=111,1=bdot,2=100'.")
    ] = "",
    mask_values: Annotated[
        str, typer.Option(help="With --source masks: the class of each grey level, as '85=100,170=111,255=bdot'.")
    ] = "",
    columns: Annotated[
        str, typer.Option(help="With --source ellipses: columns of other names, as 'x=X,y=Y,file_name=image'.")
    ] = "",
    instances: Annotated[
        Path | None, typer.Option(help="With --source masks: folder of 16-bit instance maps, one number a defect.")
    ] = None,
    min_overlap: Annotated[
        float, typer.Option(help="Micrographs that overlap by this part of their area are one scene.")
    ] = 0.08,
    quarantine: Annotated[Path, typer.Option(help="Table of everything that was found wrong.")] = Path(
        "quarantine.csv"
    ),
    overlaps: Annotated[Path, typer.Option(help="Table of the micrographs that overlap.")] = Path("overlaps.csv"),
) -> None:
    """Bring labelled micrographs of your own into a dataset folder.

    What is wrong with a label or an image never stops the import: it is set
    aside, counted on the screen, and listed in the quarantine table.
    """
    from tem_data.core.files import write_table
    from tem_data.core.micrograph import count_by_class
    from tem_data.core.schema import write_micrographs
    from tem_data.importing.micrographs import classes_of, import_micrographs
    from tem_data.splits.scenes import SharedField, with_scenes

    settings = {
        "source": source.value,
        "images": str(images),
        "annotations": str(annotations),
        "calibration": calibration and str(calibration),
        "max_side": max_side,
        "classes": class_names(classes),
        "ignored": class_names(ignored),
        "columns": pairs(columns),
        "class_numbers": _numbered(class_numbers),
        "mask_values": _numbered(mask_values),
        "instances": instances and str(instances),
    }
    micrographs, found_wrong = import_micrographs(settings)
    found_wrong.write(quarantine)
    print(found_wrong.summary())
    if not micrographs:
        raise TemDataError(f"no micrograph is left; {quarantine} says why")
    micrographs, overlapping = with_scenes(micrographs, min_overlap)
    write_table(overlaps, [o._asdict() for o in overlapping], SharedField._fields)
    write_micrographs(out, micrographs, classes_of(settings), "Whole micrographs.")
    scenes = len({m.scene for m in micrographs})
    print(f"{out}: {len(micrographs)} micrographs in {scenes} scenes, {count_by_class(micrographs)}")


@app.command()
def simulate(
    out: OutFolder,
    count: Annotated[int, typer.Option(help="How many micrographs.")] = 20,
    size_px: Annotated[int, typer.Option(help="Side of a micrograph, px.")] = 512,
    nm_per_px: Annotated[float, typer.Option(help="Calibration.")] = 0.957,
    seed: Seed = 0,
) -> None:
    """Make the built-in, simulated micrographs, with exact labels."""
    from tem_data.core.schema import Classes, write_micrographs
    from tem_data.simulation.micrographs import simulate as simulated

    micrographs = simulated(count, size_px, nm_per_px, seed)
    classes = Classes(("100", "111", "bdot"), ("ambiguous",))
    write_micrographs(out, micrographs, classes, "Simulated micrographs.")
    print(f"{out}: {count} simulated micrographs")


@app.command()
def split(
    dataset: Dataset,
    out: OutFile,
    scheme: Annotated[
        Scheme,
        typer.Option(
            help="random: --test micrographs. table: the roles of --table. k_fold: every scene is test once. "
            "leave_out_percent: --percents of the micrographs are test. leave_one_group_out: each group in turn is."
        ),
    ] = Scheme.random,
    test: Annotated[int, typer.Option(help="random: test micrographs.")] = 8,
    validation: Annotated[
        int,
        typer.Option(
            help="Validation micrographs, which choose thresholds. Except at random, as near as scenes allow, "
            "and at most a fifth of what is not test."
        ),
    ] = 2,
    count: Annotated[
        int, typer.Option(help="random: how many splits. k_fold: folds. leave_out_percent: splits for each percentage.")
    ] = 1,
    percents: Annotated[str, typer.Option(help="leave_out_percent: test shares, %.")] = "10,25,50,75,90",
    group: Annotated[
        str,
        typer.Option(
            help="leave_one_group_out: a column of --table, or without one specimen, nm_per_px, thickness_nm or origin."
        ),
    ] = "specimen",
    table: Annotated[
        Path | None,
        typer.Option(
            help="table: file_name, split1_role, split1_rank, … leave_one_group_out: file_name and the column of "
            "groups; the calibration table will do."
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Deal micrographs to training, validation and test by whole scenes; writes a table."""
    from tem_data.core.files import write_table
    from tem_data.core.schema import read_dataset
    from tem_data.splits.schemes import SplitSettings, describe_splits, make_splits

    shares = number_list(percents, "--percents", 0, 100)
    settings = SplitSettings(scheme.value, table and str(table), group, shares, count, test, validation, seed)
    rows = make_splits(settings, read_dataset(dataset))
    write_table(out, rows, list(dict.fromkeys(column for row in rows for column in row)))
    for line in describe_splits(rows):
        print(line)
    print(f"{out}: {len(rows)} micrographs of {len({row['scene'] for row in rows})} scenes")


@app.command()
def patch(
    dataset: Dataset,
    splits: Annotated[Path, typer.Argument(help="Table written by `split`.")],
    out: OutFolder,
    size: Annotated[int, typer.Option(help="Side of a patch, px.")] = 256,
    stride: Annotated[int, typer.Option(help="Step between windows for training, px.")] = 64,
    count: Annotated[int, typer.Option(help="Training patches, in all eight symmetries.")] = 10_000,
    n: Annotated[int, typer.Option("--n", help="Training and validation micrographs together.")] = 10,
    k: Annotated[int, typer.Option("--split", help="Which split of the table.")] = 1,
    min_area_px: MinAreaPx = 20,
    seed: Seed = 0,
) -> None:
    """Cut patches: windows in eight symmetries for training, tiles for validation and test."""
    from tem_data.core.schema import read_classes, read_dataset, write_dataset
    from tem_data.patches.cutting import cut_roles
    from tem_data.splits.table import members, read_splits

    by_role = members(read_splits(splits), k, n)
    patches = cut_roles(read_dataset(dataset), by_role, size, stride, count, seed, min_area_px)
    write_dataset(out, patches, read_classes(dataset), f"Patches of {size} px.")
    print(f"{out}: " + ", ".join(f"{len(p)} {role}" for role, p in patches.items()))


@app.command("copy-paste")
def copy_paste(
    patches: Annotated[Path, typer.Argument(help="Dataset folder written by `patch`; its split train is used.")],
    out: OutFolder,
    count: Annotated[int, typer.Option(help="How many patches.", min=1)] = 1000,
    seed: Seed = 0,
) -> None:
    """Paste experimental defects onto experimental patches: the control that generated pairs must beat."""
    from tem_data.core.schema import read_classes, read_dataset, write_dataset
    from tem_data.patches.copy_paste import copy_paste_patches

    classes = read_classes(patches)
    pasted = copy_paste_patches(list(read_dataset(patches, "train")), count, seed)
    write_dataset(out, {"train": pasted}, classes, "Copy-paste pairs.")
    print(f"{out}: {count} patches with pasted defects")


def _numbered(text: str) -> dict[int, str] | None:
    """`0=a,1=b` as {0: a, 1: b}; None for nothing."""
    try:
        return {int(number): name for number, name in (pairs(text) or {}).items()} or None
    except ValueError as error:
        raise TemDataError(f"expected number=class with commas between, found {text!r}") from error
