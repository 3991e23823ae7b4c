"""Mask R-CNN by detectron2. Only its Python is used here: ROIAlign and NMS are torchvision's."""

import warnings

warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")
warnings.filterwarnings("ignore", message=".*torch.meshgrid.*")
