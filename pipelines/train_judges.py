"""Train the judges of mask adherence: Mask R-CNNs on all training micrographs but those of a fold."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import work_folder
from tem_data.core.places import Cell
from tem_data.core.schema import read_dataset
from tem_data.importing.micrographs import classes_of


def main() -> None:
    from tem_data.fidelity.judges import read_judge_settings, save_judges, train_judges

    args = parse_cell("split", "size")
    cell, params = Cell(args.split, args.size), read_params()
    folder, patches = cell.data / "judges", cell.data / "patches"
    settings, folds = read_judge_settings(params["judges"], params["detector"])
    with work_folder(folder, [params["detector"], params["judges"]], patches) as work:
        training = list(read_dataset(patches, "train"))
        judges = train_judges(training, classes_of(params).names, settings, folds, cell.seed, work)
        save_judges(judges, folder)


if __name__ == "__main__":
    stage(main)
