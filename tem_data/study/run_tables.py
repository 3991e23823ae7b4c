"""The tables of a run's report, with arms as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tem_data.figures.style import F1_NAMES
from tem_data.reports.page import Table
from tem_data.study.page_tables import WORDS

Evaluations = Mapping[str, Mapping[str, Any]]  # by the arm's display name

TRUST = {
    "rmse": "error of the expected F1_HM, root mean square",
    "rmse_of_mean": "error of the mean F1_HM for every one",
    "spearman": "rank correlation, expected and true",
    "coverage": "share of true F1_HM within its interval",
    "calibration_error": "mean error of the chances of finds",
}
QUANTITIES = {
    "mean_size_nm": "mean size, nm",
    "found_mean_size_nm": "mean size of found defects, nm",
    "mean_circularity": "mean circularity",
    "areal_density_1e-4_per_nm2": "areal density, 10⁻⁴ nm⁻²",
    "volume_density_1e21_per_m3": "volume density, 10²¹ m⁻³",
    "hardening_quadrature_mpa": "hardening, quadrature sum, MPa",
    "hardening_linear_mpa": "hardening, linear sum, MPa",
}
OF_FOUND = "found_mean_size_nm"  # its truth is of what an arm found, so each arm has its own


def span(interval: Sequence[float] | None) -> str:
    return f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""


def score_table(evaluations: Evaluations) -> list[dict[str, Any]]:
    """A line a score."""
    rows: list[dict[str, Any]] = [
        {"score": WORDS[name]}
        | {arm: f"{held['scores'][name]:.3f}{span(held['intervals'].get(name))}" for arm, held in evaluations.items()}
        for name in (*F1_NAMES, "precision", "recall")
    ]
    rows.append({"score": WORDS["ap"]} | {a: f"{h['average_precision']['ap']:.3f}" for a, h in evaluations.items()})
    best = {arm: held["best_on_test"] for arm, held in evaluations.items()}
    rows.append({"score": "threshold"} | {a: f"{held['scores']['threshold']:.2f}" for a, held in evaluations.items()})
    rows.append({"score": WORDS["best_on_test_f1_hm"]} | {arm: f"{held['f1_hm']:.3f}" for arm, held in best.items()})
    return rows


def class_table(evaluations: Evaluations) -> list[dict[str, Any]]:
    """Lines of each class: defects, F1, AP."""
    rows = []
    for name in next(iter(evaluations.values()))["classes"]:
        of_class = {arm: held["scores"]["by_class"][name] for arm, held in evaluations.items()}
        for key, label in {"truths": "labelled", "predictions": "predicted", "matched": "found"}.items():
            rows.append({"class": name, "quantity": label} | {arm: str(held[key]) for arm, held in of_class.items()})
        rows.append(
            {"class": name, "quantity": "F1"} | {arm: _class_f1(held, name) for arm, held in evaluations.items()}
        )
        ap = {arm: held["average_precision"]["by_class"].get(name) for arm, held in evaluations.items()}
        rows.append({"class": name, "quantity": "AP"} | {arm: _shown(value, ".3f") for arm, value in ap.items()})
    return rows


def _class_f1(held: Mapping[str, Any], name: str) -> str:
    f1 = held["scores"]["f1_by_class"].get(name)
    return _shown(f1, ".3f") + span(held["intervals"].get(f"f1_by_class.{name}"))


def materials_tables(evaluations: Evaluations) -> list[Table]:
    """Each quantity of each class: all micrographs together, then the error of single ones; and what was left out."""
    first = next(iter(evaluations.values()))
    lines = [
        (category, column)
        for category in (*first["classes"], "all")
        for column in QUANTITIES
        if category == "all" or column != "hardening_linear_mpa"  # of one class both sums are the same
    ]
    pooled = [_pooled_row(evaluations, *line) for line in lines]
    single = [_error_row(evaluations, *line) for line in lines]
    return [
        Table(pooled, "All micrographs together: predicted, in brackets its error"),
        Table(single, "Absolute error: mean ± standard deviation over micrographs, in brackets how many"),
        Table([_left_out(first["materials"])], "Left out"),
    ]


def _pooled_row(evaluations: Evaluations, category: str, column: str) -> dict[str, Any]:
    pooled = {arm: held["materials"]["classes"][category]["pooled"] for arm, held in evaluations.items()}
    row: dict[str, Any] = {"class": category, "quantity": QUANTITIES[column]}
    row["true"] = "by arm" if column == OF_FOUND else _shown(next(iter(pooled.values()))[f"true_{column}"], ".4g")
    for arm, held in pooled.items():
        row[arm] = _shown(held[f"predicted_{column}"], ".4g")
        row[arm] += f" of {_shown(held[f'true_{column}'], '.4g')}" if column == OF_FOUND else ""
        error = held[f"{column}_error_percent"]
        row[arm] += "" if error is None else f" ({error:+.1f} %)"
    return row


def _error_row(evaluations: Evaluations, category: str, column: str) -> dict[str, Any]:
    row: dict[str, Any] = {"class": category, "quantity": QUANTITIES[column]}
    for arm, held in evaluations.items():
        error = held["materials"]["classes"][category]["per_micrograph"][column]["percent_error"]
        row[arm] = _shown(error["mean_absolute"], ".1f")
        if error["n"]:
            row[arm] += f" ± {_shown(error['std_absolute'], '.1f')} % ({error['n']})"
    return row


def _left_out(materials: Mapping[str, Any]) -> dict[str, int]:
    return {
        "micrographs": materials["micrographs"],
        "of them without nm per px": len(materials["without_nm_per_px"]),
        "without thickness": len(materials["without_thickness_nm"]),
        "classes without a barrier strength": len(materials["without_barrier_strength"]),
    }


def trust_table(evaluations: Evaluations) -> list[dict[str, Any]]:
    """A line a number that says whether what is expected of a micrograph can be trusted."""
    return [
        {"quantity": name} | {arm: _shown(held["trust"][key], ".3f") for arm, held in evaluations.items()}
        for key, name in TRUST.items()
    ]


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"
