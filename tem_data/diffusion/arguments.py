"""What a call of the pipeline is given, checked and made one of each for each picture."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from tem_data.core.errors import TemDataError
from tem_data.diffusion.conditioning import Conditioning, instance_edges
from tem_data.diffusion.mask_input import class_masks, instance_maps

# The column `seed` of a dataset has 64 bits with a sign.
HIGHEST_SEED = 2**63 - 1
# Seeds that are drawn: torch's generator on the CPU takes the lowest 32 bits of a seed only.
DRAWN_SEEDS = 2**32


class Asked(NamedTuple):
    """What N pictures are to show, and the seed of each."""

    conditioning: Conditioning
    seeds: list[int]


def asked_pictures(
    masks: Any, seeds: Any, instances: Any, nm_per_px: Any, generator: Any, images_per_mask: Any, n_classes: int
) -> Asked:
    """The arguments of these names of a call of the pipeline, each mask `images_per_mask` times.

    Raises TemDataError, which names the argument, where one is not as it should be.
    """
    repeats = whole_number(images_per_mask, "images_per_mask", 1)
    values = class_masks(masks, n_classes)
    edges = instance_edges(values if instances is None else instance_maps(instances, values.shape))
    sizes = _pixel_sizes(nm_per_px, len(values))
    each = _seeds(seeds, generator, len(values) * repeats)
    if len(each) != len(values) * repeats or len(sizes) != len(values):
        times = "" if repeats == 1 else f", and a seed for each of the {repeats} pictures of a mask"
        raise TemDataError(
            f"{len(values)} masks but {len(each)} seeds and {len(sizes)} pixel sizes; give one of each for each mask"
            f"{times}"
        )
    told = Conditioning(values, edges, np.array(sizes, np.float32))
    return Asked(told.take(np.repeat(np.arange(len(values)), repeats)), each)


def _seeds(seeds: Any, generator: Any, pictures: int) -> list[int]:
    if seeds is None:
        return _drawn_seeds(generator, pictures)
    if generator is not None:
        raise TemDataError("seeds and generator: expected one of them, found both; leave one out")
    if _is_many(seeds):
        return [whole_number(seed, f"seeds[{i}]", 0, HIGHEST_SEED) for i, seed in enumerate(_listed(seeds))]
    first = whole_number(seeds, "seeds", 0, HIGHEST_SEED)
    whole_number(first + pictures - 1, "the last of consecutive seeds", 0, HIGHEST_SEED)
    return list(range(first, first + pictures))


def _drawn_seeds(generator: Any, pictures: int) -> list[int]:
    if generator is None:
        generator = torch.default_generator
    many = isinstance(generator, (list, tuple))
    each = list(generator) if many else [generator] * pictures
    if wrong := [item for item in each if not isinstance(item, torch.Generator)]:
        raise TemDataError(f"generator: expected a torch.Generator, or one for each picture, found {shown(wrong[0])}")
    if len(each) != pictures:
        raise TemDataError(f"generator: expected one, or one for each of {pictures} pictures, found {len(each)}")
    return [int(torch.randint(DRAWN_SEEDS, (), generator=item, device=item.device)) for item in each]


def _pixel_sizes(nm_per_px: Any, masks: int) -> list[float]:
    """One a mask; NaN stands for one that is not known."""
    if _is_many(nm_per_px):
        return [_pixel_size(size, f"nm_per_px[{number}]") for number, size in enumerate(_listed(nm_per_px))]
    return [_pixel_size(nm_per_px, "nm_per_px")] * masks


def _pixel_size(size: Any, name: str) -> float:
    if size is None:
        return math.nan
    number = _number(size)
    # the denoiser takes it in 32 bits
    if number is None or not 1e-30 < number < 1e30:
        raise TemDataError(
            f"{name}: expected a pixel size in nm above 0, or None where it is not known; found {shown(size)}"
        )
    return float(number)


def whole_number(value: Any, name: str, lowest: int, highest: int | None = None) -> int:
    """`value` as an int. Raises TemDataError where it is none from `lowest` to `highest`."""
    number = _number(value)
    if number is None or number != number or abs(number) == math.inf or number != int(number):
        found: Any = None
    else:
        found = int(number)
    if found is None or found < lowest or (highest is not None and found > highest):
        limits = f"from {lowest} on" if highest is None else f"from {lowest} to {highest}"
        raise TemDataError(f"{name}: expected a whole number {limits}, found {shown(value)}")
    return found


def number_from_0(value: Any, name: str) -> float:
    """`value` as a float. Raises TemDataError where it is below 0 or not finite."""
    number = _number(value)
    if number is None or not 0 <= number <= sys.float_info.max:
        raise TemDataError(f"{name}: expected a number from 0 on, found {shown(value)}")
    return float(number)


def one_of(value: Any, name: str, known: Sequence[str]) -> str:
    """`value`. Raises TemDataError where it is none of `known`."""
    if not isinstance(value, str) or value not in known:
        raise TemDataError(f"{name}: expected {', '.join(known)}; found {shown(value)}")
    return value


def function_or_none(value: Any, name: str) -> Callable[..., Any] | None:
    """`value`. Raises TemDataError where it can not be called."""
    if value is not None and not callable(value):
        raise TemDataError(f"{name}: expected a function, found {shown(value)}")
    return value


def shown(value: Any) -> str:
    """What was found, in a few words on one line."""
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        text = repr(value.item() if isinstance(value, np.generic) else value)
        return text if len(text) <= 60 else f"{text[:57]}…"
    return f"a {type(value).__name__}"


def _number(value: Any) -> int | float | None:
    """Of Python, NumPy or torch; None for what is no number, as True is not."""
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)) and value.ndim == 0:
        value = value.item()
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _is_many(values: Any) -> bool:
    if isinstance(values, (str, bytes)):
        return False
    return isinstance(values, Sequence) or (hasattr(values, "tolist") and getattr(values, "ndim", 0) > 0)


def _listed(values: Any) -> list[Any]:
    """Items of a sequence, an array, a tensor, a column of a table."""
    return values.tolist() if hasattr(values, "tolist") else list(values)
