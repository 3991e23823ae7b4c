"""Train a Mask R-CNN: on experimental patches (arm exp), or on these and the pairs of another arm."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import work_folder, write_table
from tem_data.core.places import Cell
from tem_data.core.schema import read_dataset
from tem_data.core.settings import read_settings
from tem_data.importing.micrographs import classes_of


def main() -> None:
    from tem_data.detection.model import DetectorSettings, save_detector
    from tem_data.detection.training import train_detector

    args = parse_cell("split", "size", "run", "arm")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    folders = [cell.data / "patches"] + [cell.folder / "pairs" / args.arm] * (args.arm != "exp")
    patches = [patch for folder in folders for patch in read_dataset(folder, "train")]
    settings = read_settings(DetectorSettings, params["detector"], "detector")
    with work_folder(cell.folder / args.arm, params["detector"], *folders) as work:
        detector, history = train_detector(patches, classes_of(params).names, settings, cell.seed, work)
        save_detector(detector, cell.folder / args.arm)
        write_table(cell.results / args.arm / "loss.csv", history, list(history[0]))


if __name__ == "__main__":
    stage(main)
