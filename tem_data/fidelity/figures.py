"""How generated pictures compare with real ones: spectra, grey levels, contrasts, and the pictures themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph
from tem_data.fidelity.comparison import ClosePair, PictureComparison
from tem_data.fidelity.texture import Textures, frequencies
from tem_data.figures.style import ARM_STYLES, DOUBLE_MM, PICTURE_DPI, SINGLE_MM, journal_figure, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL, GENERATED, OTHER = "black", ARM_STYLES[1], ARM_STYLES[0]
KIND_LABELS = {"inside": "whole defect", "outline": "its outline"}


def radial_spectra(
    stem: str | os.PathLike, comparison: PictureComparison, reconstructed: Textures | None = None, title: str = ""
) -> Figure:
    """Mean power by frequency of training patches, with the range over their micrographs, and of generated pictures.

    `reconstructed`: training patches that went through the autoencoder.
    """
    sets = _by_name(comparison, reconstructed)
    with journal_figure(stem, SINGLE_MM, 70, title) as figure:
        axes = figure.subplots()
        x = frequencies(comparison.training.pictures[0].shape[0])
        _curves(axes, x, {name: t.spectrum for name, t in sets.items()}, comparison.training.groups)
        axes.set(xscale="log", yscale="log", xlabel="frequency (cycles/px)", ylabel="power (grey levels²)")
        legend(figure, axes.get_legend_handles_labels()[0], 2)
    return figure


def grey_histograms(
    stem: str | os.PathLike, comparison: PictureComparison, reconstructed: Textures | None = None, title: str = ""
) -> Figure:
    """The share of pixels at each grey level; sets as in `radial_spectra`."""
    sets = _by_name(comparison, reconstructed)
    with journal_figure(stem, SINGLE_MM, 70, title) as figure:
        axes = figure.subplots()
        shares = {name: t.histogram / t.histogram.sum(1, keepdims=True) for name, t in sets.items()}
        _curves(axes, np.arange(256), shares, comparison.training.groups)
        axes.set(xlabel="grey level", ylabel="share of pixels", xlim=(0, 255))
        axes.set_ylim(bottom=0)
        legend(figure, axes.get_legend_handles_labels()[0], 2)
    return figure


def contrasts_by_class(
    stem: str | os.PathLike, comparison: PictureComparison, classes: Sequence[str], title: str = ""
) -> Figure:
    """Boxes (quartiles; whiskers 5–95 %; dot: mean) of the local contrast of real and generated defects by class."""
    from matplotlib.patches import Patch

    sets = {"real": (comparison.training, "0.8"), "generated": (comparison.generated, GENERATED.colour)}
    with journal_figure(stem, DOUBLE_MM, 70, title) as figure:
        panels = figure.subplots(1, len(KIND_LABELS), sharey=True)
        for axes, (kind, label) in zip(panels, KIND_LABELS.items(), strict=True):
            for offset, (measured, colour) in zip((-0.2, 0.2), sets.values(), strict=False):
                values = [measured.contrasts.values(name, kind) for name in classes]
                _boxes(axes, values, np.arange(len(classes)) + offset, colour)
            axes.axhline(0, color="0.6", linewidth=0.5, zorder=0)
            axes.set_xticks(range(len(classes)), classes)
            axes.set_title(label, loc="left")
        panels[0].set_ylabel("around − within (grey levels)")
        legend(figure, [Patch(facecolor=colour, edgecolor="black", label=name) for name, (_, colour) in sets.items()])
    return figure


def closest_pairs(stem: str | os.PathLike, pairs: Sequence[ClosePair], title: str = "") -> Figure:
    """Generated pictures (above) with the training patches closest to them (below), the closest first.

    Raises TemDataError where there are none.
    """
    if not pairs:
        raise TemDataError(f"{stem}: no pairs to draw; compare generated pictures with training patches first")
    side = DOUBLE_MM / len(pairs)
    with journal_figure(stem, DOUBLE_MM, 2 * side + 8, title, PICTURE_DPI) as figure:
        grid = figure.subplots(2, len(pairs), squeeze=False)
        for column, pair in zip(grid.T, pairs, strict=False):
            for axes, image in zip(column, (pair.generated, pair.training), strict=True):
                _show(axes, image)
            column[0].set_title(pair.text, fontsize=7)
        _name_rows(grid, ("generated", "training"))
    return figure


def real_and_generated(
    stem: str | os.PathLike,
    real: Sequence[Micrograph],
    generated: Sequence[Micrograph],
    columns: int = 6,
    title: str = "",
) -> Figure:
    """Rows of real and of generated pictures by turns, as many of each as both sets fill.

    Raises TemDataError where one is empty.
    """
    rows = min(len(real), len(generated)) // columns or 1
    if not min(len(real), len(generated)):
        raise TemDataError(f"{stem}: {len(real)} real and {len(generated)} generated pictures; give some of both")
    side = DOUBLE_MM / columns
    with journal_figure(stem, DOUBLE_MM, 2 * rows * side + 8, title, PICTURE_DPI) as figure:
        grid = figure.subplots(2 * rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for first, pictures in enumerate((real, generated)):
            for axes, picture in zip(grid[first::2].flat, pictures, strict=False):
                axes.set_axis_on()
                _show(axes, cast(np.ndarray, picture.image))
        _name_rows(grid, ("real", "generated") * rows)
    return figure


def _by_name(comparison: PictureComparison, reconstructed: Textures | None) -> dict[str, Textures]:
    sets = {"real": comparison.training.textures, "generated": comparison.generated.textures}
    return sets if reconstructed is None else sets | {"real, through the autoencoder": reconstructed}


def _curves(axes, x: np.ndarray, sets: Mapping[str, np.ndarray], groups: np.ndarray) -> None:
    """The mean over pictures of each set, the first real, with the range of the means of its groups."""
    first = next(iter(sets.values()))
    means = np.array([first[groups == name].mean(0) for name in np.unique(groups)])
    axes.fill_between(x, means.min(0), means.max(0), color="0.85", label="range over real micrographs")
    looks = (REAL, "-"), (GENERATED.colour, "-"), (OTHER.colour, "--")
    for (name, values), (colour, line) in zip(sets.items(), looks, strict=False):
        axes.plot(x, values.mean(0), color=colour, linestyle=line, label=name)


def _boxes(axes, values: Sequence[np.ndarray], places: np.ndarray, colour: str) -> None:
    held = [i for i, v in enumerate(values) if v.size]
    if not held:
        return
    axes.boxplot(
        [values[i] for i in held],
        positions=places[held],
        widths=0.35,
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        patch_artist=True,
        boxprops={"facecolor": colour, "linewidth": 0.6},
        medianprops={"color": "black", "linewidth": 0.8},
        meanprops={"marker": "o", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 3},
        whiskerprops={"linewidth": 0.6},
        capprops={"linewidth": 0.6},
    )


def _show(axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])


def _name_rows(grid: np.ndarray, names: Sequence[str]) -> None:
    for line, name in zip(grid, names, strict=True):
        line[0].set_ylabel(name)
