"""The mask-conditioned latent diffusion model: autoencoder, denoiser, pipeline, generation.

`DiffusionPipeline.from_pretrained` knows the pipeline once `MaskToMicrographPipeline` was imported from here, or once
this was imported after diffusers.
"""

import sys
from importlib import import_module
from typing import Any

_PLACES = {
    "Autoencoder": "autoencoder",
    "MaskToMicrographPipeline": "pipeline",
    "MicrographOutput": "output",
    "generate": "generation",
    "load_autoencoder": "autoencoder",
    "train_autoencoder": "autoencoder",
    "train_ldm": "denoiser",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Imports torch and diffusers only when a name is used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


if "diffusers" in sys.modules:
    import_module(f"{__name__}.pipeline")
