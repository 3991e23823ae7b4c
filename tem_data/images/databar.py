"""The data bar that microscopes burn into the bottom of a picture."""

from __future__ import annotations

import numpy as np

MOST = 0.25  # of the height
LEAST, LEAST_ROWS = 0.02, 8
NEAR = 3  # grey levels that are one, after a JPEG
EDGE_FLAT = 0.97  # of the first row has one grey level
EDGE_NEAR, EDGE_PLAIN = 8, 0.9  # or has one of two, as where panels differ or a JPEG blurs it; rows above have
ABOVE_PLAIN, BLURRED = 0.75, 4  # less than this, but for as many rows as a JPEG blurs the edge
ROW_FLAT = 0.35  # of any row has the bar's grey level; a row of the micrograph above has less
BAR_FLAT = 0.5
CONTRAST = 60  # of text on the bar, in grey levels
TEXT = (0.002, 0.45)  # share of the bar
TEXT_COLUMNS, TEXT_ROWS = 0.03, 4


def data_bar(pixels: np.ndarray) -> int:
    """How many rows at the bottom of `(height, width) uint8` are a data bar; 0 where there is none.

    A bar is as wide as the picture, at most a quarter of its height, mostly of
    one grey level with text on it, and begins with a row of one grey level, or of two that differ much,
    under rows that are not so. Where that is not plain, there is none.
    """
    height, width = pixels.shape
    least, most = max(LEAST_ROWS, round(LEAST * height)), int(MOST * height)
    if most < least or width < LEAST_ROWS:
        return 0
    bottom = pixels[height - most - 1 :]
    grey = int(np.bincount(bottom[-least:].ravel(), minlength=256).argmax())
    alike = (np.abs(bottom.astype(np.int16) - grey) <= NEAR).mean(axis=1) >= ROW_FLAT
    alike |= _flatness(bottom) >= EDGE_FLAT
    alike[-BLURRED:] |= np.array([_plainness(row) >= EDGE_PLAIN for row in bottom[-BLURRED:]])  # a frame in a JPEG
    if alike.all():
        return 0
    start = _edge(bottom, int(np.flatnonzero(~alike)[-1]) + 1)
    bar = bottom[start:]
    return len(bar) if start and len(bar) >= least and _has_text(bar, grey) else 0


def _edge(rows: np.ndarray, start: int) -> int:
    """The first row of a bar that has begun at row `start` at the latest; 0 where no row is plain enough for that."""
    if start >= len(rows):
        return 0
    first, before = rows[start], rows[start - 1]
    if abs(np.median(first) - np.median(before)) <= NEAR and _plainness(before) >= EDGE_PLAIN:
        return 0  # shading, which goes on
    if max(_flatness(rows[start : start + 1])[0], _plainness(first, NEAR)) >= EDGE_FLAT:
        return start
    above = max(0, start - 1 - BLURRED)
    if _plainness(first) < EDGE_PLAIN or _plainness(rows[above]) > ABOVE_PLAIN:
        return 0
    while start > above + 1 and _plainness(rows[start - 1]) >= EDGE_PLAIN:
        start -= 1
    return start


def _plainness(row: np.ndarray, within: int = EDGE_NEAR) -> float:
    """The share of a row that has its commonest grey level, or the commonest of those far from it."""
    counts = np.bincount(row, minlength=256)
    levels = np.arange(len(counts))
    first = int(counts.argmax())
    second = int(np.where(np.abs(levels - first) > CONTRAST, counts, 0).argmax())
    near = (np.abs(levels - first) <= within) | ((np.abs(levels - second) <= within) & (counts[second] > 0))
    return float(counts[near].sum() / len(row))


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
