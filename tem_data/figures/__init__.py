"""Pictures of micrographs, and what all figures share: sizes, colours and how they are saved.

`style` holds sizes, colours and how a figure is saved, `pictures` draws
micrographs, `overlays` what was found on one, pixel for pixel. Figures that
know one subject lie beside it (`scoring.figures`, `study.figures`, …). Every
function that takes a `stem` writes `stem.png` and `stem.svg` and returns the
matplotlib Figure.
"""

from tem_data.figures.overlays import overlay
from tem_data.figures.pictures import (
    Ranked,
    Shown,
    best_median_worst,
    colour_mask,
    colour_of,
    contact_sheet,
    draw_outlines,
    mosaic,
    ranked_overlays,
)
from tem_data.figures.style import COLOURS, F1_NAMES

__all__ = [
    "COLOURS",
    "F1_NAMES",
    "Ranked",
    "Shown",
    "best_median_worst",
    "colour_mask",
    "colour_of",
    "contact_sheet",
    "draw_outlines",
    "mosaic",
    "overlay",
    "ranked_overlays",
]
