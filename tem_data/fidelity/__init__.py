"""How generated pairs compare with real ones, and what two sets of real ones would give.

`contrast`, `texture`, `distance` and `memorisation` each measure one thing on
pictures or their features; `comparison` puts them together, each beside its
real-against-real value. None of them needs detectron2 until a detector's
features are asked for.
"""

from tem_data.fidelity.comparison import QUANTITIES, ClosePair, Measured, PictureComparison, compare_pictures
from tem_data.fidelity.contrast import Contrasts, contrast_ratio, measure_contrasts
from tem_data.fidelity.distance import Kid, detector_features, kid
from tem_data.fidelity.memorisation import Copies, Nearest, find_copies, nearest_real, nearest_training
from tem_data.fidelity.texture import Textures, measure_textures, spectrum_distance, texture_distances

__all__ = [
    "QUANTITIES",
    "ClosePair",
    "Contrasts",
    "Copies",
    "Kid",
    "Measured",
    "Nearest",
    "PictureComparison",
    "Textures",
    "compare_pictures",
    "contrast_ratio",
    "detector_features",
    "find_copies",
    "kid",
    "measure_contrasts",
    "measure_textures",
    "nearest_real",
    "nearest_training",
    "spectrum_distance",
    "texture_distances",
]
