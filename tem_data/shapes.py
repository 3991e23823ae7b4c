"""How defects look and how many there are, fitted on whole micrographs.

Every whole defect becomes the ellipse of its area and second moments; a defect
that touches the edge of its micrograph counts towards the density, but its cut
shape is not fitted ([P26] fits on 256-px crops, where edges bias the sizes).
Size, aspect ratio and angle stay together as they were measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tem_data.errors import TemDataError
from tem_data.files import read_json, write_json
from tem_data.micrograph import Defect, Micrograph, touches_edge

VERSION = 1


@dataclass(frozen=True)
class FittedEllipse:
    """Full axes and centre in px; `angle_deg` in [0, 180), counter-clockwise from +x on an image with y down."""

    x: float
    y: float
    major: float
    minor: float
    angle_deg: float


def ellipse_of(defect: Defect) -> FittedEllipse:
    """The ellipse of a mask's area and second moments; a pixel counts as a unit square (1/12 px² per axis)."""
    rows, cols = np.nonzero(defect.mask)
    moments = np.cov(np.stack([cols, -rows]), bias=True) + np.eye(2) / 12
    spread, axes = np.linalg.eigh(moments)
    minor, major = 4 * np.sqrt(spread)
    scale = np.sqrt(defect.area / (np.pi / 4 * major * minor))
    angle = np.rad2deg(np.arctan2(axes[1, 1], axes[0, 1])) % 180
    x, y = defect.x + cols.mean() + 0.5, defect.y + rows.mean() + 0.5
    return FittedEllipse(float(x), float(y), float(major * scale), float(minor * scale), float(angle))


@dataclass(frozen=True)
class ClassShapes:
    """The whole defects of one class, one entry each: `major` in the file's unit, which micrograph it lies on."""

    major: list[float]
    aspect: list[float]
    angle_deg: list[float]
    micrograph: list[int]


@dataclass(frozen=True)
class Field:
    """One micrograph: its area in unit², its pixel size in units, and how many defects of each class it holds.

    A defect that touches an edge counts half: as many have their centre outside as inside.
    """

    micrograph_id: str
    area: float
    unit_per_px: float
    counts: dict[str, float]


@dataclass(frozen=True)
class Shapes:
    """What the sampler draws from. `unit` is nm, or px where no micrograph is calibrated."""

    unit: str
    fields: list[Field]
    classes: dict[str, ClassShapes]
    left_out_uncalibrated: list[str]
    version: int = VERSION


def fit_shapes(micrographs: Iterable[Micrograph], classes: Sequence[str]) -> Shapes:
    """Shapes and densities of whole micrographs.

    Uncalibrated micrographs are left out and named, unless none is calibrated:
    then sizes are in px. Raises TemDataError where no class has a whole defect.
    """
    micrographs = list(micrographs)
    calibrated = [m for m in micrographs if m.nm_per_px]
    used = calibrated or micrographs
    shapes = {name: ClassShapes([], [], [], []) for name in classes}
    fields = []
    for number, micrograph in enumerate(used):
        scale = micrograph.nm_per_px or 1.0
        counts = dict.fromkeys(classes, 0.0)
        for defect in micrograph.defects:
            if defect.ignore:
                continue
            cut = touches_edge(defect, micrograph.shape)
            counts[defect.category] += 0.5 if cut else 1.0
            if not cut:
                _append(shapes[defect.category], ellipse_of(defect), scale, number)
        area = micrograph.shape[0] * micrograph.shape[1] * scale**2
        fields.append(Field(micrograph.micrograph_id, area, scale, counts))
    if not any(shape.major for shape in shapes.values()):
        raise TemDataError("the training micrographs hold no whole defect, so no shapes can be fitted")
    left_out = [m.micrograph_id for m in micrographs if m not in used]
    return Shapes("nm" if calibrated else "px", fields, shapes, left_out)


def save_shapes(shapes: Shapes, path: str | os.PathLike) -> None:
    write_json(path, asdict(shapes))


def load_shapes(path: str | os.PathLike) -> Shapes:
    """Raises TemDataError for a file of another kind or version."""
    content = read_json(path)
    try:
        if content["version"] != VERSION:
            raise TemDataError(f"{path}: version {content['version']!r}, expected {VERSION}; run fit-shapes again")
        content["fields"] = [Field(**field) for field in content["fields"]]
        content["classes"] = {name: ClassShapes(**shape) for name, shape in content["classes"].items()}
        return Shapes(**content)
    except (LookupError, TypeError, AttributeError) as error:
        raise TemDataError(f"{path}: expected a file written by fit-shapes ({error!r} in it)") from error


def _append(shapes: ClassShapes, ellipse: FittedEllipse, scale: float, micrograph: int) -> None:
    shapes.major.append(round(ellipse.major * scale, 3))
    shapes.aspect.append(round(ellipse.minor / ellipse.major, 4))
    shapes.angle_deg.append(round(ellipse.angle_deg, 1))
    shapes.micrograph.append(micrograph)
