"""Draws docs/images/mask_controls.png: the effect of each setting of the sampler, on masks from built-in micrographs.

`python docs/scripts/mask_controls.py`
"""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from tem_data.figures import colour_mask
from tem_data.figures.pictures import class_keys
from tem_data.figures.style import RC, legend
from tem_data.masks.sampler import MaskSampler
from tem_data.masks.settings import MaskSettings
from tem_data.masks.shapes import fit_shapes
from tem_data.simulation.micrographs import simulate

PICTURE = Path(__file__).parent.parent / "images" / "mask_controls.png"

CLASSES, SIZE, MASKS, NM_PER_PX = ("100", "111", "bdot"), 256, 4, 0.6
CONTROLS = (
    {},
    {"density": 2.5},
    {"class_density": {"100": 4.0}},
    {"class_size": {"111": 1.7}},
    {"angle": "uniform"},
    {"angle": 45},
    {"min_size": 10.0},
    {"max_size": 10.0},
    {"empty": 0.5},
    {"overlap": "allowed", "density": 2.5},
    {"overlap": "forbidden", "density": 2.5},
    {"nm_per_px": 1.2},
)


def label(control: dict) -> str:
    return ", ".join(f"{name}: {value}" for name, value in control.items()) or "as measured"


def main() -> None:
    shapes = fit_shapes(simulate(12, 512, NM_PER_PX), CLASSES)
    with rc_context(RC):
        figure = Figure(figsize=(7.1, 6.4), dpi=130, layout="constrained")
        panels = figure.subplots(len(CONTROLS) // 2, 2 * MASKS, squeeze=False)
        for k, control in enumerate(CONTROLS):
            row, first = k // 2, k % 2 * MASKS
            (batch,) = MaskSampler(shapes, MaskSettings(size_px=SIZE, **control)).batches(0, 0, MASKS)
            for axes, mask in zip(panels[row, first : first + MASKS], batch.class_masks, strict=True):
                axes.imshow(colour_mask(mask, CLASSES), interpolation="nearest")
                axes.set(xticks=[], yticks=[])
            panels[row, first].set_title(label(control), loc="left")
        legend(figure, class_keys(CLASSES))
        figure.savefig(PICTURE, metadata={"Software": None})


if __name__ == "__main__":
    main()
