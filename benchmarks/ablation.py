"""What each part of the diffusion model is worth: one factor at a time, on the masks and judges of a finished run.

    python -m benchmarks.ablation PROJECT [--masks 200] [--run 1-10-1]

PROJECT is a clone in which `dvc repro` has made patches, autoencoder, masks, judges and LDM (profile `fecral`). Where a
variant changes the training, it trains its own denoiser with the settings of PROJECT's params.yaml but for one, in
PROJECT/.ablation, and goes on there when it was killed. All variants paint the same masks from the same seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from tem_data.cards.tables import markdown_table
from tem_data.core.micrograph import Micrograph
from tem_data.core.places import Cell
from tem_data.core.schema import read_classes, read_dataset
from tem_data.diffusion import MaskToMicrographPipeline, load_autoencoder, train_ldm
from tem_data.diffusion.conditioning import Conditioning
from tem_data.diffusion.steps import conditioning_of, read_pairs
from tem_data.fidelity.adherence import Adherence, judge, paired_difference, panel_of
from tem_data.fidelity.comparison import compare_pictures
from tem_data.judges.judges import load_judges
from tem_data.scoring.evaluation import read_evaluation
from tem_data.training.averaged import evenly_spaced

# By name: settings of the training that differ, and of the sampler.
VARIANTS = {
    "default": ({}, {}),
    "mask with the latents only (concat)": ({"conditioning": "concat"}, {}),
    "mask told at all times": ({"blind_above": 999}, {}),
    "no guidance": ({}, {"guidance_scale": 1.0}),
    "guidance 2": ({}, {"guidance_scale": 2.0}),
    "200 steps": ({}, {"num_inference_steps": 200}),
}
MARGIN = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--run", default="1-10-1")
    parser.add_argument("--masks", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="names of variants")
    args = parser.parse_args()
    trial = Trial(args.project, args.run, args.masks)
    rows = []
    for name in args.only:
        training, sampler = VARIANTS[name]
        rows.append({"variant": name} | trial.row(training, sampler))
        print(markdown_table(rows), flush=True)


class Trial:
    """The masks, the judges and the real patches that all variants share."""

    def __init__(self, project: Path, run: str, masks: int):
        cell = Cell(*map(int, run.split("-")))
        self.project, self.seed = project, cell.seed
        self.params = yaml.safe_load((project / "params.yaml").read_text())
        patches = project / cell.data / "patches"
        self.names = read_classes(patches).names
        self.pairs = read_pairs(patches, "train"), read_pairs(patches, "validation")
        self.real, self.held_out = (list(read_dataset(patches, split)) for split in ("train", "validation"))
        drawn = list(read_dataset(project / cell.folder / "masks"))
        self.masks = [drawn[i] for i in evenly_spaced(len(drawn), masks)]
        self.conditioning = Conditioning(
            *map(np.stack, zip(*(conditioning_of(mask, self.names) for mask in self.masks), strict=True))
        )
        evaluation = read_evaluation(self.params["evaluate"])
        self.panel = panel_of(load_judges(project / cell.data / "judges"), self.held_out, self.names, *evaluation)
        self.autoencoder = load_autoencoder(project / cell.data / "autoencoder")
        self.ldm = MaskToMicrographPipeline.from_pretrained(project / cell.folder / "ldm")
        self.first: Adherence | None = None

    def row(self, training: dict, sampler: dict) -> dict:
        """Adherence, contrast and texture of a variant, and its adherence less that of the first one."""
        pipeline = self._trained(training) if training else self.ldm
        images = pipeline.paint(self.conditioning, range(len(self.masks)), **sampler)
        painted = [replace(mask, image=image) for mask, image in zip(self.masks, images, strict=True)]
        judged = judge(self.panel, painted)
        self.first = self.first or judged
        return {
            "F1_HM": judged.scores.f1_hm,
            "adherence": float(judged.of_pair.mean()),
            "against the first [95 %]": _difference(judged, self.first),
        } | self._pictures(painted)

    def _trained(self, changed: dict) -> MaskToMicrographPipeline:
        settings = self.params["ldm"] | {"sample_steps": 0} | changed
        work = self.project / ".ablation" / "-".join(f"{key}={value}" for key, value in changed.items())
        denoiser, _ = train_ldm(self.autoencoder, *self.pairs, len(self.names), settings, work, self.seed)
        return MaskToMicrographPipeline.assemble(denoiser, self.autoencoder, self.names)

    def _pictures(self, painted: list[Micrograph]) -> dict:
        found = compare_pictures(self.real, self.held_out, painted, self.names, seed=1, progress=False).summary
        contrast = {
            f"{kind} {name}": held["ratio"] for name, kinds in found["contrast"].items() for kind, held in kinds.items()
        }
        return {name: found["distances"][name]["generated"] for name in ("spectrum", "grey")} | contrast


def _difference(judged: Adherence, first: Adherence) -> str:
    found = paired_difference(judged, first)
    verdict = " (no worse)" if found.low > -MARGIN else ""
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]{verdict}"


if __name__ == "__main__":
    main()
