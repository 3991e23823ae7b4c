"""Draw new multi-class masks from fitted shapes.

First a micrograph's character (its densities, pixel size and how large its
defects are), then the defects: how many by Poisson's law, each with the size,
aspect ratio and angle of a measured one, its size smoothed by a narrow kernel.
They lie at random on a canvas larger than the patch, so that the patch's edges
cut them as a crop does. Whether they may overlap is up to the caller: on real
micrographs they do, [P26] forbids it.
"""

from __future__ import annotations

import numpy as np

from tem_data.micrograph import Defect, Micrograph, defect_from_ellipse, paste
from tem_data.shapes import ClassShapes, Shapes

SIZE_KERNEL = 0.1
PRIOR_DEFECTS = 5
TRIES = 20


def sample_mask(shapes: Shapes, size_px: int, seed: int, index: int, overlap: bool = True) -> Micrograph:
    """Mask `index` of seed `seed`: a patch without a picture, origin `sim`. It depends on nothing else.

    Without `overlap` a defect that would lie on another is drawn again, at most
    `TRIES` times, and then left out.
    """
    rng = np.random.default_rng([seed, index])
    number = int(rng.integers(len(shapes.fields)))
    field = shapes.fields[number]
    largest = max(max(c.major, default=0.0) for c in shapes.classes.values())
    margin = int(np.ceil(largest / field.unit_per_px / 2))
    side = size_px + 2 * margin
    defects: list[Defect] = []
    taken = np.zeros((size_px, size_px), bool)
    for name, fitted in shapes.classes.items():
        if fitted.major:
            expected = field.counts[name] / field.area * (side * field.unit_per_px) ** 2
            for _ in range(rng.poisson(expected)):
                for _ in range(1 if overlap else TRIES):
                    defect = _draw(rng, name, fitted, number, field.unit_per_px, margin, size_px)
                    if overlap or defect is None or not _lies_on(taken, defect):
                        break
                else:
                    continue
                if defect is not None:
                    paste(taken, defect, True)
                    defects.append(defect)
    return Micrograph(
        micrograph_id=f"sim-{seed}-{index:06d}",
        image=None,
        defects=tuple(defects[i] for i in rng.permutation(len(defects))),
        shape=(size_px, size_px),
        nm_per_px=field.unit_per_px if shapes.unit == "nm" else None,
        scene=f"sim-{seed}-{index:06d}",
        origin="sim",
        seed=seed,
    )


def _draw(
    rng: np.random.Generator, name: str, fitted: ClassShapes, number: int, unit_per_px: float, margin: int, size_px: int
) -> Defect | None:
    model = int(rng.integers(len(fitted.major)))
    shift = _log_size(fitted, number) - _log_size(fitted, fitted.micrograph[model])
    major = fitted.major[model] * np.exp(shift + SIZE_KERNEL * rng.standard_normal()) / unit_per_px
    x, y = rng.uniform(-margin, size_px + margin, 2)
    return defect_from_ellipse(
        name, x, y, major, major * fitted.aspect[model], fitted.angle_deg[model], (size_px, size_px)
    )


def _lies_on(taken: np.ndarray, defect: Defect) -> bool:
    x, y, w, h = defect.bbox
    return bool((taken[y : y + h, x : x + w] & defect.mask).any())


def _log_size(fitted: ClassShapes, micrograph: int) -> float:
    """Mean log size on one micrograph, drawn towards the mean of all by a prior of `PRIOR_DEFECTS` defects."""
    logs = np.log(fitted.major)
    own = logs[np.asarray(fitted.micrograph) == micrograph]
    return float((own.sum() + PRIOR_DEFECTS * logs.mean()) / (own.size + PRIOR_DEFECTS))
