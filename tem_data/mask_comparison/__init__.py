"""Whether masks can be told from experimental ones: distances of distributions, and a classifier.

`features` measures patches, `distances` compares samples, `classifier` is the
two-sample test, `comparison` puts them together, `text` says it.
"""

from tem_data.mask_comparison.comparison import COLUMNS, MaskComparison, compare_masks
from tem_data.mask_comparison.features import ALL, QUANTITIES, MaskFeatures, join, measure_masks
from tem_data.mask_comparison.text import RATIOS_TEXT, describe, ratio_table, read_section

__all__ = [
    "ALL",
    "COLUMNS",
    "QUANTITIES",
    "RATIOS_TEXT",
    "MaskComparison",
    "MaskFeatures",
    "compare_masks",
    "describe",
    "join",
    "measure_masks",
    "ratio_table",
    "read_section",
]
