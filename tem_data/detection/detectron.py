"""What is used of detectron2, in the one place that imports it: where it is missing, the error says how to install it.

It is not on the package index under its own name, so no extra of this package can bring it.
"""

from __future__ import annotations

from tem_data.core.errors import TemDataError

# The republication is pure Python, though its wheel is tagged for 3.10: hence --target.
INSTALL = (
    "pip install --no-deps --only-binary=:all: --python-version 3.10 --implementation cp --abi none --platform any "
    '--target "$(python -c \'import sysconfig; print(sysconfig.get_path("purelib"))\')" sal-detectron2==0.7.2'
)
UPSTREAM = "pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2"

try:
    from detectron2 import model_zoo
    from detectron2.config import CfgNode, get_cfg
    from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY, build_model
    from detectron2.modeling.postprocessing import detector_postprocess
    from detectron2.modeling.proposal_generator import RPN
    from detectron2.modeling.roi_heads import StandardROIHeads
    from detectron2.structures import BitMasks, Boxes, Instances, pairwise_ioa
    from detectron2.utils.events import EventStorage
    from detectron2.utils.file_io import PathManager
except ImportError as error:
    if isinstance(error, ModuleNotFoundError) and error.name != "detectron2":
        raise  # one of its dependencies, which the extra `detection` brings
    raise TemDataError(
        f"detectron2 cannot be imported ({error}); install it by `{INSTALL}`, or build it by `{UPSTREAM}`"
    ) from error

__all__ = [
    "INSTALL",
    "PROPOSAL_GENERATOR_REGISTRY",
    "ROI_HEADS_REGISTRY",
    "RPN",
    "UPSTREAM",
    "BitMasks",
    "Boxes",
    "CfgNode",
    "EventStorage",
    "Instances",
    "PathManager",
    "StandardROIHeads",
    "build_model",
    "detector_postprocess",
    "get_cfg",
    "model_zoo",
    "pairwise_ioa",
]
