"""Trust as columns of the table of micrographs, and as the file that `suggest` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from tem_data.core.errors import TemDataError
from tem_data.core.files import read_json, write_json
from tem_data.trust.appearance import FEATURES
from tem_data.trust.calibration import Look
from tem_data.trust.correction import Estimate
from tem_data.trust.micrograph import MicrographTrust, Trust

TRUST = "trust.json"
TRUST_COLUMNS = (
    *("expected_f1_hm", "expected_f1_hm_low", "expected_f1_hm_high", "novelty", "uncertain", "probably_missed"),
    *("corrected_count", "corrected_count_low", "corrected_count_high"),
)


def trust_columns(densities: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns of `trust_row`."""
    return (*TRUST_COLUMNS, *(f"corrected_{name}{end}" for name in densities for end in ("", "_low", "_high")))


def trust_row(
    trust: MicrographTrust, name: str, numbers: Mapping[str, Any], densities: Sequence[str]
) -> dict[str, float | None]:
    """The columns of a class, or of `all`, whose `numbers` hold its `count` and some `densities`.

    A density is corrected as the count is. Cells are None where nothing is
    known, those of densities also where nothing was found.
    """
    count = trust.counts.get(name)
    row = {
        **_bounds("expected_f1_hm", trust.f1_hm),
        "novelty": trust.novelty,
        "uncertain": trust.uncertain,
        "probably_missed": trust.missed,
        **_bounds("corrected_count", count),
    }
    for column in densities:
        row |= _bounds(f"corrected_{column}", _scaled(count, numbers[column], numbers["count"]))
    return row


def _scaled(count: Estimate | None, density: float | None, found: int) -> Estimate | None:
    """A corrected count as a density, by the density of the `found` ones."""
    return Estimate(*(bound * density / found for bound in count)) if count and density and found else None


def _bounds(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    value, low, high = estimate or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


@dataclass(frozen=True)
class Candidate:
    """A micrograph that could be labelled: its expected F1_HM, if this is known, its appearance and why to doubt it."""

    image: Annotated[str, Field(min_length=1, max_length=4096)]
    expected_f1_hm: Annotated[float, Field(ge=0, le=1)] | None
    look: Look
    reasons: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=20)]


@dataclass(frozen=True)
class Candidates:
    """The micrographs of a run, and the appearances `looks` of those that its detector was trained on."""

    model: str
    looks: tuple[Look, ...]
    micrographs: tuple[Candidate, ...]


def candidate_of(image: str, trust: MicrographTrust) -> dict[str, Any]:
    """What is kept of a micrograph for `write_candidates`; JSON-ready."""
    return asdict(Candidate(image, trust.f1_hm.value if trust.f1_hm else None, trust.look, trust.reasons))


def write_candidates(folder: Path, model: str, trust: Trust, micrographs: Iterable[Mapping[str, Any]]) -> None:
    """Write `trust.json`, from which `suggest` chooses."""
    write_json(folder / TRUST, {"model": model, "looks": trust.looks, "micrographs": list(micrographs)})


def read_candidates(folder: Path) -> Candidates:
    """Raises TemDataError where a folder is not one that `predict` wrote."""
    path = folder / TRUST
    if not path.is_file():
        raise TemDataError(f"{path} is missing; give a folder that `tem-data predict` wrote")
    try:
        found = _ADAPTER.validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise TemDataError(f"{path}: {place}: {first['msg']}; run `tem-data predict` again") from error
    if not found.micrographs:
        raise TemDataError(f"{path} names no micrograph; run `tem-data predict` again")
    return found


def trained_looks(candidates: Candidates) -> np.ndarray:
    """(t, f), of the micrographs trained on."""
    return np.array(candidates.looks, float).reshape(-1, len(FEATURES))


_ADAPTER = TypeAdapter(Candidates)
