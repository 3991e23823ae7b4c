"""How defects look and how many there are, fitted on whole micrographs.

Every whole defect becomes the ellipse of its area and second moments, size,
aspect ratio and angle together as they were measured. A defect that touches the
edge of its micrograph counts towards the density, but its cut shape is not
fitted; large defects are cut more often than small ones, so each whole one
stands for as many as its box has places in the micrograph against places at
which an edge would cut it ([P26] fits on 256-px crops, where edges bias sizes).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from tqdm import tqdm

from tem_data.core.errors import TemDataError
from tem_data.core.files import atomic_write, read_json
from tem_data.core.micrograph import Defect, Micrograph, defect_from_ellipse, instance_map, touches_edge
from tem_data.masks.spacing import Ellipses, Spacing, fit_spacing

VERSION = 2
THIN = 10
PRIOR_DEFECTS = 5
CELLS = 4
FEWEST_FOR_CLUSTERING = 8


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
    """The whole defects of one class, one entry each, lengths in the file's unit.

    `micrograph` is the number of its field and `weight` how many defects it stands for, whole or cut.
    `ellipse_iou` is the mean IoU of outlines and their ellipses. `outlines` is empty, or holds for each defect
    the outline about its centre as flat x, y (y down).
    """

    major: list[float]
    aspect: list[float]
    angle_deg: list[float]
    micrograph: list[int]
    weight: list[float]
    ellipse_iou: float | None
    outlines: list[list[float]]


@dataclass(frozen=True)
class Field:
    """One micrograph: its area in unit², its pixel size in units, and how many defects of each class it holds.

    A defect that touches an edge counts half: as many have their centre outside as inside. `size` is the
    geometric mean of the major axes of each class, drawn towards that of all micrographs by a prior of
    `PRIOR_DEFECTS` defects.
    """

    micrograph_id: str
    area: float
    unit_per_px: float
    counts: dict[str, float]
    size: dict[str, float]


@dataclass(frozen=True)
class Shapes:
    """What the sampler draws from. `unit` is nm, or px where no micrograph is calibrated.

    `clustering` is by class the variance of the density within a micrograph, relative to its square, over
    cells of a `CELLS`-th of its side. `overlap_share` is the share of defects' area that lies under others.
    """

    unit: str
    fields: list[Field]
    classes: dict[str, ClassShapes]
    clustering: dict[str, float]
    spacing: Spacing
    overlap_share: float
    left_out_uncalibrated: list[str]
    version: int = VERSION


@dataclass(frozen=True)
class _Labelled:
    """One defect: number of its micrograph, its ellipse, and whether it is whole."""

    number: int
    defect: Defect
    ellipse: FittedEllipse
    whole: bool


def fit_shapes(micrographs: Iterable[Micrograph], classes: Sequence[str], min_ellipse_iou: float = 0.0) -> Shapes:
    """Shapes, densities and distances of whole micrographs.

    A class whose outlines have a mean IoU with their ellipses under `min_ellipse_iou` keeps its outlines.
    Uncalibrated micrographs are left out and named, unless none is calibrated: then lengths are in px.
    Raises TemDataError where no class has a whole defect.
    """
    micrographs = list(micrographs)
    calibrated = [m for m in micrographs if m.nm_per_px]
    used = calibrated or micrographs
    labelled = _labelled(used, classes)
    if not any(found.whole for found in labelled):
        raise TemDataError("the training micrographs hold no whole defect, so no shapes can be fitted")
    shapes = {name: _class_shapes(name, labelled, used, min_ellipse_iou) for name in classes}
    overlap_share = _overlap_share(labelled, used)
    return Shapes(
        unit="nm" if calibrated else "px",
        fields=[_field(n, m, labelled, shapes) for n, m in enumerate(used)],
        classes=shapes,
        clustering={name: _clustering(name, labelled, used) for name in classes},
        spacing=_spacing(labelled, used, classes, overlap_share > 0),
        overlap_share=overlap_share,
        left_out_uncalibrated=[m.micrograph_id for m in micrographs if m not in used],
    )


def describe_shapes(shapes: Shapes) -> list[str]:
    """What was fitted, a line a class, and what it lacks."""
    lines = []
    for name, fitted in shapes.classes.items():
        text = f"{name}: {len(fitted.major)} whole defects fitted"
        if fitted.ellipse_iou is not None:
            drawn = "its outlines are kept" if fitted.outlines else "drawn as ellipses"
            text += f", IoU of outlines and ellipses {fitted.ellipse_iou:.2f} ({drawn})"
        if len(fitted.major) < THIN:
            text += f"; thin: fewer than {THIN}, masks will repeat them" if fitted.major else "; none will be drawn"
        lines.append(text)
    if shapes.left_out_uncalibrated:
        lines.append(f"{len(shapes.left_out_uncalibrated)} uncalibrated micrographs left out")
    return lines


def save_shapes(shapes: Shapes, path: str | os.PathLike) -> None:
    """JSON of a few hundred lines: each list of numbers on one."""
    text = json.dumps(asdict(shapes), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as draft:
        draft.write_text(re.sub(r"\[[^][{}]*\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n")


def load_shapes(path: str | os.PathLike) -> Shapes:
    """Raises TemDataError for a file of another kind or version."""
    content = read_json(path)
    try:
        if content["version"] != VERSION:
            raise TemDataError(f"{path}: version {content['version']!r}, expected {VERSION}; run fit-shapes again")
        content["fields"] = [Field(**field) for field in content["fields"]]
        content["classes"] = {name: ClassShapes(**shape) for name, shape in content["classes"].items()}
        content["spacing"] = Spacing(**content["spacing"])
        return Shapes(**content)
    except (LookupError, TypeError, AttributeError) as error:
        raise TemDataError(f"{path}: expected a file written by fit-shapes ({error!r} in it)") from error


def _scale(micrograph: Micrograph) -> float:
    return micrograph.nm_per_px or 1.0


def _labelled(micrographs: Sequence[Micrograph], classes: Sequence[str]) -> list[_Labelled]:
    return [
        _Labelled(number, defect, ellipse_of(defect), not touches_edge(defect, micrograph.shape))
        for number, micrograph in enumerate(tqdm(micrographs, "fit shapes", unit="micrograph", leave=False))
        for defect in micrograph.defects
        if not defect.ignore and defect.category in classes
    ]


def _weight(defect: Defect, shape: tuple[int, int]) -> float:
    """Places of the defect's box in a micrograph over those at which it touches no edge (Miles and Lantuéjoul)."""
    (_, _, w, h), (height, width) = defect.bbox, shape
    return width * height / ((width - 1 - w) * (height - 1 - h))


def _class_shapes(
    name: str, labelled: Sequence[_Labelled], micrographs: Sequence[Micrograph], min_ellipse_iou: float
) -> ClassShapes:
    whole = [found for found in labelled if found.whole and found.defect.category == name]
    iou = float(np.mean([_ellipse_iou(found) for found in whole])) if whole else None
    scales = [_scale(micrographs[found.number]) for found in whole]
    return ClassShapes(
        major=[round(found.ellipse.major * scale, 3) for found, scale in zip(whole, scales, strict=True)],
        aspect=[round(found.ellipse.minor / found.ellipse.major, 4) for found in whole],
        angle_deg=[round(found.ellipse.angle_deg, 1) for found in whole],
        micrograph=[found.number for found in whole],
        weight=[round(_weight(found.defect, micrographs[found.number].shape), 4) for found in whole],
        ellipse_iou=iou and round(iou, 4),
        outlines=[_outline(*pair) for pair in zip(whole, scales, strict=True)]
        if iou is not None and iou < min_ellipse_iou
        else [],
    )


def _ellipse_iou(found: _Labelled) -> float:
    (x, y, w, h), e = found.defect.bbox, found.ellipse
    pad = max(w, h)
    shape = (h + 2 * pad, w + 2 * pad)
    drawn = defect_from_ellipse("", e.x - x + pad, e.y - y + pad, e.major, e.minor, e.angle_deg, shape)
    if drawn is None:
        return 0.0
    counts = np.pad(found.defect.mask, pad).astype(np.uint8)
    counts[drawn.y : drawn.y + drawn.mask.shape[0], drawn.x : drawn.x + drawn.mask.shape[1]] += drawn.mask
    return float((counts == 2).sum() / (counts > 0).sum())


def _outline(found: _Labelled, scale: float) -> list[float]:
    """The largest outer outline about the ellipse's centre, halfway between the pixels inside and those outside."""
    from skimage.measure import approximate_polygon, find_contours

    contours = find_contours(np.pad(found.defect.mask, 1).astype(np.float32), 0.5, fully_connected="high")
    points = approximate_polygon(max(contours, key=len), tolerance=0.25)[:-1, ::-1]
    x, y = found.defect.x - found.ellipse.x - 0.5, found.defect.y - found.ellipse.y - 0.5
    return ((points + (x, y)) * scale).round(2).ravel().tolist()


def _field(
    number: int, micrograph: Micrograph, labelled: Sequence[_Labelled], shapes: Mapping[str, ClassShapes]
) -> Field:
    own = [found for found in labelled if found.number == number]
    return Field(
        micrograph_id=micrograph.micrograph_id,
        area=micrograph.shape[0] * micrograph.shape[1] * _scale(micrograph) ** 2,
        unit_per_px=_scale(micrograph),
        counts={n: sum(1.0 if f.whole else 0.5 for f in own if f.defect.category == n) for n in shapes},
        size={name: round(_typical_size(shape, number), 3) for name, shape in shapes.items() if shape.major},
    )


def _typical_size(shape: ClassShapes, number: int) -> float:
    logs, weight = np.log(shape.major), np.asarray(shape.weight)
    own = np.asarray(shape.micrograph) == number
    prior = PRIOR_DEFECTS * np.average(logs, weights=weight)
    return float(np.exp((logs[own] @ weight[own] + prior) / (weight[own].sum() + PRIOR_DEFECTS)))


def _clustering(name: str, labelled: Sequence[_Labelled], micrographs: Sequence[Micrograph]) -> float:
    """Σ(variance − mean)/Σ mean² of the counts in cells, over micrographs with enough defects; Poisson's law has 0."""
    cells = np.zeros((len(micrographs), CELLS, CELLS))
    for found in labelled:
        if found.defect.category == name:
            height, width = micrographs[found.number].shape
            row, column = int(found.ellipse.y / height * CELLS), int(found.ellipse.x / width * CELLS)
            cells[found.number, row, column] += 1
    cells = cells[cells.sum((1, 2)) >= FEWEST_FOR_CLUSTERING].reshape(-1, CELLS**2)
    if not len(cells):
        return 0.0
    mean, variance = cells.mean(1), cells.var(1, ddof=1)
    return round(max(0.0, float((variance - mean).sum() / (mean**2).sum())), 4)


def _spacing(
    labelled: Sequence[_Labelled], micrographs: Sequence[Micrograph], classes: Sequence[str], overlap: bool
) -> Spacing:
    e = [found.ellipse for found in labelled]
    x, y, major, minor, angle = np.array([(e.x, e.y, e.major, e.minor, e.angle_deg) for e in e], float).T
    group = np.array([found.number for found in labelled])
    category = np.array([classes.index(found.defect.category) for found in labelled])
    height, width = np.array([micrographs[number].shape for number in group], float).T
    return fit_spacing(Ellipses(x, y, major, minor, angle, group, category), width, height, classes, overlap)


def _overlap_share(labelled: Sequence[_Labelled], micrographs: Sequence[Micrograph]) -> float:
    total, seen = sum(found.defect.area for found in labelled), 0
    for number, micrograph in enumerate(micrographs):
        defects = [found.defect for found in labelled if found.number == number]
        seen += int((instance_map(defects, micrograph.shape) > 0).sum())
    return round(1 - seen / total, 6)
