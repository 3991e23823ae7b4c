"""How patches are cut, and how many are made by copy and paste."""

from __future__ import annotations

from tem_data.core.settings import section, setting


@section("patch")
class PatchSettings:
    """How micrographs are cut."""

    size: int = setting(128, "Side of a patch, px.", gt=0)
    stride: int = setting(32, "Step between windows for training, px.", gt=0)
    count: int = setting(800, "Training patches, in all eight symmetries, whatever the number of micrographs.", ge=1)
    min_area_px: int = setting(20, "What an edge leaves of a defect below this area is ignored, px².", ge=0)


@section("copy_paste")
class CopyPasteSettings:
    """How many pairs are made by copy and paste."""

    per_patch: float = setting(1.0, "Pairs for each experimental patch; as many as are generated, to be fair.", ge=0)
    count: int | None = setting(None, "How many pairs; null: `per_patch` for each patch.", ge=1)
