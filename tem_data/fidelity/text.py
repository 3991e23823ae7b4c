"""Fidelity in words and tables, from its JSON: the page, and a section of a run's report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tem_data.core.files import read_json
from tem_data.fidelity.comparison import QUANTITIES
from tem_data.fidelity.figures import KIND_LABELS
from tem_data.figures.style import F1_NAMES
from tem_data.reports.page import Link, Picture, Section, Table

SETS = {"real": "real", "reconstructed": "real, through the autoencoder", "generated": "generated"}


def describe(summary: Mapping[str, Any]) -> str:
    """The report in three sentences."""
    scores, lost = summary["adherence"], summary["reconstruction"]
    spectrum, grey = (summary["pictures"]["distances"][name] for name in ("spectrum", "grey"))
    found = summary["pictures"]["memorisation"]
    return (
        "Judges find the requested defects in generated pictures with F1_HM "
        f"{scores['generated']['f1_hm']:.3f}, the labelled ones in real patches of micrographs that they have not seen "
        f"with {scores['real']['f1_hm']:.3f}, and in the same patches through the autoencoder ({lost['psnr_db']:.1f} "
        f"dB) with {scores['reconstructed']['f1_hm']:.3f}. "
        f"The log power spectrum is {spectrum['generated']:.2f} off (halves of the real patches "
        f"{spectrum['patches']['median']:.2f}), the grey levels {grey['generated']:.1f} "
        f"({grey['patches']['median']:.1f}). " + _memorised(found)
    )


def _memorised(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    real = f" (real patches of other micrographs {found['real']['ratio_median']:.2f})" if found["real"] else ""
    return (
        f"The nearest training patch is {found['generated']['ratio_median']:.2f} times as far as the nearest of as "
        f"many held-out patches{real}; below 1 pictures lean to what was trained on."
    )


def adherence_table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"pictures": SETS[kind], "pairs": held["pairs"]}
        | {label: held[name] for name, label in F1_NAMES.items()}
        | {"adherence": held["adherence"]}
        | {f"F1 of {name}": value for name, value in held["f1_right_by_class"].items()}
        for kind, held in summary["adherence"].items()
    ]


def contrast_table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "class": name,
            "where": KIND_LABELS[kind],
            "real": held["real"] and held["real"]["mean"],
            "generated": held["generated"] and held["generated"]["mean"],
            "ratio": held["ratio"],
            "95 % interval": _span(held["interval"]),
            "real micrographs among themselves (90 %)": _span(held["micrographs"]),
        }
        for name, kinds in summary["pictures"]["contrast"].items()
        for kind, held in kinds.items()
    ]


def distance_table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "quantity": _quantity(*name.split(".", 1)),
            "unit": held["unit"],
            "generated": held["generated"],
            "halves of real patches": held["patches"]["median"],
            "real micrographs (median)": held["micrographs"]["median"],
            "real micrographs (95th percentile)": held["micrographs"]["p95"],
        }
        for name, held in summary["pictures"]["distances"].items()
    ]


def _quantity(name: str, category: str = "") -> str:
    return QUANTITIES[name].label + f" of {category}" * bool(category)


def _span(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def read_section(folder: str | os.PathLike) -> Section | None:
    """What a run's report says, from the files of `measure_fidelity` in `folder`; None without them."""
    folder = Path(folder)
    if not (folder / "fidelity.json").is_file():
        return None
    summary = read_json(folder / "fidelity.json")
    tables = [Table(adherence_table(summary), ADHERENCE_TEXT), Table(contrast_table(summary), CONTRAST_TEXT)]
    sheet = Picture(folder / "sheet.png", "Real and generated patches, row by row.")
    more = Link("All comparisons with real pictures", f"{folder.name}/report.html")
    return Section("Generated pictures", describe(summary), tables, [sheet], [more])


def page_sections(folder: Path, summary: Mapping[str, Any]) -> list[Section]:
    """The sections of the page, with the figures in `folder`."""

    def pictures(*named: tuple[str, str]) -> list[Picture]:
        return [Picture(folder / name, caption) for name, caption in named if (folder / name).is_file()]

    return [
        Section("Adherence to the mask", ADHERENCE_TEXT, [Table(adherence_table(summary))]),
        Section(
            "Contrast, texture, grey levels",
            "",
            [Table(contrast_table(summary), CONTRAST_TEXT), Table(distance_table(summary), DISTANCES_TEXT)],
            pictures(
                ("contrast.svg", "Local contrast of each defect, real and generated."),
                ("spectra.svg", "Radial power spectra; the band is between micrographs."),
                ("grey.svg", "Grey levels of all pixels."),
            ),
        ),
        Section(
            "Memorisation",
            MEMORISATION_TEXT,
            (),
            pictures(
                ("nearest.png", "The generated pictures that are closest to a training patch in features."),
                ("copies.png", "Those that correlate best with one, in any of the eight symmetries."),
            ),
        ),
        Section("Pictures", "", (), pictures(("sheet.png", "Real and generated patches, row by row."))),
    ]


ADHERENCE_TEXT = (
    "Judges are detectors trained on the cell's training micrographs but those of a fold. Real and reconstructed "
    "patches are judged by the judge that has not seen their scene, generated ones by all: they stem from all "
    "training micrographs, which flatters them, if anything. Adherence is the mean over pairs of "
    "2·right/(requested + found); F1 of a class falls both when it is missed and when it is taken for another."
)
CONTRAST_TEXT = (
    "Local contrast: mean grey of a ring around a defect minus that inside its mask, or along the inside of its "
    "outline."
)
DISTANCES_TEXT = (
    "Distances between equally many patches; random halves of the training patches are what a perfect model would "
    "reach, divisions by whole scenes how far other micrographs of the same kind are."
)
MEMORISATION_TEXT = (
    "Nearest neighbours in the judges' features. A copy would be far closer to a training patch than to any held-out "
    "one, and correlate with it."
)
