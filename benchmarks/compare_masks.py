"""The proof on FeCrAl, split 1: masks fitted on its 52 training and validation micrographs against its 22 test ones.

`python benchmarks/compare_masks.py ../shared/data/fecral` prints, for ours and for the published recipe, the share of
distances inside the 95th percentile of real against real, those outside, and the classifier's AUC.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import yaml
from published_sampler import fit_published, published_mask

from tem_data.core.files import read_table
from tem_data.core.micrograph import Micrograph
from tem_data.importing.micrographs import import_micrographs
from tem_data.importing.settings import ImportSettings
from tem_data.mask_comparison.comparison import compare_masks
from tem_data.mask_comparison.features import measure_masks
from tem_data.mask_comparison.text import describe
from tem_data.masks.sampler import MaskSampler
from tem_data.masks.settings import MaskSettings
from tem_data.masks.shapes import fit_shapes
from tem_data.patches.cutting import ignore_slivers, tiles

SIZE, MIN_AREA_PX, CLASSES = 256, 20, ("100", "111", "bdot")


def micrographs_by_role(folder: Path) -> dict[str, list[Micrograph]]:
    """The micrographs of each role of split 1, without their images, with the scenes of the table."""
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    settings = ImportSettings(
        source="ellipses",
        images=str(folder / "images"),
        annotations=str(folder / "ellipses.csv"),
        calibration=str(folder / "micrographs.csv"),
        classes=params["import"]["classes"],
        ignored=params["import"]["ignored"],
    )
    found = import_micrographs(settings).micrographs
    rows = {Path(row["file_name"]).stem: row for row in read_table(folder / "splits.csv")}
    by_role: dict[str, list[Micrograph]] = {"train": [], "val": [], "test": [], "": []}
    for micrograph in found:
        if row := rows.get(micrograph.micrograph_id):
            by_role[row["split1_role"]].append(replace(micrograph, image=None, scene=row["scene"]))
    return by_role


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the FeCrAl micrographs and their tables lie")
    parser.add_argument("--count", type=int, default=3000, help="masks to draw of each kind")
    args = parser.parse_args()
    by_role = micrographs_by_role(args.folder)
    learnt_from, test = by_role["train"] + by_role["val"], by_role["test"]
    ours = MaskSampler(fit_shapes(learnt_from, CLASSES), MaskSettings(size_px=SIZE))
    theirs = fit_published(tiles(learnt_from, SIZE, MIN_AREA_PX), CLASSES)
    drawn = {
        "ours": ours.masks(1, 0, args.count),
        "published": (published_mask(theirs, SIZE, 1, i) for i in range(args.count)),
    }
    real, fitted_on = (measure_masks(tiles(m, SIZE, MIN_AREA_PX), CLASSES) for m in (test, learnt_from))
    for name, masks in drawn.items():
        simulated = measure_masks((ignore_slivers(m, MIN_AREA_PX) for m in masks), CLASSES, name)
        summary = compare_masks(real, simulated, fitted_on).summary
        print(f"{name}, in {summary['unit']}: {describe(summary)}")
        print(f"  outside: {', '.join(summary['outside']) or 'none'}")


if __name__ == "__main__":
    main()
