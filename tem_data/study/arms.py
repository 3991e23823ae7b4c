"""Which cells, runs and arms a study has; an arm is what is added to the experimental patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tem_data.core.errors import SettingError
from tem_data.core.places import Cell
from tem_data.core.settings import section, setting

ARMS = {
    "exp": "EXP",
    "exp_gen": "EXP+GEN",
    "exp_paint": "EXP+PAINT",
    "exp_copypaste": "EXP+CP",
}
BASELINE = "exp"
Arm = Literal["exp", "exp_gen", "exp_paint", "exp_copypaste"]


@section("study")
class StudySettings:
    """One cell for each split and training size, its independent runs, and the arms that are compared in each."""

    cells: Sequence[str] = setting(
        ("1-10",), "split-size; a size counts training and validation micrographs, `all` takes all.", min_length=1
    )
    runs: Sequence[int] = setting((1,), "Independent runs of each cell, end to end.", min_length=1)
    arms: Sequence[Arm] = setting(tuple(ARMS), "What is compared; exp is always the baseline.")
    added: Sequence[Arm] = setting(tuple(ARMS)[1:], "Those that add pairs to the experimental patches.")
    models: Sequence[Literal["ldm"]] = setting(("ldm",), "ldm where an arm needs a latent diffusion model; else none.")
    generated: Sequence[Arm] = setting(("exp_gen",), "Those of them whose pairs the LDM generates.")
    painted: Sequence[Arm] = setting(("exp_paint",), "Those whose pairs are real patches with painted defects.")
    copy_paste: Sequence[Arm] = setting(("exp_copypaste",), "Those whose pairs are copied and pasted, the control.")

    def __post_init__(self) -> None:
        lists = ("arms", "added", "models", "generated", "painted", "copy_paste")
        arms, added, models, generated, painted, copy_paste = (set(getattr(self, name)) for name in lists)
        fit = added == arms - {BASELINE} == generated | painted | copy_paste
        fit &= bool(models) == bool(generated | painted)
        if BASELINE not in arms or not fit:
            held = ", ".join(f"{name} {list(getattr(self, name))}" for name in lists)
            problem = f"{held} do not fit; take a choice of conf/arms/, as `-S arms=exp_copypaste`"
            raise SettingError("study", "arms", problem)
        for key in self.cells:
            if Cell.named(key).run:
                raise SettingError("study", "cells", f"expected cells, split-size as 1-10, found {key!r}")

    @property
    def every_run(self) -> list[Cell]:
        """All runs of all cells."""
        return [Cell(cell.split, cell.size, run) for cell in map(Cell.named, self.cells) for run in self.runs]
