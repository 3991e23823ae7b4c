"""What the page shows of a search: the picture, remarks and tables."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tem_data.analysis.measuring import AREAL, VOLUME
from tem_data.analysis.searching import Found
from tem_data.analysis.words import with_error, with_limits
from tem_data.app.finding import Search
from tem_data.app.session import legend
from tem_data.figures.overlays import drawn

WIDEST_PX = 1400
MARK_PX = 9
COLUMNS = ("id", "class", "confidence", "x_px", "y_px", "size_px", "size_nm", "area_px2", "area_nm2", "cut_by_edge")
Table = dict[str, Any]


def picture(found: Found, classes: Sequence[str], marks: Sequence[Sequence[float]] = ()) -> np.ndarray:
    """A micrograph with its defects, RGB uint8, `shown_scale` times as large; `marks` (x, y) px are crosses."""
    scale = shown_scale(found)
    canvas = drawn(found.pixels, found.defects, classes, scale)
    for x, y in marks:
        column, row = round(x * scale), round(y * scale)
        canvas[max(0, row - MARK_PX) : row + MARK_PX + 1, column : column + 1] = (255, 255, 0)
        canvas[row : row + 1, max(0, column - MARK_PX) : column + MARK_PX + 1] = (255, 255, 0)
    return canvas


def shown_scale(found: Found) -> float:
    """How large a micrograph is shown, 1 at most."""
    return min(1.0, WIDEST_PX / max(found.pixels.shape))


def remarks(search: Search, found: Found) -> str:
    """The legend and what is to be said about a micrograph, as HTML."""
    row = search.summary(found)
    scale = row["nm_per_px"]
    facts = [f"{scale:.4g} nm per px" if scale else "scale not known: no sizes in nm, no densities"]
    if row["expected_f1_hm"] is not None:
        low, high = row["expected_f1_hm_low"], row["expected_f1_hm_high"]
        facts.append(f"expected F1_HM {row['expected_f1_hm']:.2f} ({low:.2f} to {high:.2f})")
    facts += [row["note"]] if row["note"] else []
    return f"{legend(search.classes)}<p>{html.escape('; '.join(facts))}</p>"


def number_table(by_class: Mapping[str, Mapping[str, Any]]) -> Table:
    """Numbers by class."""
    rows = [
        {
            "class": name,
            "count": with_limits(row),
            "density, 10⁻⁴ nm⁻²": with_error(row[AREAL], row[f"error_of_{AREAL}"]) or "–",
            "density, 10²¹ m⁻³": with_error(row[VOLUME], row[f"error_of_{VOLUME}"]) or "–",
            "mean size, nm": with_error(row["mean_size_nm"], row["error_of_mean_size_nm"]) or "–",
            "mean size, px": with_error(row["mean_size_px"], row["error_of_mean_size_px"]) or "–",
            "hardening, MPa": with_error(row["hardening_quadrature_mpa"], None) or "–",
        }
        for name, row in by_class.items()
    ]
    return _table(rows)


def defect_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of `defects.csv`, the columns that one looks at."""
    return _table([{name: _cell(row[name]) for name in COLUMNS} for row in rows])


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Without the columns that hold nothing."""
    columns = [name for name in rows[0] if any(row[name] != "–" for row in rows)] if rows else []
    return {"headers": columns, "data": [[row[name] for name in columns] for row in rows]}


def _cell(value: Any) -> Any:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else value
