"""Commands that train models and use them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tem_data.cli.app import OutFolder, Params, Seed, app, read_params
from tem_data.core.files import work_folder

DEFAULT_PARAMS = Path("params.yaml")


@app.command("train-ldm")
def train_ldm(
    patches: Annotated[Path, typer.Argument(help="Dataset folder written by `patch`.")],
    out: OutFolder,
    params: Params = Path("params.yaml"),
    autoencoder: Annotated[
        str | None,
        typer.Option(
            help="diffusers autoencoder to keep frozen, a folder or org/name[@revision]; else one is trained."
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train the latent diffusion model that paints micrographs on masks (sections autoencoder and ldm)."""
    from tem_data.diffusion.datasets import autoencoder_for, ldm_for, save_ldm

    settings = read_params(params, "autoencoder", "ldm")
    chosen = settings["autoencoder"] | (_named(autoencoder) if autoencoder else {})
    with work_folder(out, [chosen, settings["ldm"], seed], patches) as work:
        frozen = autoencoder_for(patches, chosen, seed, work / "autoencoder")
        pipeline, _ = ldm_for(patches, frozen, settings["ldm"], seed, work / "ldm")
        save_ldm(pipeline, work / "ldm", out)


def _named(autoencoder: str) -> dict[str, str | None]:
    from tem_data.download.fetching import split_name

    name, revision = (autoencoder, None) if Path(autoencoder).is_dir() else split_name(autoencoder)
    return {"pretrained": name, "revision": revision}


@app.command()
def generate(
    ldm: Annotated[str, typer.Argument(help="Folder, or org/name[@revision], of a latent diffusion model.")],
    masks: Annotated[Path, typer.Argument(help="Dataset folder written by `sample-masks`.")],
    out: OutFolder,
    params: Annotated[
        Path | None, typer.Option(help="File of settings, as params.yaml; without any the defaults.", dir_okay=False)
    ] = None,
    seed: Seed = 0,
) -> None:
    """Paint a micrograph on every mask (section generate). A run that was stopped goes on where it stood."""
    from tem_data.core.files import atomic_write
    from tem_data.diffusion.datasets import find_ldm, generate_pairs

    given = params or (DEFAULT_PARAMS if DEFAULT_PARAMS.is_file() else None)
    settings = read_params(given, "generate")["generate"] if given else {}
    _, checkpoint = find_ldm(ldm)
    # By its commit, as a branch may have moved when a run that was stopped goes on.
    model = ldm if Path(ldm).is_dir() else checkpoint
    with work_folder(out, [checkpoint, settings, seed], masks) as work:
        generate_pairs(model, masks, settings, seed, work)
        with atomic_write(out) as draft:
            work.rename(draft)


@app.command("train-detector")
def train_detector(
    patches: Annotated[Path, typer.Argument(help="Dataset folder written by `patch`.")],
    out: OutFolder,
    generated: Annotated[Path | None, typer.Option(help="Add these generated pairs to the training patches.")] = None,
    params: Params = Path("params.yaml"),
    seed: Seed = 0,
) -> None:
    """Train Mask R-CNN on the training patches (section detector)."""
    from tem_data.core.schema import common_classes, read_dataset
    from tem_data.core.settings import read_settings
    from tem_data.detection.model import DetectorSettings, save_detector
    from tem_data.detection.training import train_detector as trained

    folders = [folder for folder in (patches, generated) if folder]
    classes = common_classes(folders).names
    pairs = [pair for folder in folders for pair in read_dataset(folder, "train")]
    chosen = read_params(params, "detector")["detector"]
    settings = read_settings(DetectorSettings, chosen, "detector")
    with work_folder(out, [chosen, seed], *folders) as work:
        detector, _ = trained(pairs, classes, settings, seed, work)
        save_detector(detector, out)


@app.command()
def predict(
    detector: Annotated[str, typer.Argument(help="Folder written by `train-detector`, or org/name[@revision].")],
    images: Annotated[Path, typer.Argument(help="Folder of micrographs: PNG, JPEG or TIFF.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="COCO results; without --truth OUT.images.json lists the images by id.")
    ],
    tile: Annotated[int, typer.Option(help="Side of the tiles that the detector was trained on, px.")] = 256,
    threshold: Annotated[float, typer.Option(help="Least confidence of a defect.")] = 0.5,
    pictures: Annotated[Path | None, typer.Option(help="Folder for pictures with the defects drawn in.")] = None,
    max_side: Annotated[
        int | None, typer.Option(help="Halve larger images until no side is longer, px, as `import` did for training.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="COCO ground truth of these file names, whose ids OUT is to have for `score`.")
    ] = None,
) -> None:
    """Find the defects on whole micrographs.

    With --truth, `tem-data score TRUTH OUT` compares them, image by image.
    """
    from tem_data.detection.model import load_detector
    from tem_data.detection.prediction import predict_folder

    counts = predict_folder(load_detector(detector), images, out, tile, threshold, pictures, max_side, truth)
    for name, found in counts.items():
        print(f"{name}: {found}")
