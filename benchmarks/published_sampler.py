"""The published sampler re-created in a few lines ([P26] section 2.2 and its code), to compare ours with.

Shapes are fitted on patches, cut defects among them; the number of defects of a
mask is that of a random patch, and the class, major axis, minor axis and angle
of each defect are drawn by pandas independently of one another, in px;
positions are uniform, a defect that would lie on another is drawn again; a
matplotlib figure is made for every mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tem_data.core.micrograph import Defect, Micrograph, defect_from_ellipse, paste
from tem_data.masks.shapes import ellipse_of

TRIES = 100


class PublishedFit(NamedTuple):
    """`table`: one row a defect, with category, major, minor (px) and angle_deg; `counts`: defects of each patch."""

    table: pd.DataFrame
    counts: np.ndarray


def fit_published(patches: Iterable[Micrograph], classes: Sequence[str]) -> PublishedFit:
    """The distributions of labelled patches, defects that an edge cuts taken as they are."""
    rows, counts = [], []
    for patch in patches:
        defects = [d for d in patch.defects if d.category in classes and not d.ignore]
        counts.append(len(defects))
        for defect in defects:
            ellipse = ellipse_of(defect)
            rows.append((defect.category, ellipse.major, ellipse.minor, ellipse.angle_deg))
    return PublishedFit(pd.DataFrame(rows, columns=["category", "major", "minor", "angle_deg"]), np.array(counts))


def sample_published(fit: PublishedFit, size_px: int, rng: np.random.Generator) -> list[tuple]:
    """One mask's defects: category, x, y, major, minor (px), angle_deg."""
    rows, taken = [], np.zeros((size_px, size_px), bool)
    for _ in range(rng.choice(fit.counts)):
        category = fit.table["category"].sample(random_state=rng).item()
        own = fit.table[fit.table["category"] == category]
        for _ in range(TRIES):
            major, minor, angle = (
                own[name].sample(random_state=rng).item() for name in ("major", "minor", "angle_deg")
            )
            row = (category, *rng.uniform(0, size_px, 2), major, minor, angle)
            defect = _defect(row, size_px)
            if defect is not None and not _lies_on(taken, defect):
                paste(taken, defect, True)
                rows.append(row)
                break
    return rows


def published_mask(fit: PublishedFit, size_px: int, seed: int, index: int) -> Micrograph:
    """Mask `index` of seed `seed` as a patch without a picture, uncalibrated as the published ones."""
    rows = sample_published(fit, size_px, np.random.default_rng([seed, index]))
    name = f"published-{seed}-{index:06d}"
    defects = tuple(_defect(row, size_px) for row in rows)
    return Micrograph(name, None, defects, (size_px, size_px), scene=name, origin="sim", seed=seed)


def draw_published(rows: Sequence[tuple], classes: Sequence[str], size_px: int) -> np.ndarray:
    """The class mask, uint8 `(size_px, size_px)`, by a matplotlib figure of its own, as the published code draws it."""
    from matplotlib import pyplot
    from matplotlib.patches import Ellipse

    figure = pyplot.figure(figsize=(size_px / 100, size_px / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size_px), ylim=(size_px, 0))
    axes.axis("off")
    figure.patch.set_facecolor("black")
    for category, x, y, major, minor, angle in rows:
        level = (classes.index(category) + 1) / len(classes)
        axes.add_patch(Ellipse((x, y), major, minor, angle=-angle, facecolor=str(level), antialiased=False))
    figure.canvas.draw()
    grey = np.asarray(figure.canvas.buffer_rgba())[..., 0]
    pyplot.close(figure)
    return np.rint(grey * (len(classes) / 255)).astype(np.uint8)


def _defect(row: tuple, size_px: int) -> Defect | None:
    return defect_from_ellipse(*row, (size_px, size_px))


def _lies_on(taken: np.ndarray, defect: Defect) -> bool:
    x, y, w, h = defect.bbox
    return bool((taken[y : y + h, x : x + w] & defect.mask).any())
