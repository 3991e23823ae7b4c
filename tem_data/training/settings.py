"""How a network is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tem_data.core.settings import section, setting


@section("training")
class LoopSettings:
    """What every training has: processes, precision, checkpoints and trackers."""

    batch_size: int = setting(16, "Patches of a step, which all processes and accumulated parts share.", ge=1)
    gradient_accumulation_steps: int = setting(1, "Parts of a batch that are computed one after the other.", ge=1)
    mixed_precision: Literal["no", "fp16", "bf16"] = setting("no", "Precision of the network; fp16 needs a GPU.")
    max_grad_norm: float = setting(1.0, "Norm at which the gradient is clipped; 0 does not clip.", ge=0)
    checkpointing_steps: int = setting(100, "Steps between checkpoints.", ge=1)
    checkpoints_total_limit: int = setting(2, "How many checkpoints stay.", ge=1)
    report_to: Sequence[Literal["tensorboard", "dvclive"]] = setting((), "Trackers: tensorboard, dvclive.")

    if TYPE_CHECKING:  # each training has a setting for it

        @property
        def steps(self) -> int: ...


@section("training")
class TrainingSettings(LoopSettings):
    """AdamW under a rate that rises linearly and falls to 0 as a cosine; the result is an average of the weights."""

    steps: int = setting(800, "Steps of the optimizer.", ge=1)
    learning_rate: float = setting(1e-3, "Highest learning rate.", gt=0)
    warmup_steps: int = setting(30, "Steps over which the rate rises.", ge=0)
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", ge=0)
    ema_decay: float = setting(0.98, "Decay of the average of the weights.", ge=0, lt=1)
    validation_steps: int = setting(100, "Steps between validations.", ge=1)
    validation_patches: int = setting(64, "Evenly spaced validation patches.", ge=1)
    sample_steps: int = setting(0, "Steps between sample sheets with a memorisation ratio; 0: none.", ge=0)
    patience: int = setting(0, "Validations without a better val_loss until training stops; 0: never.", ge=0)
    min_memorisation_ratio: float = setting(
        0.0, "Training stops below this median distance to training over held-out patches; 0: never.", ge=0
    )
