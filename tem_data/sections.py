"""All sections of params.yaml, and conf/defaults.yaml, which is made of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, asdict, is_dataclass
from importlib import import_module
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from tem_data.core.settings import default_of, fields_of, section, setting

SECTIONS = {
    "launch": "tem_data.sections:LaunchSettings",
    "import": "tem_data.importing.settings:ImportSettings",
    "split": "tem_data.splits.schemes:SplitSettings",
    "study": "tem_data.study.arms:StudySettings",
    "patch": "tem_data.patches.settings:PatchSettings",
    "copy_paste": "tem_data.patches.settings:CopyPasteSettings",
    "shapes": "tem_data.masks.settings:ShapeSettings",
    "masks": "tem_data.masks.settings:MaskSettings",
    "autoencoder": "tem_data.diffusion.settings:AutoencoderSettings",
    "ldm": "tem_data.diffusion.settings:LDMSettings",
    "generate": "tem_data.diffusion.settings:GenerationSettings",
    "detector": "tem_data.detection.settings:DetectorSettings",
    "judges": "tem_data.judges.settings:JudgeSettings",
    "paint": "tem_data.painting.settings:PaintSettings",
    "evaluate": "tem_data.scoring.evaluation:EvaluationSettings",
    "materials": "tem_data.materials.hardening:Materials",
    "cards": "tem_data.cards.settings:CardSettings",
}
WIDTH = 118
# Groups of conf/ choose these; a mapping there would be laid over one that stood in the defaults, not take its place.
CHOSEN = {
    "import": ("classes", "ignored"),
    "materials": ("size", "barrier_strength"),
    "study": ("arms", "added", "models", "generated", "painted", "copy_paste"),
}


@section("launch")
class LaunchSettings:
    """What starts the module of each stage; on several GPUs or a cluster `accelerate launch -m`, `srun python -m`."""

    default: str = setting("python -m", "Of all stages that are not named below.")
    train_ldm: str = setting("python -m", "Of train_autoencoder and train_ldm.")
    generate: str = setting("python -m", "Of generate and paint.")
    train_detector: str = setting("python -m", "Of train_detector and train_judges.")


def all_sections() -> dict[str, type]:
    """The dataclass of each section, by name."""
    found = {}
    for name, place in SECTIONS.items():
        module, _, kind = place.partition(":")
        found[name] = getattr(import_module(module), kind)
    return found


def defaults_yaml() -> str:
    """All settings with their defaults and what they mean, as YAML."""
    parts = ["# All settings and their defaults. Made by `tem-data settings`; the code is where they are changed."]
    for name, kind in all_sections().items():
        lines = [f"# {line}" for line in textwrap.wrap((kind.__doc__ or "").splitlines()[0], WIDTH)]
        for key, field in fields_of(kind).items():
            lines += _lines(key, field, commented=key in CHOSEN.get(name, ()))
        parts.append("\n".join([f"{name}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts) + "\n"


def _lines(key: str, field: FieldInfo, commented: bool) -> list[str]:
    default = default_of(field)
    if is_dataclass(default):
        shown: Any = asdict(default)  # type: ignore[arg-type]
    else:
        shown = _plain(default)
    value = f"{key}: {_flow(shown)}"
    mark = "# " if commented or default is MISSING else ""
    help_lines = textwrap.wrap(field.description or "", WIDTH - 4)
    return [*(f"# {line}" for line in help_lines), mark + value]


def _flow(value: Any) -> str:
    options = {"default_flow_style": True, "width": 10**6, "sort_keys": False, "allow_unicode": True}
    return yaml.safe_dump([value], **options).strip()[1:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(held) for key, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, (list, tuple)) else value
