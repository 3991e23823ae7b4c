"""Compare generated pairs with real ones: adherence to the mask, contrast, texture, memorisation."""

from __future__ import annotations

from pipelines.common import parse_cell, read_params, stage
from tem_data.core.files import atomic_write, write_json
from tem_data.core.places import Cell
from tem_data.core.schema import read_dataset
from tem_data.diffusion.autoencoder import load_autoencoder
from tem_data.importing.micrographs import classes_of
from tem_data.scoring.evaluation import read_evaluation


def main() -> None:
    from tem_data.fidelity.adherence import panel_of
    from tem_data.fidelity.judges import load_judges
    from tem_data.fidelity.measuring import measure_fidelity

    args = parse_cell("split", "size", "run")
    cell, params = Cell(args.split, args.size, args.run), read_params()
    training, validation = (list(read_dataset(cell.data / "patches", split)) for split in ("train", "validation"))
    generated = list(read_dataset(cell.folder / "pairs" / "exp_gen", "train"))
    thresholds, rule = read_evaluation(params["evaluate"])
    panel = panel_of(load_judges(cell.data / "judges"), validation, classes_of(params).names, thresholds, rule)
    autoencoder = load_autoencoder(cell.data / "autoencoder")
    simulated = " (simulated micrographs)" if training[0].origin == "builtin" else ""
    title = f"Generated pictures of split {cell.split}, n = {cell.size}, run {cell.run}{simulated}"
    with atomic_write(cell.folder / "fidelity") as draft:
        draft.mkdir()
        summary = measure_fidelity(draft, training, validation, generated, autoencoder, panel, cell.seed, title)
        write_json(cell.results / "fidelity.json", summary)


if __name__ == "__main__":
    stage(main)
