"""Pictures that go into reports, cards and the README."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from skimage.measure import find_contours

from tem_data.files import whole
from tem_data.micrograph import Defect, Micrograph, class_mask
from tem_data.scoring import Scores

# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999")

F1_NAMES = {"f1_detect": "F1_detect", "f1_class": "F1_class", "f1_hm": "F1_HM"}


def colour_of(category: str, classes: Sequence[str]) -> str:
    """The colour of a class; white for a label that is ignored."""
    return COLOURS[classes.index(category) % len(COLOURS)] if category in classes else "white"


def draw_outlines(axes, defects: Sequence[Defect], classes: Sequence[str]) -> None:
    """The outlines of defects on matplotlib axes whose data unit is a pixel."""
    for defect in defects:
        padded = np.pad(defect.mask.astype(float), 1)
        for contour in find_contours(padded, 0.5):
            axes.plot(
                contour[:, 1] + defect.x - 1,
                contour[:, 0] + defect.y - 1,
                color=colour_of(defect.category, classes),
                linewidth=1,
            )


def colour_mask(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A class mask (h, w) as an RGB picture (h, w, 3) in [0, 1] on black."""
    from matplotlib.colors import to_rgb

    return np.array([(0, 0, 0), *(to_rgb(colour_of(name, classes)) for name in classes)])[mask]


def overlay(path: str | os.PathLike, image: np.ndarray, defects: Sequence[Defect], classes: Sequence[str]) -> None:
    """An image `(h, w) uint8` with the outlines of its defects, pixel for pixel, as a PNG."""
    from matplotlib.figure import Figure

    height, width = image.shape
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    draw_outlines(axes, defects, classes)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    with whole(Path(path)) as draft:
        figure.savefig(draft, format="png")


def contact_sheet(
    path: str | os.PathLike,
    labelled: Sequence[Micrograph],
    generated: Sequence[Micrograph],
    found: Sequence[tuple[Micrograph, dict[str, Sequence[Defect]]]],
    classes: Sequence[str],
    title: str,
) -> None:
    """Rows of patches, as a PNG: labelled, masks asked for, generated, and truth and detections of each arm.

    `found` pairs test patches with what each arm found on them.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    arms = list(found[0][1])
    names = ["labelled", "mask asked for", "generated", "test: truth", *(f"test: {arm}" for arm in arms)]
    columns = max(len(labelled), len(generated), len(found))
    figure = Figure(figsize=(1.6 * columns + 0.4, 1.65 * len(names) + 0.7), dpi=130, layout="constrained")
    grid = figure.subplots(len(names), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()

    def show(row: int, column: int, image: np.ndarray, defects: Sequence[Defect] = ()) -> None:
        axes = grid[row, column]
        axes.imshow(image, cmap="gray", vmin=0, vmax=None if image.ndim == 3 else 255, interpolation="nearest")
        draw_outlines(axes, defects, classes)
        axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))

    for column, patch in enumerate(labelled):
        show(0, column, patch.image, patch.defects)
    for column, patch in enumerate(generated):
        show(1, column, colour_mask(class_mask(patch.defects, classes, patch.shape), classes))
        show(2, column, patch.image)
    for column, (patch, by_arm) in enumerate(found):
        show(3, column, patch.image, patch.defects)
        for row, arm in enumerate(arms, 4):
            show(row, column, patch.image, by_arm[arm])
    for row, name in enumerate(names):
        grid[row, 0].set_title(name, fontsize=8, loc="left")
    keys = [Line2D([], [], color=colour_of(name, classes), label=name) for name in classes]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9)
    with whole(Path(path)) as draft:
        figure.savefig(draft, format="png")


def threshold_sweep(
    path: str | os.PathLike, scores: Mapping[str, Sequence[Scores]], chosen: Mapping[str, float], title: str
) -> None:
    """F1_detect, F1_class and F1_HM of each arm against the confidence threshold, as a PNG.

    A dotted line marks the threshold that validation chose ([P26] figure 3).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), dpi=130, layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (name, label) in zip(panels, F1_NAMES.items()):
        for colour, (arm, swept) in zip(COLOURS, scores.items()):
            thresholds = [s.threshold for s in swept]
            axes.plot(thresholds, [getattr(s, name) for s in swept], marker="o", color=colour, label=arm)
            axes.axvline(chosen[arm], color=colour, linestyle=":")
        axes.set(xlabel="confidence threshold", title=label, ylim=(0, 1))
    panels[0].set_ylabel("score on test micrographs")
    panels[-1].legend(frameon=False)
    figure.suptitle(title, fontsize=9)
    with whole(Path(path)) as draft:
        figure.savefig(draft, format="png")
