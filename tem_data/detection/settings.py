"""How Mask R-CNN is built and trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tem_data.core.settings import section, setting
from tem_data.training.settings import LoopSettings

R18: dict[str, Any] = {
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.FPN.OUT_CHANNELS": 128,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 512,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 128,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 500,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 500,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 200,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 200,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 64,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "INPUT.MIN_SIZE_TRAIN": [0],
    "INPUT.MIN_SIZE_TEST": 0,
}
NETWORKS: dict[str, dict[str, Any]] = {"r18": R18, "r50": {}}


@section("detector")
class DetectorSettings(LoopSettings):
    """Mask R-CNN by detectron2."""

    network: Literal["r18", "r50"] = setting(
        "r18", "r18: a small R18-FPN, trained in minutes on two cores. r50: detectron2's R50-FPN 3x."
    )
    config: Mapping[str, Any] = setting({}, "Any key of detectron2's configuration, over that of the network.")
    weights: str | None = setting(
        None,
        "A file, or a name of detectron2's model zoo (frozen BatchNorm, two frozen stages, as the papers); null trains "
        "from scratch, with GroupNorm.",
    )
    iterations: int = setting(800, "Steps of the optimizer.", ge=1)
    batch_size: int = setting(4, "Patches of a step, which all processes and accumulated parts share.", ge=1)
    learning_rate: float = setting(3e-4, "Highest learning rate.", gt=0)
    weight_decay: float = setting(0.01, "Weight decay.", ge=0)
    optimizer: Literal["adamw", "sgd"] = setting("adamw", "The optimizer.")
    schedule: Literal["one_cycle", "constant"] = setting(
        "one_cycle", "one_cycle, or constant after a warm-up of 1,000 iterations, as in the published code."
    )

    brightness: float = setting(20.0, "Grey levels by which a patch is made lighter or darker, at most.", ge=0)
    contrast: float = setting(0.2, "Share by which its contrast is raised or lowered, at most.", ge=0)
    blur: float = setting(1.0, "Gaussian blur of every second patch, px, at most.", ge=0)
    noise: float = setting(5.0, "Noise on every second patch, grey levels, at most.", ge=0)
    scale: float = setting(1.25, "Factor by which a batch is made larger or smaller, at most.", ge=1)
    pairs_share: float | None = setting(
        None, "Share of added pairs in the batches; null: their share among all patches.", gt=0, lt=1
    )
    real_last: float = setting(0.0, "Share of the iterations, the last ones, without added pairs.", ge=0, lt=1)

    @property
    def overrides(self) -> dict[str, Any]:
        """What differs from detectron2's configuration of R50-FPN 3x."""
        return NETWORKS[self.network] | dict(self.config)

    @property
    def steps(self) -> int:
        """As the loop calls `iterations`."""
        return self.iterations
