"""Leave out the generated pairs that show their masks worse than all but the worst real ones do."""

from __future__ import annotations

from pipelines.common import Cell, parse_cell, read_params, stage
from tem_data.fidelity.filtering import FilterSettings, filter_pairs, floor_of, read_adherence
from tem_data.files import write_json
from tem_data.schema import read_classes, read_dataset, write_dataset
from tem_data.settings import read_settings


def main() -> None:
    args = parse_cell("split", "size", "run")
    cell = Cell(args.split, args.size, args.run)
    settings = read_settings(FilterSettings, read_params()["filter"], "filter")
    pairs, table = cell.folder / "pairs" / "exp_gen", cell.folder / "fidelity" / "adherence.csv"
    floor = floor_of(read_adherence(table, "real"), settings.quantile)
    kept, report = filter_pairs(list(read_dataset(pairs, "train")), read_adherence(table, "generated"), floor)
    folder = cell.folder / "pairs" / "exp_gen_filtered"
    write_dataset(folder, {"train": kept}, read_classes(pairs), "Generated pairs (GEN) without the poor ones.")
    write_json(cell.results / "filter.json", report)
    print(f"kept {report['pairs']['kept']} of {report['pairs']['all']} pairs")


if __name__ == "__main__":
    stage(main)
