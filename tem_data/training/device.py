"""Where models lie."""

import os

import torch


def own_device() -> torch.device:
    """The GPU that `accelerate launch` gave to this process, the first one without it; the CPU if there is none.

    An Accelerator would say the same, but would fix the mixed precision of this process.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
