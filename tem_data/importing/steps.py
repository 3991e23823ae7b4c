"""The step from images and label files to a data set of micrographs."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from typing import Any

from tem_data.core.errors import TemDataError
from tem_data.core.files import write_table
from tem_data.core.micrograph import count_by_class
from tem_data.core.schema import Classes, write_micrographs
from tem_data.importing.contact_sheet import write_contact_sheet
from tem_data.importing.micrographs import Imported, import_micrographs
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.review import summary, totals
from tem_data.importing.settings import ImportSettings
from tem_data.simulation.micrographs import simulate
from tem_data.splits.scenes import SharedField, with_scenes

Path = str | os.PathLike


def import_dataset(
    settings: ImportSettings, out: Path, quarantine: Path, overlaps: Path, sheet: Path
) -> dict[str, Any]:
    """Write the micrographs as a data set to `out`, tables of what was wrong and of which overlap, and a contact sheet.

    Returns the counts of micrographs, scenes, defects and faults. Raises
    TemDataError where no micrograph is left, and as `import_micrographs` does.
    """
    micrographs, found_wrong, classes, names, reviews = labelled_micrographs(settings)
    found_wrong.write(quarantine)
    print(found_wrong.summary())
    _say_unknown(found_wrong, classes)
    if reviews:
        print(summary(reviews))
    if not micrographs:
        raise TemDataError(f"no micrograph is left; {quarantine} says why")
    micrographs, shared = with_scenes(micrographs, settings.min_overlap)
    write_table(overlaps, [field._asdict() for field in shared], SharedField._fields)
    write_micrographs(out, micrographs, classes, "Whole micrographs.")
    write_contact_sheet(sheet, micrographs, classes.names, found_wrong.rows, names)
    report = {
        "micrographs": len(micrographs),
        "scenes": len({m.scene for m in micrographs}),
        "uncalibrated": sum(m.nm_per_px is None for m in micrographs),
        "defects": count_by_class(micrographs),
        "ignored": sum(d.ignore for m in micrographs for d in m.defects),
        "quarantine": found_wrong.counts(),
    } | ({"proposals": totals(reviews)} if reviews else {})
    ignored = f", {report['ignored']} of them ignored" if report["ignored"] else ""
    found = f"{report['micrographs']} micrographs in {report['scenes']} scenes, defects {report['defects']}{ignored}"
    print(f"{out}: {found}")
    print(f"{sheet}: the micrographs with their labels, the doubtful ones first")
    return report


def labelled_micrographs(settings: ImportSettings) -> Imported:
    """The built-in micrographs, or those that the settings name, and what is wrong with them."""
    if settings.source == "builtin":
        micrographs = list(simulate(**asdict(settings.builtin)))
        classes = settings.of_classes(count_by_class(micrographs)).schema
        return Imported(micrographs, Quarantine(), classes, {m.micrograph_id: m.micrograph_id for m in micrographs})
    return import_micrographs(settings)


def _say_unknown(found_wrong: Quarantine, classes: Classes) -> None:
    """Which classes the files have besides, and how they are taken in."""
    names = Counter(row["detail"] for row in found_wrong.rows if row["reason"] == "unknown class")
    if names:
        counted = ", ".join(f"{name} ({count} labels)" for name, count in names.most_common())
        every = ",".join([*classes.names, *names])
        print(f"not among the classes: {counted}; add what you need by --classes {every}, or import.classes")
