"""Commands that compare masks and pictures with experimental ones, and leave out poor pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tem_data.cli.app import MinAreaPx, OutFolder, Params, Seed, app, read_params
from tem_data.core.errors import TemDataError

if TYPE_CHECKING:
    from tem_data.core.micrograph import Micrograph
    from tem_data.fidelity.judges import Judge


@app.command("compare-masks")
def compare_masks(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="Experimental masks: a dataset folder, or FOLDER:SPLIT or FOLDER:SPLIT+SPLIT."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Masks to compare with them, given the same way.")],
    out: OutFolder,
    fitted_on: Annotated[
        str | None,
        typer.Option(
            help="The experimental masks that B was fitted on, given the same way, of other scenes than A. The "
            "reference is then random parts of these and A as large as both are, not halves of A."
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Cut whole micrographs into tiles of this side first, px.")] = None,
    min_area_px: MinAreaPx = 20,
    repeats: Annotated[int, typer.Option(help="Random divisions of experimental masks by scene.", min=1)] = 200,
    classifier_repeats: Annotated[int, typer.Option(help="For how many of them the classifier runs.", min=0)] = 100,
    seed: Seed = 0,
) -> None:
    """Tell whether masks differ from experimental ones more than these do among themselves.

    Distances of sizes, shapes, counts and spacing by class, and a classifier
    that tries to tell both apart. Writes masks.json, masks.csv and histograms.
    Give tiles, or whole micrographs and --size: training patches lie on one
    another and are turned, which hides the angles.
    """
    from tem_data import mask_comparison
    from tem_data.core.files import atomic_write, write_json, write_table
    from tem_data.core.schema import common_classes
    from tem_data.mask_comparison.figures import mask_histograms

    sets = {"A": a, "B": b} | ({"--fitted-on": fitted_on} if fitted_on else {})
    places = {name: _place(text) for name, text in sets.items()}
    classes = common_classes([folder for folder, _ in places.values()]).names
    features = {
        name: mask_comparison.measure_masks(_patches(*place, size, min_area_px), classes, f"{name} ({sets[name]})")
        for name, place in places.items()
    }
    compared = mask_comparison.compare_masks(
        features["A"], features["B"], features.get("--fitted-on"), repeats, classifier_repeats, seed
    )
    with atomic_write(out) as draft:
        draft.mkdir()
        write_json(draft / "masks.json", compared.summary)
        write_table(draft / "masks.csv", compared.rows, mask_comparison.COLUMNS)
        mask_histograms(draft / "histograms", compared, (a, b))
    _print(mask_comparison.ratio_table(compared.summary), mask_comparison.RATIOS_TEXT)
    print(mask_comparison.describe(compared.summary))


@app.command()
def fidelity(
    patches: Annotated[Path, typer.Argument(help="Dataset folder written by `patch`, on which the LDM was trained.")],
    pairs: Annotated[Path, typer.Argument(help="Dataset folder written by `generate`.")],
    ldm: Annotated[str, typer.Option(help="Folder or Hub name of the latent diffusion model that made PAIRS.")],
    out: OutFolder,
    judges: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the judges of these PATCHES; where there is none they are trained and kept there. "
            "Without it they are trained for this report alone."
        ),
    ] = None,
    params: Params = Path("params.yaml"),
    seed: Seed = 0,
) -> None:
    """Compare generated pairs with real ones: do they show their masks, in real texture, and without copying?

    Judges of the masks are detectors, each trained on all training micrographs
    but those of a fold (sections detector and judges), and scored by section
    evaluate. Writes report.html, fidelity.json, adherence.csv and figures; a run
    that was stopped goes on with the judges that it has.
    """
    from tem_data.core.files import atomic_write, work_folder
    from tem_data.core.schema import common_classes
    from tem_data.diffusion.autoencoder import own_device
    from tem_data.diffusion.datasets import load_pipeline
    from tem_data.fidelity.adherence import panel_of
    from tem_data.fidelity.measuring import measure_fidelity
    from tem_data.fidelity.text import describe
    from tem_data.scoring.evaluation import read_evaluation

    settings = read_params(params, "detector", "judges", "evaluate")
    thresholds, rule = read_evaluation(settings["evaluate"])
    classes = common_classes([patches, pairs]).names
    sets = (patches, "train"), (patches, "validation"), (pairs, "train")
    training, validation, generated = (list(_patches(folder, [split])) for folder, split in sets)
    pipeline, _ = load_pipeline(ldm)
    with work_folder(out, [settings["detector"], settings["judges"], seed], patches) as work:
        members = _judges(judges, training, classes, settings, seed, work)
        panel = panel_of(members, validation, classes, thresholds, rule)
        with atomic_write(out) as draft:
            draft.mkdir()
            autoencoder, title = pipeline.to(own_device()).autoencoder, f"Generated pictures of {pairs}"
            summary = measure_fidelity(draft, training, validation, generated, autoencoder, panel, seed, title)
    print(describe(summary))


@app.command("filter-pairs")
def filter_pairs(
    pairs: Annotated[Path, typer.Argument(help="Dataset folder written by `generate`.")],
    compared: Annotated[Path, typer.Argument(metavar="FIDELITY", help="Folder that `fidelity` wrote of these PAIRS.")],
    out: OutFolder,
    quantile: Annotated[
        float, typer.Option(help="Share of real patches that show what is labelled on them worse than the floor.")
    ] = 0.1,
) -> None:
    """Leave out generated pairs that show their masks worse than all but the worst real patches do.

    Writes a dataset folder, with what was dropped, counted, in filter.json.
    """
    from tem_data.core.files import write_json
    from tem_data.fidelity.filtering import FilterSettings, write_filtered

    report = write_filtered(pairs, compared, out, FilterSettings(quantile))
    write_json(out / "filter.json", report)
    print(f"kept {report['pairs']['kept']} of {report['pairs']['all']} pairs")


def _judges(
    folder: Path | None,
    training: list[Micrograph],
    classes: tuple[str, ...],
    settings: dict[str, Any],
    seed: int,
    work: Path,
) -> list[Judge]:
    """The judges of a folder; without one there, those that are trained now, and kept there if it was named."""
    from tem_data.fidelity.judges import load_judges, read_judge_settings, save_judges, train_judges

    if folder and folder.is_dir():
        return load_judges(folder)
    trained = train_judges(
        training, classes, *read_judge_settings(settings["judges"], settings["detector"]), seed, work
    )
    if folder:
        save_judges(trained, folder)
    return trained


def _place(text: str) -> tuple[Path, list[str | None]]:
    """A folder with all its splits, or what stands before the last colon with the splits named after it."""
    folder, colon, splits = text.rpartition(":")
    return (Path(folder), list(splits.split("+"))) if colon and not Path(text).is_dir() else (Path(text), [None])


def _patches(
    folder: Path, splits: list[str | None], size: int | None = None, min_area_px: int = 0
) -> Iterator[Micrograph]:
    from tem_data.core.schema import count_rows, read_dataset
    from tem_data.patches.cutting import tiles

    for split in splits:
        if not count_rows(folder, split):
            raise TemDataError(f"{folder}: no rows of split {split!r}; give one that data/ there has")
    rows = (row for split in splits for row in read_dataset(folder, split))
    return rows if size is None else tiles(rows, size, min_area_px)


def _print(rows: list[dict[str, str]], explained: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=explained, caption_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="left" if name == "quantity" else "right")
    for row in rows:
        table.add_row(*row.values())
    Console(width=120).print(table)
