"""Leave out the generated pairs that show their masks worse than all but the worst real ones do."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import write_json
from tem_data.core.places import Cell
from tem_data.core.settings import read_settings
from tem_data.fidelity.filtering import FilterSettings, write_filtered


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell = Cell(args.split, args.size, args.run)
    settings = read_settings(FilterSettings, read_params()["filter"], "filter")
    pairs = cell.folder / "pairs"
    report = write_filtered(pairs / "exp_gen", cell.folder / "fidelity", pairs / "exp_gen_filtered", settings)
    write_json(cell.results / "filter.json", report)
    print(f"kept {report['pairs']['kept']} of {report['pairs']['all']} pairs")


if __name__ == "__main__":
    stage(main)
