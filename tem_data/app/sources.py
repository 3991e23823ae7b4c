"""What the page works with: what its command names, else what the project in the folder holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tem_data.core.errors import TemDataError
from tem_data.core.places import Cell


@dataclass(frozen=True)
class Sources:
    """`detectors` are folders or Hub names by what results call them, `ldm` is a folder or Hub name, `shapes` a file
    of `fit-shapes`, `datasets` are folders by name, and `project` is the folder with the results of a study."""

    detectors: Mapping[str, str] = field(default_factory=dict)
    ldm: str | None = None
    shapes: Path | None = None
    datasets: Mapping[str, Path] = field(default_factory=dict)
    project: Path = Path()


def sources_of(
    detectors: Sequence[str] = (),
    ldm: str | None = None,
    shapes: Path | None = None,
    datasets: Sequence[Path] = (),
    project: Path = Path(),
) -> Sources:
    """Raises TemDataError for a file or folder of `shapes` or `datasets` that does not exist."""
    for path in (*datasets, *([shapes] if shapes else ())):
        if not path.exists():
            raise TemDataError(f"{path}: no such file or folder")
    folders = _folders(project, "runs/*/*/model.safetensors")
    named = detectors or [str(folder) for folder in folders if Path(folder, "config.json").is_file()]
    ldm = ldm or next((str(folder) for folder in _folders(project, "runs/*/ldm/model_index.json")), None)
    found = datasets or _datasets(project)
    return Sources(
        {_called(name): name for name in named},
        ldm,
        shapes or (_shapes(Path(ldm), project) if ldm else None),
        {_called(str(folder)): folder for folder in found},
        project,
    )


def _folders(project: Path, pattern: str) -> list[Path]:
    return list(dict.fromkeys(path.parent for path in sorted(project.glob(pattern))))


def _datasets(project: Path) -> list[Path]:
    """Whole micrographs first."""
    folders = [folder.parent for top in ("data", "runs") for folder in _folders(project, f"{top}/**/data/*.parquet")]
    return sorted(folders, key=lambda folder: not any((folder / "data").glob("micrographs-*")))


def _shapes(ldm: Path, project: Path) -> Path | None:
    """What was fitted on the micrographs that a run's model was trained on."""
    try:
        path = project / Cell.named(ldm.resolve().parent.name).data / "shapes.json"
    except TemDataError:
        return None
    return path if path.is_file() else None


def _called(name: str) -> str:
    """A name for results that does not tell where on this machine it lies."""
    path = Path(name)
    return "/".join(path.parts[-2:]) if path.is_absolute() else name
