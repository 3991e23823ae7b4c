"""Which extra of the package brings a library that is not installed."""

from __future__ import annotations

from traceback import walk_tb

from tem_data.core.errors import TemDataError

# By folder of tem_data, as pyproject.toml lists what they import.
EXTRAS = {
    "analysis": "detection",
    "app": "app",
    "cards": "pipeline",
    "detection": "detection",
    "diffusion": "diffusion",
    "fidelity": "diffusion,detection",
    "hub": "pipeline",
    "judges": "diffusion,detection",
    "painting": "diffusion,detection",
    "training": "diffusion",
    "trust": "detection",
}


def missing_extra(error: ModuleNotFoundError) -> TemDataError:
    """The error of someone who runs what their installation leaves out; raises `error` itself where no extra helps."""
    modules = (frame.f_globals.get("__name__", "").split(".") for frame, _ in walk_tb(error.__traceback__))
    folders = (names[1] for names in modules if names[0] == "tem_data" and len(names) > 1)
    extra = next((EXTRAS[folder] for folder in folders if folder in EXTRAS), None)
    library = (error.name or "").partition(".")[0]
    if extra is None or library == "tem_data":
        raise error
    return TemDataError(f"{library} is not installed; `pip install 'tem_data[{extra}]'` brings it")
