"""Build a Mask R-CNN."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tem_data.core.errors import SettingError, TemDataError
from tem_data.detection.detectron import CfgNode, PathManager, build_model, get_cfg, model_zoo
from tem_data.detection.settings import DetectorSettings
from tem_data.training.device import own_device

BASE = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"


def detector_config(settings: DetectorSettings, classes: Sequence[str], grey_mean: float, grey_std: float) -> CfgNode:
    """detectron2's R50-FPN 3x configuration, ours, then `settings.config`; `grey_*` in grey levels 0–255."""
    cfg = get_cfg()
    cfg.merge_from_file(model_zoo.get_config_file(BASE))
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(classes)
    cfg.MODEL.WEIGHTS = ""
    cfg.INPUT.MASK_FORMAT = "bitmask"
    if settings.weights is None:
        cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [grey_mean] * 3, [grey_std] * 3
        cfg.MODEL.BACKBONE.FREEZE_AT = 0
        cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False
        for node in (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_MASK_HEAD):
            node.NORM = "GN"
    try:
        cfg.merge_from_list([part for item in settings.overrides.items() for part in item])
    except (KeyError, ValueError, AssertionError) as error:
        raise SettingError("detector", "config", f"detectron2 says: {error}") from error
    cfg.MODEL.DEVICE = str(own_device())
    return cfg


def new_network(cfg: CfgNode, weights: str | None, seed: int) -> nn.Module:
    """A Mask R-CNN with weights drawn from `seed`, over which `weights`, where given, are laid.

    Raises TemDataError for a configuration that detectron2 cannot build and for weights that do not fit it.
    """
    torch.manual_seed(seed)
    try:
        model = build_model(cfg)
    except (KeyError, ValueError, AssertionError) as error:
        raise SettingError("detector", "config", f"detectron2 says: {error}") from error
    if weights is not None:
        _lay_over(model, _read_weights(weights), weights)
    return model


class _ArraysOnly(pickle.Unpickler):
    """Reads the model zoo's pickles, which hold arrays, and refuses anything else in a pickle."""

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
        ("collections", "OrderedDict"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise TemDataError(f"the weights hold a pickled {module}.{name}, which is refused: expected arrays only")
        return super().find_class(module, name)


def _read_weights(weights: str) -> dict[str, torch.Tensor]:
    path = Path(weights)
    if not path.is_file():
        try:
            path = Path(PathManager.get_local_path(model_zoo.get_checkpoint_url(weights)))
        except Exception as error:  # iopath passes on whatever its transport raises
            raise SettingError(
                "detector", "weights", f"{weights!r} is no file, and detectron2's model zoo did not give it: {error}"
            ) from error
    try:
        content = _load(path)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingError("detector", "weights", f"{weights!r} cannot be read as weights: {reason}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model", content), dict):
        raise SettingError(
            "detector", "weights", f"{weights!r} hold a {type(content).__name__}; expected tensors by name"
        )
    arrays = content.get("model", content)
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in arrays.items()}


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".pkl":
        with open(path, "rb") as stream:
            return _ArraysOnly(stream, encoding="latin1").load()
    return torch.load(path, map_location="cpu", weights_only=True)


def _lay_over(model: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Takes every tensor whose name and shape the model has; the heads of other classes stay new."""
    own = model.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == getattr(v, "shape", None)}
    backbone = [k for k in own if k.startswith("backbone.")]
    if not all(k in fitting for k in backbone):
        raise SettingError("detector", "weights", f"{name!r} do not fit the backbone that detector.config describes")
    model.load_state_dict(fitting, strict=False)
    kept = sorted(set(own) - set(fitting) - {"pixel_mean", "pixel_std"})
    if kept:
        print(f"weights {name}: {len(fitting)} tensors taken, {len(kept)} stay new: {', '.join(kept)}")
