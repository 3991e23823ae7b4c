"""Numbers as texts, for the page, the terminal and the browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def with_limits(row: Mapping[str, Any]) -> str:
    """The count of a row of `CLASS_COLUMNS`, and between which limits a count of its size lies."""
    return f"{row['count']} ({row['count_low']:.0f} to {row['count_high']:.0f})"


def with_error(value: float | None, error: float | None) -> str:
    """Nothing for a value that is not known."""
    if value is None:
        return ""
    return f"{value:.3g}" if error is None else f"{value:.3g} ± {error:.2g}"
