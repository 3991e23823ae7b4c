"""The step that writes how masks compare with experimental ones."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tem_data.core.files import atomic_write, write_json, write_table
from tem_data.mask_comparison.comparison import COLUMNS, MaskComparison
from tem_data.mask_comparison.figures import mask_histograms
from tem_data.mask_comparison.text import describe

NAMES = ("experimental", "simulated")


def write_comparison(out: str | os.PathLike, compared: MaskComparison, names: Sequence[str] = NAMES) -> None:
    """Write masks.json, masks.csv and histograms of a comparison to the folder `out`; `names` are those of the sets."""
    with atomic_write(out) as draft:
        draft.mkdir()
        write_json(draft / "masks.json", compared.summary)
        write_table(draft / "masks.csv", compared.rows, COLUMNS)
        mask_histograms(draft / "histograms", compared, names)
    print(describe(compared.summary))
