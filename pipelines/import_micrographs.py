"""Bring labelled micrographs into the one schema, set aside what is wrong, and tie overlapping ones into scenes."""

from __future__ import annotations

from pipelines.common import read_params, stage
from tem_data.core.errors import TemDataError
from tem_data.core.files import write_json, write_table
from tem_data.core.micrograph import Micrograph, count_by_class
from tem_data.core.places import MICROGRAPHS, RESULTS
from tem_data.core.schema import write_micrographs
from tem_data.importing.micrographs import classes_of, import_micrographs
from tem_data.importing.quarantine import Quarantine
from tem_data.simulation.micrographs import simulate
from tem_data.splits.scenes import SharedField, with_scenes


def main() -> None:
    params = read_params()
    micrographs, quarantine = labelled_micrographs(params)
    if not micrographs:
        raise TemDataError("import: no micrograph is left; results/quarantine.csv says why")
    micrographs, overlaps = with_scenes(micrographs, params["import"]["min_overlap"])
    write_micrographs(MICROGRAPHS, micrographs, classes_of(params), "Whole micrographs.")
    write_table(RESULTS / "overlaps.csv", [o._asdict() for o in overlaps], SharedField._fields)
    report = {
        "micrographs": len(micrographs),
        "scenes": len({m.scene for m in micrographs}),
        "uncalibrated": sum(m.nm_per_px is None for m in micrographs),
        "defects": count_by_class(micrographs),
        "quarantine": quarantine.counts(),
    }
    write_json(RESULTS / "import.json", report)
    print(f"{report['micrographs']} micrographs in {report['scenes']} scenes, defects {report['defects']}")


def labelled_micrographs(params: dict) -> tuple[list[Micrograph], Quarantine]:
    """The built-in micrographs, or those that the settings name; writes and prints the quarantine."""
    settings = dict(params["import"])
    builtin = settings.pop("builtin")
    del settings["min_overlap"], settings["watch"]
    if settings["source"] == "builtin":
        micrographs, quarantine = list(simulate(**builtin)), Quarantine()
    else:
        settings |= {"classes": params["classes"], "ignored": params["ignored"]}
        micrographs, quarantine = import_micrographs(settings)
    quarantine.write(RESULTS / "quarantine.csv")
    print(quarantine.summary())
    return micrographs, quarantine


if __name__ == "__main__":
    stage(main)
