"""Copy-paste: experimental defects on experimental backgrounds, the baseline that generated pairs must beat.

After Ghiasi et al. (2021), "Simple Copy-Paste is a Strong Data Augmentation
Method for Instance Segmentation", with two changes for transmission
micrographs. A defect brings its contrast, that is the ratio of its grey levels
to those of the background around it, and not its grey levels. And where it
falls on another defect both stay visible and keep their whole masks, as in
projection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from pycocotools import mask as rle_ops

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, symmetric
from tem_data.patches.blending import TOGETHER, blend_weight, remoteness, same_scale
from tem_data.patches.cutting import SYMMETRIES

BACKGROUND_SIGMA_PX = 24.0
BACKGROUND_PRIOR = 0.02
COINCIDENT_IOU = 0.5
TRIES = 20


def copy_paste_patches(patches: Sequence[Micrograph], count: int, seed: int) -> Iterator[Micrograph]:
    """`count` patches of origin `copypaste`; item i of a seed is the same whatever `count` is.

    A background is any of `patches`. Its donor is one of another micrograph
    whose nm per px differ by at most 10 % (unknown goes with unknown), or of
    its own micrograph where there is no other. The donor, in a random symmetry,
    gives each of its `pasteable` groups with probability 1/2, at the same
    coordinates, so that what an edge cuts stays at the edge. Where nothing is
    given, another donor is drawn; after 20, the background stays as it is.
    The patch keeps the background's `micrograph_id` and window; `checkpoint`
    names the donor. Raises TemDataError where the patches do not fit together
    or none has a donor.
    """
    _check(patches)
    donors = _donors(patches)
    backgrounds = np.flatnonzero([len(donors[patch.micrograph_id]) for patch in patches])
    if not backgrounds.size:
        raise TemDataError("no patch holds a defect that can be pasted; look at the patch stage's counts")
    return (_item(patches, backgrounds, donors, seed, index) for index in range(count))


def pasteable(donor: Micrograph) -> list[list[Defect]]:
    """The defects of a patch in groups that can only be pasted together, for they overlap or nearly touch.

    A group with an ignored defect is left out: it would show what is not labelled.
    """
    near = remoteness(donor.defects, donor.shape) <= TOGETHER
    number = cv2.connectedComponents(near.astype(np.uint8), connectivity=8)[1]
    groups: dict[int, list[Defect]] = {}
    for defect in donor.defects:
        x, y, w, h = defect.bbox
        groups.setdefault(int(number[y : y + h, x : x + w][defect.mask][0]), []).append(defect)
    return [group for group in groups.values() if not any(d.ignore for d in group)]


def paste_defects(background: Micrograph, donor: Micrograph, defects: Sequence[Defect]) -> Micrograph:
    """The background with `defects` of the donor, a patch of the same shape, at the same coordinates.

    In a pasted defect the picture is (background's local background) × (donor /
    donor's local background), which brings the donor's noise along in place of
    the background's own and not on top of it. Only under other defects is it
    background × (donor / donor's local background).
    """
    contrast = donor.image / local_background(donor)
    own = blend_weight(background.defects, background.shape)
    below = own * background.image + (1 - own) * local_background(background)
    weight = blend_weight(defects, donor.shape)
    image = (1 - weight) * background.image + weight * below * contrast
    return replace(
        background,
        image=np.clip(np.rint(image), 0, 255).astype(np.uint8),
        defects=(*background.defects, *defects),
        origin="copypaste",
    )


def local_background(patch: Micrograph) -> np.ndarray:
    """The grey level that each pixel would have without defects, `(height, width) float32`, at least 1.

    A Gaussian mean over the pixels that no defect reaches (normalised
    convolution), drawn to their median where there are few of them near.
    """
    free = remoteness(patch.defects, patch.shape) >= 1
    image = patch.pixels
    usual = float(np.median(image[free] if free.any() else image))
    share, grey = (
        cv2.GaussianBlur(a.astype(np.float32), (0, 0), BACKGROUND_SIGMA_PX, borderType=cv2.BORDER_CONSTANT)
        for a in (free, free * image)
    )
    return np.maximum((grey + BACKGROUND_PRIOR * usual) / (share + BACKGROUND_PRIOR), 1)


def _item(
    patches: Sequence[Micrograph], backgrounds: np.ndarray, donors: dict[str, np.ndarray], seed: int, index: int
) -> Micrograph:
    rng = np.random.default_rng([seed, index])
    background = patches[rng.choice(backgrounds)]
    for _ in range(TRIES):
        donor = patches[rng.choice(donors[background.micrograph_id])]
        turned = symmetric(donor, int(rng.integers(SYMMETRIES)))
        groups = [g for g in pasteable(turned) if rng.random() < 0.5 and not _coincide(g, background)]
        if groups:
            pasted = paste_defects(background, turned, [d for group in groups for d in group])
            return replace(pasted, seed=seed, checkpoint=f"donor:{donor.micrograph_id}@{donor.x},{donor.y}")
    return replace(background, origin="copypaste", seed=seed)


def _check(patches: Iterable[Micrograph]) -> None:
    shape = None
    for patch in patches:
        shape = shape or patch.shape
        if patch.image is None or patch.shape != shape or shape[0] != shape[1]:
            raise TemDataError(
                f"{patch.micrograph_id}: expected square patches of one size, each with an image; "
                "give a dataset folder written by `tem-data patch`"
            )


def _donors(patches: Sequence[Micrograph]) -> dict[str, np.ndarray]:
    """For each micrograph the numbers of the patches that may give defects to its own."""
    scale = {patch.micrograph_id: patch.nm_per_px for patch in patches}
    giving: dict[str, list[int]] = {}
    for i, patch in enumerate(patches):
        if not all(d.ignore for d in patch.defects):
            giving.setdefault(patch.micrograph_id, []).append(i)

    def of(name: str) -> np.ndarray:
        others = [g for g in giving if g != name and same_scale(scale[g], scale[name])]
        return np.array([i for g in others or [name] for i in giving.get(g, ())], int)

    return {name: of(name) for name in scale}


def _coincide(group: Sequence[Defect], background: Micrograph) -> bool:
    """Whether a defect lies so much on one of the background that nobody would label two."""
    pasted, present = ([d.rle(*background.shape) for d in defects] for defects in (group, background.defects))
    return bool(np.any(np.asarray(rle_ops.iou(pasted, present, [0] * len(present))) > COINCIDENT_IOU))
