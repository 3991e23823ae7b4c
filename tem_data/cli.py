"""The `tem-data` command: a thin face of the library, one sub-command a step."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from tem_data.errors import TemDataError
from tem_data.files import work_folder

app = typer.Typer(
    help="Few labelled electron micrographs in, more labelled micrographs out. "
    "Steps: import or simulate, split, patch, fit-shapes, sample-masks, train-ldm, generate, train-detector, predict, "
    "score. `dvc repro` runs them all.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

Dataset = Annotated[Path, typer.Argument(help="Dataset folder, as `import`, `simulate` or `patch` writes it.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result goes; what is there is replaced.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
Params = Annotated[
    Path, typer.Option(help="File of settings, in the sections of params.yaml.", exists=True, dir_okay=False)
]


class Source(str, Enum):
    coco = "coco"
    ellipses = "ellipses"
    fiji = "fiji"
    masks = "masks"


class Match(str, Enum):
    mask = "mask"
    box = "box"


class Assignment(str, Enum):
    greedy = "greedy"
    optimal = "optimal"


@app.command("import")
def import_(
    images: Annotated[Path, typer.Argument(help="Folder of micrographs: PNG, JPEG or TIFF.")],
    annotations: Annotated[
        Path, typer.Argument(help="COCO file, table of ellipses, or folder of Fiji tables or of mask images.")
    ],
    out: Out,
    source: Annotated[Source, typer.Option(help="What ANNOTATIONS is.")] = Source.coco,
    classes: Annotated[
        str,
        typer.Option(help="Classes, each with its names in the files, as '100=100_1+100_2,111,bdot=bd'."),
    ] = "100=100+100_1+100_2,111,bdot=bdot+bd",
    ignored: Annotated[str, typer.Option(help="Labels that are kept but never scored, written the same way.")] = "ambiguous",
    calibration: Annotated[
        Optional[Path], typer.Option(help="Table with file_name, nm_per_px and, if known, thickness_nm, specimen.")
    ] = None,
    max_side: Annotated[Optional[int], typer.Option(help="Halve larger micrographs until no side is longer, px.")] = None,
    quarantine: Annotated[Path, typer.Option(help="Table of everything that was found wrong.")] = Path("quarantine.csv"),
) -> None:
    """Bring labelled micrographs of your own into a dataset folder.

    What is wrong with a label or an image never stops the import: it is set
    aside, counted on the screen, and listed in the quarantine table.
    """
    from tem_data.importing import classes_of, import_micrographs
    from tem_data.micrograph import count_by_class
    from tem_data.scenes import with_scenes
    from tem_data.schema import write_dataset

    settings = {
        "source": source.value,
        "images": str(images),
        "annotations": str(annotations),
        "calibration": calibration and str(calibration),
        "max_side": max_side,
        "classes": _names(classes),
        "ignored": _names(ignored),
    }
    micrographs, found_wrong = import_micrographs(settings)
    found_wrong.write(quarantine)
    print(found_wrong.summary())
    if not micrographs:
        raise TemDataError(f"no micrograph is left; {quarantine} says why")
    micrographs, _ = with_scenes(micrographs)
    write_dataset(out, {"all": micrographs}, classes_of(settings), "Whole micrographs.")
    print(f"{out}: {len(micrographs)} micrographs in {len({m.scene for m in micrographs})} scenes, {count_by_class(micrographs)}")


@app.command()
def simulate(
    out: Out,
    count: Annotated[int, typer.Option(help="How many micrographs.")] = 20,
    size_px: Annotated[int, typer.Option(help="Side of a micrograph, px.")] = 512,
    nm_per_px: Annotated[float, typer.Option(help="Calibration.")] = 0.957,
    seed: Seed = 0,
) -> None:
    """Make the built-in, simulated micrographs, with exact labels."""
    from tem_data.schema import Classes, write_dataset
    from tem_data.simulate import simulate as simulated

    micrographs = simulated(count, size_px, nm_per_px, seed)
    write_dataset(out, {"all": micrographs}, Classes(("100", "111", "bdot"), ("ambiguous",)), "Simulated micrographs.")
    print(f"{out}: {count} simulated micrographs")


@app.command()
def split(
    dataset: Dataset,
    out: Out,
    test: Annotated[int, typer.Option(help="Test micrographs.")],
    validation: Annotated[int, typer.Option(help="Validation micrographs, which choose thresholds.")],
    count: Annotated[int, typer.Option(help="How many splits.")] = 1,
    seed: Seed = 0,
) -> None:
    """Deal micrographs to training, validation and test by whole scenes; writes a table."""
    from tem_data.files import write_table
    from tem_data.schema import read_dataset
    from tem_data.splits import random_splits

    scene = {m.micrograph_id: m.scene for m in read_dataset(dataset)}
    rows = random_splits(scene, count, test, validation, seed)
    write_table(out, rows, list(dict.fromkeys(column for row in rows for column in row)))
    print(f"{out}: {len(rows)} micrographs of {len(set(scene.values()))} scenes")


@app.command()
def patch(
    dataset: Dataset,
    splits: Annotated[Path, typer.Argument(help="Table written by `split`.")],
    out: Out,
    size: Annotated[int, typer.Option(help="Side of a patch, px.")] = 256,
    stride: Annotated[int, typer.Option(help="Step between windows for training, px.")] = 64,
    count: Annotated[int, typer.Option(help="Training patches, in all eight symmetries.")] = 10_000,
    n: Annotated[int, typer.Option("--n", help="Training and validation micrographs together.")] = 10,
    k: Annotated[int, typer.Option("--split", help="Which split of the table.")] = 1,
    min_area_px: Annotated[int, typer.Option(help="Ignore what an edge leaves of a defect below this area, px².")] = 20,
    seed: Seed = 0,
) -> None:
    """Cut patches: windows in eight symmetries for training, tiles for validation and test."""
    from tem_data.files import read_table
    from tem_data.patches import cut_roles
    from tem_data.schema import read_classes, read_dataset, write_dataset
    from tem_data.splits import members

    by_role = members(read_table(splits), k, n)
    patches = cut_roles(read_dataset(dataset), by_role, size, stride, count, seed, min_area_px)
    write_dataset(out, patches, read_classes(dataset), f"Patches of {size} px.")
    print(f"{out}: " + ", ".join(f"{len(p)} {role}" for role, p in patches.items()))


@app.command("fit-shapes")
def fit_shapes(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder of whole micrographs.")],
    out: Out,
    splits: Annotated[Optional[Path], typer.Option(help="Table written by `split`: training micrographs only.")] = None,
    n: Annotated[int, typer.Option("--n", help="With --splits: training size.")] = 10,
    k: Annotated[int, typer.Option("--split", help="With --splits: which split.")] = 1,
) -> None:
    """Learn how large, how long, how turned and how many the defects of each class are."""
    from tem_data import shapes
    from tem_data.files import read_table
    from tem_data.schema import read_classes, read_dataset
    from tem_data.splits import members

    chosen = splits and set(members(read_table(splits), k, n)["train"])
    micrographs = (m for m in read_dataset(dataset) if not chosen or m.micrograph_id in chosen)
    fitted = shapes.fit_shapes(micrographs, read_classes(dataset).names)
    shapes.save_shapes(fitted, out)
    for name, shape in fitted.classes.items():
        print(f"{name}: {len(shape.major)} whole defects fitted")
    print(f"{len(fitted.left_out_uncalibrated)} uncalibrated micrographs left out; {out} is in {fitted.unit}")


@app.command("sample-masks")
def sample_masks(
    shapes: Annotated[Path, typer.Argument(help="File written by `fit-shapes`.")],
    out: Out,
    count: Annotated[int, typer.Option(help="How many masks.")] = 1000,
    size: Annotated[int, typer.Option(help="Side of a mask, px.")] = 256,
    seed: Seed = 0,
) -> None:
    """Draw new multi-class masks from fitted shapes."""
    from tqdm import trange

    from tem_data.sampler import sample_mask
    from tem_data.schema import Classes, write_dataset
    from tem_data.shapes import load_shapes

    fitted = load_shapes(shapes)
    masks = (sample_mask(fitted, size, seed, i) for i in trange(count, desc="masks"))
    write_dataset(out, {"train": masks}, Classes(tuple(fitted.classes)), "Simulated masks (SIM).")


@app.command("train-ldm")
def train_ldm(
    patches: Annotated[Path, typer.Argument(help="Dataset folder written by `patch`.")],
    out: Out,
    params: Params = Path("params.yaml"),
    autoencoder: Annotated[
        Optional[str], typer.Option(help="diffusers autoencoder to keep frozen, a Hub name or folder; else one is trained.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train the latent diffusion model that paints micrographs on masks (sections autoencoder and ldm)."""
    from tem_data.diffusion.datasets import autoencoder_for, ldm_for
    from tem_data.files import whole

    settings = _read_params(params, "autoencoder", "ldm")
    chosen = settings["autoencoder"] | ({"pretrained": autoencoder} if autoencoder else {})
    with work_folder(out, [chosen, settings["ldm"], seed], patches) as work:
        frozen = autoencoder_for(patches, chosen, seed, work / "autoencoder")
        pipeline, _ = ldm_for(patches, frozen, settings["ldm"], seed, work / "ldm")
        with whole(out) as draft:
            pipeline.save_pretrained(draft)


@app.command()
def generate(
    ldm: Annotated[str, typer.Argument(help="Folder or Hub name of a latent diffusion model.")],
    masks: Annotated[Path, typer.Argument(help="Dataset folder written by `sample-masks`.")],
    out: Out,
    params: Params = Path("params.yaml"),
    seed: Seed = 0,
) -> None:
    """Paint a micrograph on every mask (section generate). A run that was stopped goes on where it stood."""
    from tem_data.diffusion.datasets import generate_pairs
    from tem_data.files import whole

    settings = _read_params(params, "generate")["generate"]
    with work_folder(out, [ldm, settings, seed], masks) as work:
        generate_pairs(ldm, masks, settings, seed, work)
        with whole(out) as draft:
            work.rename(draft)


@app.command("train-detector")
def train_detector(
    patches: Annotated[Path, typer.Argument(help="Dataset folder written by `patch`.")],
    out: Out,
    generated: Annotated[Optional[Path], typer.Option(help="Add these generated pairs to the training patches.")] = None,
    params: Params = Path("params.yaml"),
    seed: Seed = 0,
) -> None:
    """Train Mask R-CNN on the training patches (section detector)."""
    from tem_data.detection.model import DetectorSettings, save_detector
    from tem_data.detection.training import train_detector as trained
    from tem_data.schema import read_classes, read_dataset
    from tem_data.settings import read_settings

    folders = [folder for folder in (patches, generated) if folder]
    pairs = [pair for folder in folders for pair in read_dataset(folder, "train")]
    chosen = _read_params(params, "detector")["detector"]
    settings = read_settings(DetectorSettings, chosen, "detector")
    with work_folder(out, [chosen, seed], *folders) as work:
        detector, _ = trained(pairs, read_classes(patches).names, settings, seed, work)
        save_detector(detector, out)


@app.command()
def predict(
    detector: Annotated[Path, typer.Argument(help="Folder written by `train-detector`.")],
    images: Annotated[Path, typer.Argument(help="Folder of micrographs: PNG, JPEG or TIFF.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="COCO results; OUT.images.json lists the images by id.")],
    tile: Annotated[int, typer.Option(help="Side of the tiles that the detector was trained on, px.")] = 256,
    threshold: Annotated[float, typer.Option(help="Least confidence of a defect.")] = 0.5,
    pictures: Annotated[Optional[Path], typer.Option(help="Folder for pictures with the defects drawn in.")] = None,
) -> None:
    """Find the defects on whole micrographs."""
    from tem_data.detection.model import load_detector
    from tem_data.detection.prediction import predict_folder

    counts = predict_folder(load_detector(detector), images, out, tile, threshold, pictures)
    for name, found in counts.items():
        print(f"{name}: {found}")


@app.command()
def score(
    truth: Annotated[Path, typer.Argument(help="COCO ground truth.")],
    predictions: Annotated[Path, typer.Argument(help="COCO results.")],
    match: Annotated[Match, typer.Option(help="What overlaps: masks, or their boxes.")] = Match.mask,
    iou: Annotated[float, typer.Option(help="Least intersection over union of a match.")] = 0.3,
    assignment: Annotated[Assignment, typer.Option(help="greedy as the papers' code, or optimal.")] = Assignment.greedy,
    ignore: Annotated[str, typer.Option(help="Categories that count neither as found nor as missed.")] = "ambiguous",
    thresholds: Annotated[str, typer.Option(help="Confidence thresholds to score at.")] = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score predictions: F1 of detection, of classification, and their harmonic mean, at each confidence threshold."""
    from tem_data.scoring.coco import score_coco

    result = score_coco(
        truth,
        predictions,
        iou,
        match.value,
        assignment.value,
        ignore=tuple(name for name in ignore.split(",") if name),
        thresholds=_numbers(thresholds),
    )
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
        return
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    _print_scores(result)


def _print_scores(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    names = list(result.scores[0].classes)
    table = Table(title=f"{result.images} images; * marks the best F1_HM, which was found on these same images")
    for column in ("threshold", "precision", "recall", "F1_detect", "F1_class", "F1_HM", *names):
        table.add_column(column, justify="right")
    for s in result.scores:
        values = [s.precision, s.recall, s.f1_detect, s.f1_class, s.f1_hm]
        cells = [f"{v:.3f}" for v in values] + [
            f"{s.f1_by_class[n]:.3f}" if n in s.f1_by_class else "absent" for n in names
        ]
        table.add_row(f"{s.threshold:g}{' *' if s is result.best else ''}", *cells)
    Console(width=max(100, 12 * (6 + len(names)))).print(table)


def _names(text: str) -> dict[str, list[str]]:
    """`a=b+c,d` as {a: [b, c], d: [d]}."""
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name.strip(): (aliases or name).strip().split("+") for name, _, aliases in pairs}


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise TemDataError(f"--thresholds: expected numbers with commas between, found {text!r}") from error


def _read_params(path: Path, *sections: str) -> dict[str, Any]:
    import yaml

    try:
        params = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TemDataError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    for section in sections:
        if not isinstance(params, dict) or not isinstance(params.get(section), dict):
            raise TemDataError(f"{path}: expected a section {section!r} of settings; add it as params.yaml has it")
    return params


def main() -> None:
    """The console entry point: an error that its user can mend is one line."""
    try:
        app()
    except TemDataError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
