"""Mask R-CNN by detectron2: the one place that imports it.

detectron2 is not on the package index under its own name; README.md says how
it is installed. Only its Python is used here: ROIAlign and NMS are torchvision's.
"""

import warnings

from tem_data.core.errors import TemDataError

warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")
warnings.filterwarnings("ignore", message=".*torch.meshgrid.*")

try:
    import detectron2  # noqa: F401
except ImportError as error:
    raise TemDataError(
        f"detectron2 cannot be imported ({error}); run `make setup`, or install it as README.md says"
    ) from error
