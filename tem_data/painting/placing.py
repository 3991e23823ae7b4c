"""Where new defects go: a drawn mask lends a real patch those of its defects for which the patch has room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.patches.blending import TOGETHER, remoteness, same_scale

TRIES = 20


class Placement(NamedTuple):
    """A real patch, the defects that it is to get, and the seed of what is painted there."""

    patch: Micrograph
    new: tuple[Defect, ...]
    seed: int


def place_defects(
    patches: Sequence[Micrograph], masks: Sequence[Micrograph], count: int, share: float, seed: int
) -> Iterator[Placement]:
    """`count` placements; number i of a seed is the same whatever `count` is.

    A patch is drawn at random, then a mask of its size whose nm per px differ by at most 10 % (unknown goes with
    unknown; any mask where there is none). Each of the mask's defects comes along with probability `share`, at the
    same coordinates, unless it would meet a defect that is there, labelled or ignored. Where none has room, another
    mask is drawn; after 20, the patch gets none. Raises TemDataError where sizes differ or there is no mask.
    """
    shapes = {picture.shape for picture in (*patches, *masks)}
    if not masks or len(shapes) > 1:
        sizes = ", ".join(f"{width}×{height}" for height, width in sorted(shapes))
        raise TemDataError(f"{len(masks)} masks for patches, of {sizes} px; draw masks of the patches' size")
    scales = {patch.nm_per_px for patch in patches}
    fitting = {s: [i for i, mask in enumerate(masks) if same_scale(mask.nm_per_px, s)] for s in scales}
    return (_placement(patches, masks, fitting, share, seed, number) for number in range(count))


def _placement(
    patches: Sequence[Micrograph],
    masks: Sequence[Micrograph],
    fitting: dict[float | None, list[int]],
    share: float,
    seed: int,
    number: int,
) -> Placement:
    rng = np.random.default_rng([seed, number])
    patch = patches[int(rng.integers(len(patches)))]
    of_scale = fitting[patch.nm_per_px] or range(len(masks))
    new: tuple[Defect, ...] = ()
    for _ in range(TRIES):
        mask = masks[rng.choice(of_scale)]
        new = with_room(patch, [d for d in mask.defects if not d.ignore and rng.random() < share])
        if new:
            break
    return Placement(patch, new, int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def with_room(patch: Micrograph, defects: Sequence[Defect]) -> tuple[Defect, ...]:
    """Those of `defects`, in order, that meet neither what the patch shows nor each other."""
    taken, kept = list(patch.defects), []
    for defect in defects:
        x, y, width, height = defect.bbox
        near = remoteness(taken, patch.shape)[y : y + height, x : x + width]
        if near[defect.mask].min() > TOGETHER:
            taken.append(defect)
            kept.append(defect)
    return tuple(kept)
