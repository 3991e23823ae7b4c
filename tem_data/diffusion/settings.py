"""What the latent diffusion model is, and how it is trained and used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from tem_data.core.settings import section, setting
from tem_data.training.settings import TrainingSettings

Positive = Annotated[int, Field(gt=0)]


@section("autoencoder")
class AutoencoderSettings(TrainingSettings):
    """A frozen pretrained autoencoder, or a small one that is trained.

    The loss is the mean absolute error plus `gradient_weight` times that of the
    differences of neighbouring pixels.
    """

    pretrained: str | None = setting(
        None, "Folder, or org/name[@revision], of a diffusers autoencoder, frozen; null trains a small one."
    )
    factor: Literal[2, 4, 8, 16] = setting(4, "Image px for one latent px.")
    latent_channels: int = setting(8, "Channels of the latents.", ge=1)
    width: int = setting(32, "Channels of all layers.", ge=1)
    gradient_weight: float = setting(1.0, "Weight of the differences of neighbouring pixels in the loss.", ge=0)
    latent_noise: float = setting(
        0.05, "Noise on the latents while training, in standard deviations, so that the decoder tolerates errors.", ge=0
    )
    steps: int = setting(300, "Steps of the optimizer.", ge=1)
    batch_size: int = setting(4, "Patches of a step, which all processes and accumulated parts share.", ge=1)
    warmup_steps: int = setting(25, "Steps over which the rate rises.", ge=0)
    validation_steps: int = setting(200, "Steps between validations.", ge=1)


@section("ldm")
class LDMSettings(TrainingSettings):
    """The mask-conditioned denoiser: a U-Net on latents, v-prediction."""

    pretrained: str | None = setting(
        None,
        "Folder, or org/name[@revision], of a latent diffusion model to fine-tune, which brings its own network and "
        "autoencoder; its classes may differ. null: from scratch.",
    )
    block_out_channels: Sequence[Positive] = setting(
        (48, 96, 128), "Channels of each level of the U-Net.", min_length=1
    )
    attention: Sequence[bool] = setting((False, False, True), "Which levels have self-attention.", min_length=1)
    layers_per_block: int = setting(1, "Residual layers of a level.", ge=1)
    conditioning: Literal["spade", "concat"] = setting(
        "spade", "spade: the mask sets every normalisation. concat: it enters with the latents only, as the paper."
    )
    blind_above: int = setting(
        930, "Timesteps above, where the grey level is decided, are denoised without the mask; 999: none.", ge=0, le=999
    )
    mask_dropout: float = setting(0.1, "Share of patches whose mask is withheld, which guidance needs.", ge=0, lt=1)
    sample_steps: int = setting(200, "Steps between sample sheets with a memorisation ratio; 0: none.", ge=0)


@section("generate")
class GenerationSettings:
    """How micrographs are painted on masks."""

    scheduler: Literal["DPMSolverMultistepScheduler", "DDIMScheduler"] | None = setting(
        "DPMSolverMultistepScheduler", "The solver, of diffusers; null: the pipeline's own."
    )
    num_inference_steps: int = setting(20, "Steps of the solver.", ge=1, le=1000)
    guidance_scale: float = setting(1.5, "Classifier-free guidance; 1: none.", ge=0)
    batch_size: int | None = setting(None, "Images at a time; null: what memory allows.", ge=1)
    shard_rows: int = setting(128, "Images in a file.", ge=1)
