"""Figures as a journal takes them, and pictures for cards, reports and the README.

`style` holds sizes, colours and how a figure is saved; `pictures` draws
micrographs, `masks` how simulated masks are distributed, `scores` one run,
`materials` what was measured on it, `study` all runs. Every function that takes
a `stem` writes `stem.png` and `stem.svg` and returns the matplotlib Figure.
"""

from tem_data.figures.masks import mask_histograms
from tem_data.figures.materials import histograms, parity
from tem_data.figures.pictures import (
    Ranked,
    Shown,
    best_median_worst,
    colour_mask,
    colour_of,
    contact_sheet,
    draw_outlines,
    mosaic,
    overlay,
    ranked_overlays,
)
from tem_data.figures.scores import class_bars, confusion_matrices, iou_sweep, threshold_sweep
from tem_data.figures.study import gain_by_size, learning_curve, score_by_size
from tem_data.figures.style import COLOURS, F1_NAMES

__all__ = [
    "COLOURS",
    "F1_NAMES",
    "Ranked",
    "Shown",
    "best_median_worst",
    "class_bars",
    "colour_mask",
    "colour_of",
    "confusion_matrices",
    "contact_sheet",
    "draw_outlines",
    "gain_by_size",
    "histograms",
    "iou_sweep",
    "learning_curve",
    "mask_histograms",
    "mosaic",
    "overlay",
    "parity",
    "ranked_overlays",
    "score_by_size",
    "threshold_sweep",
]
