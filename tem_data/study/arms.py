"""The arms of a study: what is added to the experimental patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tem_data.core.errors import TemDataError

ARMS = {"exp": "EXP", "exp_gen": "EXP+GEN", "exp_gen_filtered": "EXP+GEN filtered", "exp_copypaste": "EXP+CP"}
LISTS = ("arms", "added", "generated", "filtered", "copy_paste")
BASELINE = "exp"


def check_arms(study: Mapping[str, Any]) -> None:
    """Raises TemDataError where the lists of arms do not fit each other."""
    arms, added, generated, filtered, copy_paste = (set(study.get(name, ())) for name in LISTS)
    fit = added == arms - {BASELINE} == generated | filtered | copy_paste and (generated or not filtered)
    if BASELINE not in arms or not arms <= set(ARMS) or not fit:
        lists = ", ".join(f"{name} {list(study.get(name, ()))}" for name in LISTS)
        raise TemDataError(f"study: {lists} do not fit; take a choice of conf/arms/, as `-S arms=exp_copypaste`")
