"""What a run was and what came of it, for summary.json and the head of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from typing import Any

from tem_data.analysis.job import Job
from tem_data.analysis.report import Entry
from tem_data.analysis.settings import AnalysisSettings
from tem_data.analysis.words import counted, duration
from tem_data.materials.measuring import ALL


def summary_of(job: Job, entries: Sequence[Entry], by_class: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The content of `summary.json`."""
    rows = [(entry.shot.file_name, entry.rows[ALL]) for entry in entries]
    return {
        "model": job.model,
        "threshold": job.threshold,
        "origin_of_threshold": job.origin_of_threshold,
        "tem_data": version("tem_data"),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "micrographs": len(entries),
        "set_aside": sum(row["action"] == "set aside" for row in job.quarantine.rows),
        "without_nm_per_px": [name for name, row in rows if row["nm_per_px"] is None],
        "without_thickness_nm": [name for name, row in rows if row["nm_per_px"] and row["thickness_nm"] is None],
        "without_barrier_strength": [
            name for name in job.detector.classes if name not in job.materials.barrier_strength
        ],
        "remarks": {name: row["note"] for name, row in rows if row["note"]},
        "seconds": sum(row["seconds"] for _, row in rows),
        "materials": asdict(job.materials),
        "classes": by_class,
    }


def facts_of(job: Job, summary: Mapping[str, Any]) -> dict[str, str]:
    """How the defects were found, in words."""
    settings, about = job.settings, job.detector.about
    scale = about.nm_per_px
    facts = {
        "model": f"{job.model}, trained on {counted(about.micrographs, 'micrograph')}"
        if about.micrographs
        else job.model,
        "trained at": f"{scale.low:.3g} to {scale.high:.3g} nm per px" if scale else "an unknown scale",
        "threshold": f"{job.threshold:g}, {job.origin_of_threshold}",
        "scale": _scale(settings),
        "data bars": "found and left out" if settings.data_bar == "auto" else f"{settings.data_bar} rows",
        "size rules": ", ".join(f"{name}: {job.materials.size.get(name, 'loop')}" for name in job.detector.classes),
        "time": f"{duration(summary['seconds'])} of search",
        "date": summary["date"][:16].replace("T", " "),
        "made by": f"tem_data {summary['tem_data']}",
    }
    return facts


def _scale(settings: AnalysisSettings) -> str:
    if settings.nm_per_px is not None:
        return f"{settings.nm_per_px:g} nm per px for all, as given"
    return (
        "from the files" if settings.calibration is None else f"from {settings.calibration.name}, else from the files"
    )
