"""The step from images and label files to a data set of micrographs."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from tem_data.core.errors import TemDataError
from tem_data.core.files import write_table
from tem_data.core.micrograph import Micrograph, count_by_class
from tem_data.core.schema import write_micrographs
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.settings import ImportSettings
from tem_data.simulation.micrographs import simulate
from tem_data.splits.scenes import SharedField, with_scenes

Path = str | os.PathLike


def import_dataset(settings: ImportSettings, out: Path, quarantine: Path, overlaps: Path) -> dict[str, Any]:
    """Write the micrographs as a data set to `out`, and tables of what was wrong and of which micrographs overlap.

    Returns the counts of micrographs, scenes, defects and faults. Raises
    TemDataError where no micrograph is left, and as `import_micrographs` does.
    """
    micrographs, found_wrong = labelled_micrographs(settings)
    found_wrong.write(quarantine)
    print(found_wrong.summary())
    if not micrographs:
        raise TemDataError(f"no micrograph is left; {quarantine} says why")
    micrographs, shared = with_scenes(micrographs, settings.min_overlap)
    write_table(overlaps, [field._asdict() for field in shared], SharedField._fields)
    write_micrographs(out, micrographs, settings.schema, "Whole micrographs.")
    report = {
        "micrographs": len(micrographs),
        "scenes": len({m.scene for m in micrographs}),
        "uncalibrated": sum(m.nm_per_px is None for m in micrographs),
        "defects": count_by_class(micrographs),
        "quarantine": found_wrong.counts(),
    }
    print(f"{out}: {report['micrographs']} micrographs in {report['scenes']} scenes, defects {report['defects']}")
    return report


def labelled_micrographs(settings: ImportSettings) -> tuple[list[Micrograph], Quarantine]:
    """The built-in micrographs, or those that the settings name, and what is wrong with them."""
    if settings.source == "builtin":
        return list(simulate(**asdict(settings.builtin))), Quarantine()
    return import_micrographs(settings)
