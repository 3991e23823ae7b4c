"""Commands that train models and use them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tem_data.cli.app import Judges, OutFolder, Patches, Seed, app
from tem_data.cli.options import ParamsOption, SetOption, options_of, settings_file
from tem_data.diffusion.settings import AutoencoderSettings, GenerationSettings, LDMSettings


@app.command("train-ldm")
def train_ldm(
    patches: Patches,
    out: OutFolder,
    params: ParamsOption = None,
    changes: SetOption = (),
    autoencoder: Annotated[
        str | None,
        typer.Option(
            help="diffusers autoencoder to keep frozen, a folder or org/name[@revision]; else one is trained."
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train the latent diffusion model that paints micrographs on masks (sections autoencoder and ldm).

    The autoencoder goes with the model. Resume an interrupted training by
    giving the same command again.
    """
    from dataclasses import replace

    from tem_data.diffusion.ldm_steps import train_autoencoder_and_ldm_on

    file = settings_file(params, changes)
    chosen = file.read(AutoencoderSettings)
    if autoencoder:
        chosen = replace(chosen, **_named(autoencoder))
    train_autoencoder_and_ldm_on(patches, out, chosen, file.read(LDMSettings), seed)


def _named(autoencoder: str) -> dict[str, Any]:
    from tem_data.download.fetching import split_name

    name, revision = (autoencoder, None) if Path(autoencoder).is_dir() else split_name(autoencoder)
    return {"pretrained": name, "revision": revision}


@app.command()
@options_of(GenerationSettings)
def generate(
    ldm: Annotated[str, typer.Argument(help="Folder, or org/name[@revision], of a latent diffusion model.")],
    masks: Annotated[Path, typer.Argument(help="Dataset folder written by `sample-masks`.")],
    out: OutFolder,
    settings: GenerationSettings,
    seed: Seed = 0,
) -> None:
    """Paint a micrograph on every mask. Resume an interrupted run by giving the same command again."""
    from tem_data.diffusion.steps import generate_dataset

    generate_dataset(ldm, masks, out, settings, seed)


@app.command()
def paint(
    ldm: Annotated[str, typer.Argument(help="Folder, or org/name[@revision], of a latent diffusion model.")],
    patches: Patches,
    masks: Annotated[Path, typer.Argument(help="Dataset folder written by `sample-masks`, of the patches' size.")],
    out: OutFolder,
    judges: Judges = None,
    params: ParamsOption = None,
    changes: SetOption = (),
    seed: Seed = 0,
) -> None:
    """Paint new defects into real patches, where these have room (sections paint and generate).

    The pixels around them stay. What no judge finds again is left out (sections
    judges and detector). Resume an interrupted run by giving the same command
    again.
    """
    from contextlib import nullcontext

    from tem_data.detection.settings import DetectorSettings
    from tem_data.judges.settings import JudgeSettings
    from tem_data.judges.steps import judges_for
    from tem_data.painting.settings import PaintSettings
    from tem_data.painting.steps import paint_dataset

    file = settings_file(params, changes)
    settings, solver = file.read(PaintSettings), file.read(GenerationSettings)
    trained = file.read(JudgeSettings), file.read(DetectorSettings)
    with nullcontext() if settings.confirm is None else judges_for(patches, judges, out, *trained, seed) as panel:
        paint_dataset(ldm, patches, masks, out, settings, solver, seed, panel)


@app.command("train-detector")
def train_detector(
    patches: Patches,
    out: OutFolder,
    generated: Annotated[Path | None, typer.Option(help="Add these generated pairs to the training patches.")] = None,
    params: ParamsOption = None,
    changes: SetOption = (),
    seed: Seed = 0,
) -> None:
    """Train Mask R-CNN on the training patches (section detector).

    Resume an interrupted training by giving the same command again.
    """
    from tem_data.detection.settings import DetectorSettings
    from tem_data.detection.steps import train_detector_on

    settings = settings_file(params, changes).read(DetectorSettings)
    train_detector_on(patches, out, settings, seed, generated)


@app.command()
def predict(
    detector: Annotated[str, typer.Argument(help="Folder written by `train-detector`, or org/name[@revision].")],
    images: Annotated[Path, typer.Argument(help="Folder of micrographs: PNG, JPEG or TIFF.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="COCO results; without --truth OUT.images.json lists the images by id.")
    ],
    tile: Annotated[int, typer.Option(help="Side of the tiles that the detector was trained on, px.", min=16)] = 128,
    threshold: Annotated[float, typer.Option(help="Least confidence of a defect.", min=0, max=1)] = 0.5,
    pictures: Annotated[Path | None, typer.Option(help="Folder for pictures with the defects drawn in.")] = None,
    max_side: Annotated[
        int | None,
        typer.Option(help="Halve larger images until no side is longer, px, as `import` did for training.", min=1),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="COCO ground truth of these file names, whose ids OUT is to have for `score`.")
    ] = None,
) -> None:
    """Find the defects on whole micrographs.

    With --truth, `tem-data score TRUTH OUT` compares them, image by image.
    """
    from tem_data.detection.folders import predict_folder
    from tem_data.detection.model import load_detector

    counts = predict_folder(load_detector(detector), images, out, tile, threshold, pictures, max_side, truth)
    for name, found in counts.items():
        print(f"{name}: {found}")
