"""Find the defects on the validation and test tiles, at every confidence."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.coco.writing import coco_results
from tem_data.core.files import atomic_write, write_json
from tem_data.core.places import Cell
from tem_data.core.schema import read_dataset
from tem_data.importing.micrographs import classes_of


def main() -> None:
    from tem_data.detection.model import load_detector
    from tem_data.detection.prediction import predict_patches

    args = parse_cell("split", "size", "run", "arm")
    cell, classes = Cell(args.split, args.size, args.run), classes_of(read_params())
    detector = load_detector(cell.folder / args.arm)
    with atomic_write(cell.folder / "found" / args.arm) as draft:
        for role in ("validation", "test"):
            tiles = list(read_dataset(cell.data / "patches", role))
            found = predict_patches(detector, [tile.image for tile in tiles])
            write_json(draft / f"{role}.json", coco_results(found, tiles, classes))


if __name__ == "__main__":
    stage(main)
