"""Build, save and load a Mask R-CNN."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from fvcore.common.config import BASE_KEY
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tem_data.core.errors import SettingError, TemDataError
from tem_data.core.files import atomic_write, read_json, write_json
from tem_data.detection.detectron import CfgNode, PathManager, build_model, get_cfg, model_zoo
from tem_data.detection.settings import DetectorSettings
from tem_data.training.device import own_device

# What yaml, yacs and detectron2 raise for a configuration that is none.
_FAULTS = (OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError, yaml.YAMLError)
BASE = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"


@dataclass(frozen=True)
class Detector:
    """A Mask R-CNN, its detectron2 configuration and its classes."""

    model: nn.Module
    cfg: CfgNode
    classes: tuple[str, ...]


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


def new_detector(cfg: CfgNode, classes: Sequence[str], weights: str | None, seed: int) -> Detector:
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
    return Detector(model, cfg, tuple(classes))


def save_detector(detector: Detector, folder: str | os.PathLike) -> None:
    """`model.safetensors`, `config.yaml` (detectron2's own) and `classes.json`, whole or not at all."""
    with atomic_write(folder) as draft:
        draft.mkdir()
        weights = {name: tensor.cpu().contiguous() for name, tensor in detector.model.state_dict().items()}
        save_file(weights, draft / "model.safetensors")
        cfg = detector.cfg.clone()
        cfg.MODEL.DEVICE = "cpu"
        (draft / "config.yaml").write_text(cfg.dump())
        write_json(draft / "classes.json", list(detector.classes))


def load_detector(name_or_folder: str | os.PathLike) -> Detector:
    """The inverse of `save_detector`, on the GPU where there is one; also of `org/name[@revision]` on the Hub.

    A received model can do no harm. Raises TemDataError where it is not one that
    `save_detector` wrote, or cannot be had from the Hub as it was published.
    """
    folder = Path(name_or_folder)
    if not folder.is_dir():
        folder = _downloaded(str(name_or_folder))
    if not (folder / "model.safetensors").is_file():
        raise TemDataError(f"{folder} holds no model.safetensors; expected a folder written by train-detector")
    cfg, model = _received(folder / "config.yaml")
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, RuntimeError) as error:
        raise TemDataError(
            f"{folder / 'model.safetensors'}: expected the weights of the network that config.yaml beside it describes "
            f"({str(error).splitlines()[0]}); train the detector again, or fetch it anew"
        ) from error
    return Detector(model.eval(), cfg, tuple(read_json(folder / "classes.json")))


def _received(path: Path) -> tuple[CfgNode, nn.Module]:
    """The configuration of a file that may be a stranger's, and its network: no other file or address is opened."""
    cfg = get_cfg()
    try:
        # Not by merge_from_file, which fetches whatever `_BASE_` names.
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"it holds a {type(settings).__name__}, not settings by name")
        if BASE_KEY in settings:
            raise ValueError(f"{BASE_KEY} names another file, {settings[BASE_KEY]!r}, which is refused")
        if settings.get("VERSION", cfg.VERSION) != cfg.VERSION:
            raise ValueError(f"it is of version {settings['VERSION']} of detectron2's settings, not {cfg.VERSION}")
        cfg.merge_from_other_cfg(CfgNode(settings))
        cfg.MODEL.WEIGHTS = ""
        cfg.MODEL.DEVICE = str(own_device())
        return cfg, build_model(cfg)
    except _FAULTS as error:
        reason = " ".join(str(error).split())
        raise TemDataError(f"{path}: expected the file that train-detector wrote ({reason})") from error


def _downloaded(name: str) -> Path:
    from tem_data.download.fetching import fetch

    try:
        return fetch(name, ["model.safetensors", "config.yaml", "classes.json"]).folder
    except TemDataError as error:
        raise TemDataError(f"detector {name}: {error}") from error


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
