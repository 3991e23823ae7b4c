"""Which generated pairs pass."""

from __future__ import annotations

from tem_data.core.settings import section, setting


@section("filter")
class FilterSettings:
    """Which generated pairs are dropped."""

    quantile: float = setting(
        0.1, "Share of real patches that show their labels worse than the least good pair that is kept.", ge=0, lt=1
    )
