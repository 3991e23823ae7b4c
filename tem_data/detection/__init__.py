"""Mask R-CNN by detectron2. Only its Python is used here: ROIAlign and NMS are torchvision's.

`Detector.from_pretrained` loads a trained one, `Detector.predict` finds the defects on a micrograph.
"""

import warnings
from importlib import import_module
from typing import Any

_PLACES = {
    "About": "about",
    "Detector": "detector",
    "DetectorScores": "scores",
    "Plan": "scale",
    "Prediction": "detector",
    "Scale": "about",
}
__all__ = list(_PLACES)

warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")
warnings.filterwarnings("ignore", message=".*torch.meshgrid.*")


def __getattr__(name: str) -> Any:
    """Imports torch and detectron2 only when a name needs them."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
