"""The mask-conditioned latent diffusion model: autoencoder, denoiser, pipeline, generation."""

from tem_data.diffusion.autoencoder import Autoencoder, load_autoencoder, train_autoencoder
from tem_data.diffusion.denoiser import train_ldm
from tem_data.diffusion.generation import generate
from tem_data.diffusion.pipeline import MaskToMicrographPipeline

__all__ = [
    "Autoencoder",
    "MaskToMicrographPipeline",
    "generate",
    "load_autoencoder",
    "train_autoencoder",
    "train_ldm",
]
