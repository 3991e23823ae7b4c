"""Commands that train models and use them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

    The autoencoder goes with the model. `-S ldm.pretrained=org/name@version`
    fine-tunes a published model with its own autoencoder. Resume an interrupted training by
    giving the same command again.
    """
    from dataclasses import replace

    from tem_data.diffusion.ldm_steps import train_autoencoder_and_ldm_on

    file = settings_file(params, changes)
    chosen, ldm = file.read(AutoencoderSettings), file.read(LDMSettings)
    if named := autoencoder or ldm.pretrained:
        chosen = replace(chosen, pretrained=named)
    train_autoencoder_and_ldm_on(patches, out, chosen, ldm, seed)


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

    Validation patches, where there are any, choose its confidence threshold
    (sections evaluate and materials). Resume an interrupted training by giving the same command again.
    """
    from tem_data.core.files import is_main_process
    from tem_data.detection.settings import DetectorSettings
    from tem_data.detection.steps import train_detector_on
    from tem_data.materials import Materials
    from tem_data.scoring.evaluation import EvaluationSettings
    from tem_data.trust.steps import score_on_validation

    file = settings_file(params, changes)
    evaluation, materials = file.read(EvaluationSettings), file.read(Materials)
    train_detector_on(patches, out, file.read(DetectorSettings), seed, generated)
    if is_main_process():
        score_on_validation(out, patches, evaluation, materials)
