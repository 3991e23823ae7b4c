"""What a detector knows about itself, from the patches that it was trained on: `config.json` of its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph

ABOUT = "config.json"
LARGEST_BYTES = 1_000_000

Content = TypeVar("Content")
Count = Annotated[int, Field(ge=0, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("each name once")
    return names


@dataclass(frozen=True)
class Scale:
    """The nm per px of the training patches: their median, least and greatest."""

    median: Positive
    low: Positive
    high: Positive


@dataclass(frozen=True)
class About:
    """`tile` is the side of the training patches, px; `micrographs` says how many these were cut from.

    `nm_per_px` is None where no patch was calibrated. `grey_mean` and `grey_std` are in grey levels 0–255.
    """

    classes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000), AfterValidator(_each_once)]
    network: Annotated[str, Field(max_length=100)]
    tile: Annotated[int, Field(ge=16, le=8192)]
    nm_per_px: Scale | None
    micrographs: Count
    grey_mean: Annotated[float, Field(ge=0, le=255)]
    grey_std: Annotated[float, Field(ge=0, le=255)]


def about_patches(patches: Sequence[Micrograph], classes: Sequence[str], network: str) -> About:
    """What is known of a detector that is trained on these patches."""
    grey = np.concatenate([patch.pixels.ravel()[::16] for patch in patches])
    return About(
        classes=tuple(classes),
        network=network,
        tile=patches[0].shape[0],
        nm_per_px=scale_of([patch.nm_per_px for patch in patches if patch.nm_per_px]),
        micrographs=len({patch.micrograph_id for patch in patches}),
        grey_mean=float(grey.mean()),
        grey_std=float(grey.std()),
    )


def scale_of(nm_per_px: Sequence[float]) -> Scale | None:
    """None where there is none."""
    if not nm_per_px:
        return None
    return Scale(float(np.median(nm_per_px)), float(min(nm_per_px)), float(max(nm_per_px)))


def read_about(folder: str | os.PathLike) -> About:
    """Raises TemDataError where a folder has no `config.json` that `train-detector` wrote."""
    path = Path(folder, ABOUT)
    about = read_strictly(path, About)
    if about.nm_per_px and not about.nm_per_px.low <= about.nm_per_px.median <= about.nm_per_px.high:
        raise TemDataError(f"{path}: nm_per_px: expected low ≤ median ≤ high, found {about.nm_per_px}; fetch it anew")
    return about


def read_strictly(path: str | os.PathLike, kind: type[Content]) -> Content:
    """A JSON file, which may be a stranger's, as the dataclass `kind`; keys that it does not have are passed over.

    Raises TemDataError that names the first key that is missing or of another type or size.
    """
    try:
        if os.path.getsize(path) > LARGEST_BYTES:
            raise ValueError(f"it is larger than {LARGEST_BYTES:,} bytes")
        return _adapter(kind).validate_json(Path(path).read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise TemDataError(
        f"{path}: expected the file that was written with a trained detector ({' '.join(reason.split())[:300]}); "
        "train the detector again, or fetch it anew"
    )


def _adapter(kind: type[Content]) -> TypeAdapter[Any]:
    config = ConfigDict(allow_inf_nan=False, extra="ignore")
    kind.__pydantic_config__ = config  # type: ignore[attr-defined]
    return TypeAdapter(kind)
