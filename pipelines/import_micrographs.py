"""Bring labelled micrographs into the one schema, set aside what is wrong, and tie overlapping ones into scenes."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import write_json
from tem_data.core.places import IMPORT_SHEET, MICROGRAPHS, RESULTS
from tem_data.importing.settings import ImportSettings
from tem_data.importing.steps import import_dataset


def main(settings: ImportSettings) -> None:
    tables = RESULTS / "quarantine.csv", RESULTS / "overlaps.csv"
    report = import_dataset(settings, MICROGRAPHS, *tables, IMPORT_SHEET)
    write_json(RESULTS / "import.json", report)


if __name__ == "__main__":
    stage(main)
