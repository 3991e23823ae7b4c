"""A comparison in words and as a table, from its JSON: for the screen and for reports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tem_data.core.files import read_json
from tem_data.mask_comparison.features import ALL, QUANTITIES
from tem_data.reports.page import Picture, Section, Table

RATIOS_TEXT = (
    "Wasserstein-1 and Kolmogorov-Smirnov distances, each as a multiple of the 95th percentile of the same distance "
    "between random parts, by scene, of the experimental masks; ! marks those above it."
)


def ratio_table(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a quantity, a column a class: both distances over their 95th percentile; empty where not asked."""
    ratios: dict[str, dict[str, list[str]]] = {}
    for row in summary["rows"]:
        ratios.setdefault(row["quantity"], {}).setdefault(row["category"], []).append(_ratio(row))
    return [
        {"quantity": QUANTITIES[quantity].label}
        | {name: ", ".join(held.get(name, ())) for name in (*summary["classes"], ALL)}
        for quantity, held in sorted(ratios.items(), key=lambda item: list(QUANTITIES).index(item[0]))
    ]


def _ratio(row: Mapping[str, Any]) -> str:
    if row["inside"] is None:
        return "–"
    known = row["value"] is not None and row["real_p95"]
    return (f"{row['value'] / row['real_p95']:.2f}" if known else "") + ("" if row["inside"] else "!")


def describe(summary: Mapping[str, Any]) -> str:
    """How many distances lie inside, and how well a classifier tells both sets apart."""
    if not summary["distances"]:
        return "Experimental masks of fewer than two scenes do not say how far they are from one another."
    share = f"{summary['inside']} of {summary['distances']} distances ({summary['share_inside']:.0%})"
    held = f"{sum(summary['scenes'].values())} scenes"
    parts = [f"{share} are no larger than the 95th percentile of experimental masks ({held}) among themselves."]
    found = summary["classifier"]
    if found["auc"] is not None:
        parts.append(f"A classifier tells both apart with an AUC of {found['auc']:.3f} [{_span(found['interval'])}].")
    if found["real_interval"]:
        among = f"{found['real_median']:.3f} [{_span(found['real_interval'])}]"
        parts.append(f"Parts of the experimental masks it tells apart with {among}.")
    return " ".join(parts)


def read_section(results: str | os.PathLike, folder: str | os.PathLike) -> Section | None:
    """The section of a run's report, of `results/masks.json` and the histograms in `folder`; None without them."""
    path = Path(results, "masks.json")
    if not path.is_file():
        return None
    summary = read_json(path)
    caption = (
        "Experimental and simulated masks by class. In each panel the Wasserstein distance as a multiple of the 95th "
        "percentile of experimental masks among themselves."
    )
    pictures = [Picture(Path(folder, "masks_compared", "histograms.svg"), caption)]
    return Section("Simulated masks", describe(summary), [Table(ratio_table(summary), RATIOS_TEXT)], pictures)


def _span(interval: list[float]) -> str:
    return ", ".join(f"{bound:.3f}" for bound in interval)
