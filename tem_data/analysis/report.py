"""The page of a run: every micrograph with its defects, the doubtful ones first, sizes, densities, settings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tem_data.analysis.figures import Density, densities, size_histograms
from tem_data.analysis.inputs import Shot
from tem_data.analysis.measuring import AREAL, VOLUME
from tem_data.analysis.words import with_error, with_limits
from tem_data.materials.counting import counting_error
from tem_data.materials.measuring import ALL
from tem_data.materials.quantities import Field
from tem_data.reports.page import Link, Picture, Section, Table, write_report

MOST_SHOWN = 60  # micrographs whose picture is on the page
Row = Mapping[str, Any]


class Entry(NamedTuple):
    """A micrograph: its rows by class, and its thumbnail."""

    shot: Shot
    rows: dict[str, Row]
    thumbnail: Path

    @property
    def doubt(self) -> tuple[bool, float]:
        """What the order of the page goes by: first what is odd about the scale, then doubtful defects."""
        row = self.rows[ALL]
        return row["nm_per_px"] is None, row["doubt"] or 0.0


class Run(NamedTuple):
    """What the page tells of a run besides its micrographs: by class the numbers of all, the facts in words."""

    fields: Sequence[Field]
    by_class: Mapping[str, Row]
    classes: Sequence[str]
    facts: Mapping[str, str]
    quarantine: Sequence[Mapping[str, str]]
    has_overlays: bool


def write_page(path: Path, entries: Sequence[Entry], run: Run) -> None:
    """One HTML file that needs no other; pictures and names link to the overlays beside it, where there are some."""
    ranked = sorted(entries, key=lambda entry: (*(-float(value) for value in entry.doubt), entry.shot.file_name))
    with tempfile.TemporaryDirectory() as folder:
        sections = [
            _together(run),
            _sheet(ranked, run),
            _sizes(run, Path(folder, "sizes")),
            _densities(ranked, run, Path(folder, "densities")),
            _table(ranked, run),
        ]
        if run.quarantine:
            sections.append(Section("Set aside and remarked", tables=[Table(run.quarantine)]))
        count = f"{len(entries)} micrograph{'s' * (len(entries) != 1)}"
        write_report(path, f"Defects on {count}", _summary(entries, run), sections, facts=run.facts)


def _summary(entries: Sequence[Entry], run: Run) -> str:
    counts = ", ".join(f"{name}: {run.by_class[name]['count']}" for name in run.classes)
    total = run.by_class[ALL]["count"]
    aside = sum(row["action"] == "set aside" for row in run.quarantine)
    left = f" {aside} file{'s' * (aside != 1)} could not be read and {'were' if aside != 1 else 'was'} set aside."
    uncalibrated = sum(entry.rows[ALL]["nm_per_px"] is None for entry in entries)
    scale = f" Not in the densities and sizes in nm, as of unknown scale: {uncalibrated}." * bool(uncalibrated)
    return f"{total} defects found ({counts}).{left * bool(aside)}{scale}\n\nNo defect was reviewed by a person."


def _together(run: Run) -> Section:
    rows, in_px = [], any(field.nm_per_px is None for field in run.fields)
    for name, row in run.by_class.items():
        rows.append(
            {
                "class": name,
                "count": with_limits(row),
                "areal density, 10⁻⁴ nm⁻²": with_error(row[AREAL], row[f"error_of_{AREAL}"]),
                "volume density, 10²¹ m⁻³": with_error(row[VOLUME], row[f"error_of_{VOLUME}"]),
                "mean size, nm": with_error(row["mean_size_nm"], row["error_of_mean_size_nm"]),
                "mean size, px": with_error(row["mean_size_px"], row["error_of_mean_size_px"]) * in_px,
                "hardening, MPa": with_error(row["hardening_quadrature_mpa"], None),
            }
        )
    text = (
        "Counts with the limits between which a count of this size lies in 95 of 100 cases; ± is one standard error. "
        "Sizes are those of defects that no edge cuts; hardening adds up in quadrature."
    )
    return Section("All micrographs together", text, [Table(_without_empty(rows))])


def _without_empty(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without the columns that no row has a value in."""
    kept = [name for name in rows[0] if any(row[name] for row in rows)]
    return [{name: row[name] for name in kept} for row in rows]


def _sheet(ranked: Sequence[Entry], run: Run) -> Section:
    pictures = [
        Picture(entry.thumbnail, _caption(entry), True, _href(entry.shot) * run.has_overlays)
        for entry in ranked[:MOST_SHOWN]
    ]
    more = f" The first {MOST_SHOWN} of {len(ranked)} are shown." * (len(ranked) > MOST_SHOWN)
    opens = " A click opens the picture at its full size." * run.has_overlays
    order = "The doubtful ones come first: those of unknown scale, then those whose finds can be trusted least."
    text = f"{order}{more}{opens}"
    return Section("The micrographs", text, pictures=pictures)


def _caption(entry: Entry) -> str:
    row = entry.rows[ALL]
    return f"{entry.shot.file_name}: {'; '.join(filter(None, (_doubt(row), row['note'])))}"


def _doubt(row: Row) -> str:
    """What is expected of the finds of a micrograph, in words."""
    if row["expected_f1_hm"] is not None:
        low, high = row["expected_f1_hm_low"], row["expected_f1_hm_high"]
        return f"expected F1_HM {row['expected_f1_hm']:.2f} ({low:.2f} to {high:.2f})"
    return "" if row["doubt"] is None else f"doubt {row['doubt']:.2f}"


def _href(shot: Shot) -> str:
    return f"overlays/{quote(shot.name)}.png"


def _sizes(run: Run, stem: Path) -> Section:
    whole = [defect for field in run.fields for defect in field.predictions if defect.whole]
    in_nm = any(defect.size_nm is not None for defect in whole)
    sizes: dict[str, list[float]] = {name: [] for name in run.classes}
    for defect in whole:
        size = defect.size_nm if in_nm else defect.size_px
        if size is not None:
            sizes[defect.category].append(size)
    if not any(sizes.values()):
        return Section("Sizes", "No defect that no edge cuts was found.")
    size_histograms(stem, sizes, "nm" if in_nm else "px", run.classes)
    text = "Of defects that no edge cuts, on all micrographs; the dashed line is the mean."
    return Section("Sizes", text, pictures=[Picture(f"{stem}.svg", "Sizes by class")])


def _densities(ranked: Sequence[Entry], run: Run, stem: Path) -> Section:
    rows = [
        _density(number, name, entry.rows[name])
        for number, entry in enumerate(ranked, 1)
        for name in run.classes
        if entry.rows[ALL]["area_nm2"]
    ]
    if not rows:
        return Section("Densities", "No micrograph has a known scale. Give --calibration or --nm-per-px.")
    densities(stem, rows, "10⁻⁴ nm⁻²", run.classes)
    text = "Areal density on each micrograph. The bars are the exact limits of 95 % of its count (Garwood)."
    return Section("Densities", text, pictures=[Picture(f"{stem}.svg", "Areal densities by micrograph and class")])


def _density(number: int, name: str, row: Row) -> Density:
    area = row["area_nm2"] / 1e4
    error = counting_error(row["count"]).over(area)
    return Density(number, name, row["count"] / area, error.low, error.high)


def _table(ranked: Sequence[Entry], run: Run) -> Section:
    rows = _without_empty([_line(number, entry, run) for number, entry in enumerate(ranked, 1)])
    return Section(
        "Numbers of each micrograph", "In the order of the pictures. micrographs.csv has more.", [Table(rows)]
    )


def _line(number: int, entry: Entry, run: Run) -> dict[str, Any]:
    row = entry.rows[ALL]
    name = entry.shot.file_name
    return {
        "No.": number,
        "micrograph": Link(name, _href(entry.shot)) if run.has_overlays else name,
        " / ".join(run.classes): "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}".join(
            str(entry.rows[name]["count"]) for name in run.classes
        ),
        "density, 10⁻⁴ nm⁻²": with_error(row[AREAL], row[f"error_of_{AREAL}"]) or "–",
        "mean size, nm": with_error(row["mean_size_nm"], row["error_of_mean_size_nm"]) or "–",
        "hardening, MPa": with_error(row["hardening_quadrature_mpa"], None) or "–",
        "nm per px": "–" if row["nm_per_px"] is None else f"{row['nm_per_px']:.4g}",
        "trust": _doubt(row) or "–",
        "remarks": row["note"],
    }


def entries_of(shots: Sequence[Shot], records: Iterable[Row], thumbnails: Iterable[Path]) -> list[Entry]:
    """A micrograph for each shot, from its record."""
    return [
        Entry(shot, {row["class"]: row for row in record["micrograph"]}, thumbnail)
        for shot, record, thumbnail in zip(shots, records, thumbnails, strict=True)
    ]
