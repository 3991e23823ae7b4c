"""Compare generated pairs with real ones: adherence to the mask, contrast, texture, memorisation."""

from __future__ import annotations

from pipelines.common import stage
from tem_data.core.files import write_json
from tem_data.core.places import Cell
from tem_data.core.schema import read_dataset
from tem_data.diffusion.autoencoder import load_autoencoder
from tem_data.fidelity.steps import compare_pairs
from tem_data.scoring.evaluation import EvaluationSettings


def main(cell: Cell, settings: EvaluationSettings) -> None:
    patches, pairs = cell.data / "patches", cell.folder / "pairs" / "exp_gen"
    simulated = next(iter(read_dataset(patches, "train"))).origin == "builtin"
    title = f"Generated pictures of split {cell.split}, n = {cell.size}, run {cell.run}"
    title += " (simulated micrographs)" * simulated
    models = load_autoencoder(cell.data / "autoencoder"), cell.data / "judges"
    summary = compare_pairs(patches, pairs, *models, cell.folder / "fidelity", settings, cell.seed, title)
    write_json(cell.results / "fidelity.json", summary)


if __name__ == "__main__":
    stage(main)
