"""Read and write the network of a detector; a received one can do no harm."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from fvcore.common.config import BASE_KEY
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tem_data.core.errors import TemDataError
from tem_data.detection.about import ABOUT
from tem_data.detection.detectron import CfgNode, build_model, get_cfg
from tem_data.detection.scores import SCORES
from tem_data.training.device import own_device

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
# What yaml, yacs and detectron2 raise for a configuration that is none.
_FAULTS = (OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError, yaml.YAMLError)


def write_network(model: nn.Module, cfg: CfgNode, folder: Path) -> None:
    """`model.safetensors` and `config.yaml`, detectron2's own."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "cpu"
    (folder / CONFIG).write_text(cfg.dump())


def read_network(folder: Path, device: str | None) -> tuple[CfgNode, nn.Module]:
    """The inverse of `write_network`. Raises TemDataError where the folder holds no network that it wrote."""
    if not (folder / WEIGHTS).is_file():
        raise TemDataError(f"{folder} holds no {WEIGHTS}; expected a folder written by train-detector")
    cfg, model = _received(folder / CONFIG, _checked(device))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise TemDataError(
            f"{folder / WEIGHTS}: expected the weights of the network that {CONFIG} beside it describes "
            f"({str(error).splitlines()[0]}); train the detector again, or fetch it anew"
        ) from error
    return cfg, model


def downloaded(name: str) -> Path:
    """The folder of `org/name[@revision]` in the cache. Raises TemDataError where it cannot be had."""
    from tem_data.download.fetching import fetch

    try:
        return fetch(name, [WEIGHTS, CONFIG, ABOUT, SCORES]).folder
    except TemDataError as error:
        raise TemDataError(f"detector {name}: {error}") from error


def _checked(device: str | None) -> torch.device:
    if device is None:
        return own_device()
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise TemDataError(
            f"device {device!r}: {str(error).splitlines()[0]}; give cpu, cuda or cuda:N, or leave it out"
        ) from error


def _received(path: Path, device: torch.device) -> tuple[CfgNode, nn.Module]:
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
        cfg.MODEL.DEVICE = str(device)
        return cfg, build_model(cfg)
    except _FAULTS as error:
        reason = " ".join(str(error).split())
        raise TemDataError(f"{path}: expected the file that train-detector wrote ({reason})") from error
