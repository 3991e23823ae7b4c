"""The report of one run: what each arm found on the test micrographs, in figures and in one HTML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tem_data import figures
from tem_data.coco.writing import read_results
from tem_data.core.files import read_json, read_numbers
from tem_data.core.micrograph import Defect, Micrograph
from tem_data.fidelity.text import read_section as read_fidelity
from tem_data.mask_comparison.text import read_section as read_masks
from tem_data.materials import figures as materials_figures
from tem_data.reports.origin import Origin
from tem_data.reports.page import Link, Picture, Section, Table, write_report
from tem_data.scoring import figures as scoring_figures
from tem_data.scoring import scores_of, total
from tem_data.study.arms import ARMS
from tem_data.study.run_tables import class_table, materials_tables, score_table, span, trust_table
from tem_data.study.tables import read_counts
from tem_data.trust.figures import trust_figure

NAMES = ("arm", "role", "source", "category", "micrograph_id", "whole", "found")
PARITY = {
    "mean_size_nm": ("mean size", "nm"),
    "areal_density_1e-4_per_nm2": ("areal density", "10⁻⁴ nm⁻²"),
    "mean_circularity": ("mean circularity", ""),
    "hardening_quadrature_mpa": ("hardening, quadrature sum", "MPa"),
}


@dataclass(frozen=True, eq=False)
class RunReport:
    """What the arms of a run gave, by display name: their evaluations, sweeps, and what they found on each test tile.

    `found` is cut at the threshold that validation chose; `defects` and
    `micrographs` are the tables of measured quantities; `generated` is about
    simulated masks and generated pictures.
    """

    title: str
    classes: tuple[str, ...]
    tiles: Sequence[Micrograph]
    evaluations: Mapping[str, Mapping[str, Any]]
    sweep: Sequence[Mapping[str, Any]]
    found: Mapping[str, Sequence[Sequence[Defect]]]
    defects: Sequence[Mapping[str, Any]]
    micrographs: Sequence[Mapping[str, Any]]
    generated: Sequence[Section] = ()


def read_run_report(
    results: str | os.PathLike, folder: str | os.PathLike, arms: Sequence[str], tiles: Sequence[Micrograph], title: str
) -> RunReport:
    """Reads what the predict and evaluate stages wrote for each arm; `tiles` are the test tiles.

    That is `results/ARM/`, and in `folder` `found/ARM/test.json` and `measured/ARM.csv`.
    """
    kept = {ARMS[arm]: Path(results, arm) for arm in arms}
    evaluations = {arm: read_json(held / "evaluation.json") for arm, held in kept.items()}
    classes = tuple(next(iter(evaluations.values()))["classes"])
    defects, micrographs = [], []
    for arm, name in zip(arms, kept, strict=True):
        for row in read_numbers(Path(folder, "measured", f"{arm}.csv"), NAMES):
            if row["source"] != "truth":
                defects.append(row | {"source": name})
            elif arm == arms[0]:
                defects.append(row)
        micrographs += [row | {"arm": name} for row in read_numbers(kept[name] / "materials.csv", NAMES)]
    return RunReport(
        title=title,
        classes=classes,
        tiles=tiles,
        evaluations=evaluations,
        sweep=[row for held in kept.values() for row in read_numbers(held / "sweep.csv", NAMES)],
        found={
            name: [
                [d for d in tile if d.score >= evaluations[name]["scores"]["threshold"]]
                for tile in read_results(Path(folder, "found", arm, "test.json"), classes, len(tiles))
            ]
            for arm, name in zip(arms, kept, strict=True)
        },
        defects=defects,
        micrographs=micrographs,
        generated=_generated(Path(results), Path(folder)) if {"exp_gen", "exp_paint"} & {*arms} else (),
    )


def _generated(results: Path, folder: Path) -> list[Section]:
    return [section for section in (read_masks(results, folder), read_fidelity(folder / "fidelity")) if section]


def draw_run(run: RunReport, folder: Path) -> dict[str, str]:
    """Draws the figures of a run into `folder`; returns the caption of each by the stem of its files."""
    arms, classes = run.evaluations, run.classes
    counts = {arm: total(read_counts(content).values(), len(classes)) for arm, content in arms.items()}
    chosen = {arm: content["scores"]["threshold"] for arm, content in arms.items()}
    by_iou = [
        {"arm": arm, "iou": float(iou)} | scores for arm, held in arms.items() for iou, scores in held["by_iou"].items()
    ]
    intervals = {
        arm: {name: held["intervals"][key] for name in classes if (key := f"f1_by_class.{name}") in held["intervals"]}
        for arm, held in arms.items()
    }
    scoring_figures.threshold_sweep(folder / "thresholds", run.sweep, chosen)
    scoring_figures.iou_sweep(folder / "ious", by_iou)
    scoring_figures.class_bars(
        folder / "classes", {arm: held["scores"]["f1_by_class"] for arm, held in arms.items()}, classes, intervals
    )
    scoring_figures.confusion_matrices(
        folder / "confusion",
        {arm: c.confusion for arm, c in counts.items()},
        {arm: c.truths - c.confusion.sum(1) for arm, c in counts.items()},
        {arm: c.predictions - c.confusion.sum(0) for arm, c in counts.items()},
        classes,
    )
    for quantity in ("size_nm", "circularity"):
        materials_figures.histograms(
            folder / quantity, [d for d in run.defects if d["whole"] == "True"], quantity, classes
        )
    materials_figures.parity(folder / "parity", _parity_rows(run.micrographs), classes)
    captions = {
        "thresholds": "Scores on test micrographs against the confidence threshold; the upright line is at the "
        "threshold chosen on validation micrographs.",
        "ious": "Scores at the chosen threshold against the IoU from which a defect counts as found.",
        "classes": "F1 of each class, with 95 % bootstrap intervals over scenes.",
        "confusion": "What the true defects (rows) were taken for (columns), at the chosen threshold.",
        "size_nm": "Sizes of the defects that no tile's edge cuts: truth filled, arms as lines.",
        "circularity": "Heywood circularity of the same defects; 1 is a disc.",
        "parity": "Predicted against true quantities of each calibrated test micrograph; on the line they agree.",
    }
    for arm, held in arms.items():
        trust_figure(folder / trust_stem(arm), held["trust"])
        captions[trust_stem(arm)] = f"{arm}: chances of finds to be true (left) and F1_HM of micrographs (right)."
    if ranked := _ranked(run):
        figures.ranked_overlays(folder / "micrographs", ranked, classes)
        captions["micrographs"] = "The test micrographs on which the first arm scored best, in the middle and worst."
    return captions


def trust_stem(arm: str) -> str:
    """The name of the figure of an arm, by its display name, in a folder."""
    return "trust_" + arm.lower().replace("+", "_")


def _parity_rows(micrographs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "arm": row["arm"],
            "category": row["category"],
            "quantity": name,
            "unit": unit,
            "true": row[f"true_{column}"],
            "predicted": row[f"predicted_{column}"],
        }
        for column, (name, unit) in PARITY.items()
        for row in micrographs
        # hardening is of all classes together; of the rest, `all` would only repeat the classes
        if (row["category"] == "all") == column.startswith("hardening")
    ]


def _ranked(run: RunReport) -> list[figures.Ranked]:
    f1_hm = {
        arm: {name: scores_of(counts, run.classes, 0.0).f1_hm for name, counts in read_counts(held).items()}
        for arm, held in run.evaluations.items()
    }
    first = next(iter(run.evaluations.values()))["micrographs"]
    labelled = {name: f1 for name, f1 in next(iter(f1_hm.values())).items() if sum(first[name]["truths"])}
    ranked = []
    for rank, name in figures.best_median_worst(labelled).items():
        own = [i for i, tile in enumerate(run.tiles) if tile.micrograph_id == name]
        found = {}
        for arm, by_tile in run.found.items():
            whole, found[arm] = figures.mosaic([run.tiles[i] for i in own], [by_tile[i] for i in own])
        ranked.append(figures.Ranked(rank, whole, found, {arm: f1_hm[arm][name] for arm in f1_hm}))
    return ranked


def write_run_report(
    run: RunReport,
    path: str | os.PathLike,
    folder: Path,
    captions: Mapping[str, str],
    origin: Origin,
    links: Sequence[Link] = (),
) -> None:
    """The HTML file of a run, of the figures that `draw_run` put into `folder`."""

    def pictures(*stems: str) -> list[Picture]:
        kind = {"micrographs": "png"}
        return [
            Picture(folder / f"{stem}.{kind.get(stem, 'svg')}", captions[stem]) for stem in stems if stem in captions
        ]

    sections = [
        Section("Scores", SCORES_TEXT, [Table(score_table(run.evaluations))], pictures("thresholds", "ious")),
        Section("Classes", CLASSES_TEXT, [Table(class_table(run.evaluations))], pictures("classes", "confusion")),
        Section(
            "Sizes, shapes, densities",
            MATERIALS_TEXT,
            materials_tables(run.evaluations),
            pictures("size_nm", "circularity", "parity"),
        ),
        Section("Micrographs", "", (), pictures("micrographs")),
        Section(
            "Trust", TRUST_TEXT, [Table(trust_table(run.evaluations))], pictures(*map(trust_stem, run.evaluations))
        ),
        *run.generated,
        origin.section,
    ]
    write_report(path, run.title, summary(run.evaluations), sections, links, origin.facts)


SCORES_TEXT = (
    "Each score is on test micrographs, which share no scene with training or validation, at the confidence threshold "
    "that is best on validation micrographs. In brackets 95 % intervals: bootstrap over scenes, the detector held "
    "fixed. “Best on test” takes the best threshold on the test micrographs themselves and flatters; it is there to "
    "compare with papers that report it. AP is COCO's average precision, IoU 0.50:0.05:0.95."
)
CLASSES_TEXT = (
    "Labelled: defects to be found. Predicted: defects that the detector gave this class. Found: labelled defects that "
    "some prediction matches, whatever its class; F1 counts those of the right class."
)
MATERIALS_TEXT = (
    "Measured on the tiles, truth and prediction alike. Defects are counted by a frame (½ on a tile's edge, ¼ on its "
    "corner), but what an edge leaves of a defect below patch.min_area_px is in no count. Sizes and shapes are those "
    "of defects that no edge cuts, of which large ones are fewer. So densities, sizes and hardening come out somewhat "
    "low; for absolute values measure whole micrographs with “tem-data measure”. Errors are (predicted − true) / true. "
    "Micrographs without nm per px, or without thickness, are left out of what needs it, and counted."
)

TRUST_TEXT = (
    "What is expected of a micrograph without its labels, beside what is true of it. Each validation or test "
    "micrograph was held out with its scene while the chances were fitted on the others. The error of the expected "
    "F1_HM is worth something where it is below that of taking the mean F1_HM for every micrograph."
)


def summary(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """The run in two sentences."""
    arms = [
        f"{arm} scores F1_HM {held['scores']['f1_hm']:.3f}{span(held['intervals'].get('f1_hm'))}"
        for arm, held in evaluations.items()
    ]
    first = next(iter(evaluations.values()))
    scenes = len({m["scene"] for m in first["micrographs"].values()})
    return (
        f"On {len(first['micrographs'])} test micrographs in {scenes} scenes, with {first['scores']['truths']} "
        f"labelled defects, {'; '.join(arms)}. One run says little about how arms differ: see the study's report."
    )
