"""Pictures of micrographs with their defects drawn in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from skimage.measure import find_contours

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.figures.style import COLOURS, DOUBLE_MM, F1_LABELS, PICTURE_DPI, journal_figure, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_NAME = 21  # characters of 7 pt on a panel of five


def colour_of(category: str, classes: Sequence[str]) -> str:
    """The colour of a class; white for a label that is ignored."""
    return COLOURS[classes.index(category) % len(COLOURS)] if category in classes else "white"


def draw_outlines(axes, defects: Sequence[Defect], classes: Sequence[str], linewidth: float = 1) -> None:
    """The outlines of defects on matplotlib axes whose data unit is a pixel; `linewidth` in pt."""
    for defect in defects:
        padded = np.pad(defect.mask.astype(float), 1)
        for contour in find_contours(padded, 0.5):
            axes.plot(
                contour[:, 1] + defect.x - 1,
                contour[:, 0] + defect.y - 1,
                color=colour_of(defect.category, classes),
                linewidth=linewidth,
            )


def show(axes, image: np.ndarray, defects: Sequence[Defect], classes: Sequence[str], linewidth: float = 1) -> None:
    """An image, grey `(h, w) uint8` or RGB `(h, w, 3)` in [0, 1], with the outlines of its defects."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=None if image.ndim == 3 else 255)
    draw_outlines(axes, defects, classes, linewidth)
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))


def class_keys(classes: Sequence[str]) -> list:
    """What a legend says about the colours of the classes."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=colour_of(name, classes), label=name) for name in classes]


def colour_mask(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A class mask (h, w) as an RGB picture (h, w, 3) in [0, 1] on black; ignored defects, the last value, in white."""
    from matplotlib.colors import to_rgb

    return np.array([(0, 0, 0), *(to_rgb(colour_of(name, classes)) for name in classes), (1, 1, 1)])[mask]


Shown = tuple[np.ndarray, Sequence[Defect]]
"""A picture, grey or RGB, and the defects whose outlines to draw on it."""


def contact_sheet(
    path: str | os.PathLike, rows: Mapping[str, Sequence[Shown]], classes: Sequence[str], title: str
) -> None:
    """Rows of patches with their names, as a PNG."""
    from matplotlib.figure import Figure

    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(1.6 * columns + 0.4, 1.65 * len(rows) + 0.7), dpi=130, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        line[0].set_title(name, fontsize=8, loc="left")
        for axes, (image, defects) in zip(line, pictures, strict=False):
            show(axes, image, defects, classes)
    figure.legend(
        handles=class_keys(classes), loc="outside lower center", ncols=len(classes), fontsize=8, frameon=False
    )
    figure.suptitle(title, fontsize=9)
    with atomic_write(Path(path)) as draft:
        figure.savefig(draft, format="png")


class Ranked(NamedTuple):
    """A micrograph with its truth, and by arm what was found on it and its F1_HM; `rank` as `best`."""

    rank: str
    micrograph: Micrograph
    found: Mapping[str, Sequence[Defect]]
    f1_hm: Mapping[str, float]


def best_median_worst(f1_hm: Mapping[str, float]) -> dict[str, str]:
    """The names of highest, middle (of an even number the lower) and lowest value by `best`, `median`, `worst`.

    Fewer than three names fill `best` and `worst` only, a single one `best`, none nothing.
    """
    if not f1_hm:
        return {}
    order = sorted(f1_hm, key=lambda name: (-f1_hm[name], name))
    ranks = {"best": order[0]}
    if len(order) > 2:
        ranks["median"] = order[len(order) // 2]
    if len(order) > 1:
        ranks["worst"] = order[-1]
    return ranks


def ranked_overlays(
    stem: str | os.PathLike, ranked: Sequence[Ranked], classes: Sequence[str], title: str = ""
) -> Figure:
    """A row for each ranked micrograph: bare with its scale, with its truth, and with what each arm found."""
    arms = list(ranked[0].found)
    side = DOUBLE_MM / (2 + len(arms))
    heights = [entry.micrograph.shape[0] / entry.micrograph.shape[1] for entry in ranked]
    height_mm = side * sum(heights) + 8 * len(ranked) + 8
    with journal_figure(stem, DOUBLE_MM, height_mm, title, PICTURE_DPI) as figure:
        grid = figure.subplots(len(ranked), 2 + len(arms), squeeze=False, height_ratios=heights)
        for line, entry in zip(grid, ranked, strict=False):
            image = entry.micrograph.pixels
            names = ["", "truth", *(f"{arm}\n{F1_LABELS['f1_hm']} {entry.f1_hm[arm]:.2f}" for arm in arms)]
            drawn = [(), entry.micrograph.defects, *(entry.found[arm] for arm in arms)]
            for axes, name, defects in zip(line, names, drawn, strict=True):
                show(axes, image, defects, classes, linewidth=0.6)
                axes.set(xticks=[], yticks=[])
                axes.set_title(name, loc="left", fontsize=7)
            draw_scale(line[0], entry.micrograph)
            line[0].set_ylabel(entry.rank)
            line[0].set_title(_shortened(entry.micrograph.micrograph_id), loc="left", fontsize=7)
        legend(figure, class_keys(classes))
    return figure


def _shortened(name: str) -> str:
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def draw_scale(axes, micrograph: Micrograph) -> None:
    """A scale bar of 1, 2 or 5 × a power of ten nm, at most a third of the width; none without a calibration."""
    if micrograph.nm_per_px is None:
        return
    height, width = micrograph.shape
    length = scale_bar_nm(width, micrograph.nm_per_px)
    left, y = 0.05 * width, 0.93 * height
    x = (left, left + length / micrograph.nm_per_px)
    axes.plot(x, (y, y), color="black", linewidth=3.5, solid_capstyle="butt")
    axes.plot(x, (y, y), color="white", linewidth=2, solid_capstyle="butt")
    label = axes.text(left, y - 0.03 * height, f"{length:g} nm", color="white", fontsize=7, va="bottom")
    label.set_bbox({"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1})


def scale_bar_nm(width_px: int, nm_per_px: float) -> float:
    """The length of a scale bar: 1, 2 or 5 × a power of ten nm, at most a third of a picture's width."""
    most = width_px * nm_per_px / 3
    power = 10.0 ** np.floor(np.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)


def mosaic(tiles: Sequence[Micrograph], found: Sequence[Sequence[Defect]]) -> tuple[Micrograph, tuple[Defect, ...]]:
    """The tiles of one micrograph put back together, and what was found on them in its coordinates.

    Defects that the edge of a tile cut stay cut. Raises TemDataError unless
    the tiles are of one micrograph, not turned, and have images.
    """
    if len({(t.micrograph_id, t.symmetry) for t in tiles}) != 1 or tiles[0].symmetry:
        names = sorted({f"{t.micrograph_id}, symmetry {t.symmetry}" for t in tiles})
        raise TemDataError(f"tiles of {names} make no one picture; give those of one micrograph that were not turned")
    if any(t.image is None for t in tiles):
        raise TemDataError(f"{tiles[0].micrograph_id}: tiles without an image make no picture; give experimental ones")
    shape = max(t.y + t.shape[0] for t in tiles), max(t.x + t.shape[1] for t in tiles)
    image = np.zeros(shape, np.uint8)
    for tile in tiles:
        image[tile.y : tile.y + tile.shape[0], tile.x : tile.x + tile.shape[1]] = tile.pixels
    truth = tuple(_moved(d, tile) for tile in tiles for d in tile.defects)
    put_together = replace(tiles[0], image=image, defects=truth, shape=shape, x=0, y=0)
    return put_together, tuple(_moved(d, tile) for tile, defects in zip(tiles, found, strict=True) for d in defects)


def _moved(defect: Defect, tile: Micrograph) -> Defect:
    return replace(defect, x=defect.x + tile.x, y=defect.y + tile.y)
