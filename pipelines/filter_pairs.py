"""Leave out the generated pairs that show their masks worse than all but the worst real ones do."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import write_json
from tem_data.core.places import Cell
from tem_data.fidelity.filtering import FilterSettings, write_filtered


def main(cell: Cell, settings: FilterSettings) -> None:
    pairs = cell.folder / "pairs"
    report = write_filtered(pairs / "exp_gen", cell.folder / "fidelity", pairs / "exp_gen_filtered", settings)
    write_json(cell.results / "filter.json", report)


if __name__ == "__main__":
    stage(main)
