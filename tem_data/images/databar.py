"""The data bar that microscopes burn into the bottom of a picture."""

from __future__ import annotations

import numpy as np

MOST = 0.25  # of the height
LEAST, LEAST_ROWS = 0.02, 8
NEAR = 3  # grey levels that are one, after a JPEG
EDGE_FLAT = 0.97  # of the first row has one grey level
ROW_FLAT = 0.35  # of any row has the bar's grey level; a row of the micrograph above has less
BAR_FLAT = 0.5
CONTRAST = 60  # of text on the bar, in grey levels
TEXT = (0.002, 0.45)  # share of the bar
TEXT_COLUMNS, TEXT_ROWS = 0.03, 4


def data_bar(pixels: np.ndarray) -> int:
    """How many rows at the bottom of `(height, width) uint8` are a data bar; 0 where there is none.

    A bar is as wide as the picture, at most a quarter of its height, mostly of
    one grey level with text on it, and begins with a row of one grey level
    under a row that is not. Where that is not plain, there is none.
    """
    height, width = pixels.shape
    least, most = max(LEAST_ROWS, round(LEAST * height)), int(MOST * height)
    if most < least or width < LEAST_ROWS:
        return 0
    bottom = pixels[height - most - 1 :]
    grey = int(np.bincount(bottom[-least:].ravel(), minlength=256).argmax())
    alike = (np.abs(bottom.astype(np.int16) - grey) <= NEAR).mean(axis=1) >= ROW_FLAT
    alike |= _flatness(bottom) >= EDGE_FLAT
    if alike.all():
        return 0
    start = int(np.flatnonzero(~alike)[-1]) + 1
    bar = bottom[start:]
    return len(bar) if len(bar) >= least and _flatness(bar[:1])[0] >= EDGE_FLAT and _has_text(bar, grey) else 0


def _flatness(rows: np.ndarray) -> np.ndarray:
    """The share of each row that has the grey level of its median."""
    middle = np.median(rows, axis=1, keepdims=True)
    return (np.abs(rows - middle) <= NEAR).mean(axis=1)


def _has_text(bar: np.ndarray, grey: int) -> bool:
    distance = np.abs(bar.astype(np.int16) - grey)
    inked = distance > CONTRAST
    # a line across the bar is a frame, not text
    inked[_flatness(bar) >= EDGE_FLAT] = False
    return bool(
        (distance <= NEAR).mean() >= BAR_FLAT
        and TEXT[0] <= inked.mean() <= TEXT[1]
        and inked.any(axis=0).mean() >= TEXT_COLUMNS
        and inked.any(axis=1).sum() >= TEXT_ROWS
    )
