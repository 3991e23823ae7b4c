"""How new defects are painted into patches."""

from __future__ import annotations

from tem_data.core.settings import section, setting


@section("paint")
class PaintSettings:
    """How many patches get new defects, and how many of these."""

    per_patch: float = setting(1.0, "Painted patches for each experimental patch.", ge=0)
    count: int | None = setting(None, "How many painted patches; null: `per_patch` for each patch.", ge=1)
    share: float = setting(0.5, "Share of a drawn mask's defects that a patch gets, where it has room.", gt=0, le=1)
    confirm: float | None = setting(
        0.2, "Confidence with which a judge must find a new defect again, with its class; null: all stay.", gt=0, lt=1
    )
