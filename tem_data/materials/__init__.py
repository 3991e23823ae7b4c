"""What the defects say about a material: sizes, shapes, densities and hardening, as the 2022 paper measures them.

`outlines` measures one defect, `hardening` holds the constants and the counting
frame, `counting` the errors of counts, `quantities` sums over micrographs, `measuring` compares predictions with
the truth, `coco` does it for COCO files. Units stand in the names.
"""

from tem_data.materials.hardening import Materials
from tem_data.materials.measuring import DEFECT_COLUMNS, MICROGRAPH_COLUMNS, Measurement, measure

__all__ = ["DEFECT_COLUMNS", "MICROGRAPH_COLUMNS", "Materials", "Measurement", "measure"]
