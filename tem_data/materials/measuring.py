"""Sizes, shapes, densities and hardening of the defects of images, true against predicted.

Every defect is measured by itself; quantities of a micrograph and of all of
them together are made from the same list. Units stand in the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, touches_edge
from tem_data.materials.hardening import DEFAULT_SIZE, Materials, frame_area_px, frame_count
from tem_data.materials.outlines import SIZES, circularity, outline_of
from tem_data.materials.quantities import COMPARED, QUANTITIES, Field, Measured, errors_over_micrographs, quantities
from tem_data.scoring.labels import labels_of
from tem_data.scoring.matching import Matching, Rule, match_labels

ALL = "all"
DEFECT_COLUMNS = [
    "micrograph_id",
    "source",
    "category",
    "x_px",
    "y_px",
    "size_px",
    "size_nm",
    "circularity",
    "whole",
    "counted",
    "found",
    "pair",
    "score",
]
MICROGRAPH_COLUMNS = (
    *("micrograph_id", "category", "area_nm2", "thickness_nm"),
    *(f"{side}_{name}" for name in QUANTITIES for side in ("true", "predicted")),
    *(f"{name}_error_percent" for name in COMPARED),
)


class Measurement(NamedTuple):
    """Rows of `DEFECT_COLUMNS` and of `MICROGRAPH_COLUMNS`, and a JSON-ready summary."""

    defects: list[dict[str, Any]]
    micrographs: list[dict[str, Any]]
    summary: dict[str, Any]


def measure(
    images: Sequence[Micrograph],
    predictions: Sequence[Sequence[Defect]] | None,
    classes: Sequence[str],
    materials: Materials = Materials(),
    rule: Rule = Rule(),
    frame: bool = False,
    labelled: bool = True,
) -> Measurement:
    """Measure the defects of micrographs or tiles, and, if given, compare the predictions of each image.

    Images of one `micrograph_id` are tiles of it and are taken together; their
    defects are to be counted by the `frame` (`materials.frame_count`). Without
    it every defect counts. Sizes and shapes are those of whole defects; as an
    edge cuts large ones more often, tiles make mean sizes too small, true and
    predicted alike, which whole micrographs do not. Each is measured by the
    rule of its own class, also a find that is taken for another. What is
    ignored in the matching by `rule` is left out. Images that are not
    `labelled` have no truth, which is None then, and not 0 as of an image
    without defects among labelled ones. Values are None where they
    are not known: in nm without nm per px, densities in volume and hardening
    without thickness, hardening without the class's α. Raises TemDataError for
    a class of the name `all` and as `labels_of` does.
    """
    if ALL in classes:
        raise TemDataError(f"class {ALL!r}: this name stands for all classes together; rename the class")
    fields = _fields(images, predictions, classes, materials, rule, frame)
    sides = {"true": labelled, "predicted": predictions is not None}
    compared = all(sides.values())
    groups = {name: (name,) for name in classes} | {ALL: tuple(classes)}
    rows = [
        {"micrograph_id": f.micrograph_id, "category": name, "area_nm2": f.area_nm2, "thickness_nm": f.thickness_nm}
        | quantities([f], group, materials, sides)
        for f in fields
        for name, group in groups.items()
    ]
    by_class: dict[str, dict] = {}
    for name, group in groups.items():
        own = [row for row in rows if row["category"] == name]
        by_class[name] = {"pooled": quantities(fields, group, materials, sides)}
        by_class[name] |= {"per_micrograph": errors_over_micrographs(own)} if compared else {}
    summary = {
        "micrographs": len(fields),
        "counting_frame": frame,
        "size_rule": {name: materials.size.get(name, DEFAULT_SIZE) for name in classes},
        "without_nm_per_px": [f.micrograph_id for f in fields if not f.nm_per_px],
        "without_thickness_nm": [f.micrograph_id for f in fields if f.nm_per_px and not f.thickness_nm],
        "without_barrier_strength": [name for name in classes if name not in materials.barrier_strength],
        "classes": by_class,
    }
    return Measurement([d.row(compared) for f in fields for d in (*f.truths, *f.predictions)], rows, summary)


def _fields(
    images: Sequence[Micrograph],
    predictions: Sequence[Sequence[Defect]] | None,
    classes: Sequence[str],
    materials: Materials,
    rule: Rule,
    frame: bool,
) -> list[Field]:
    fields: dict[str, Field] = {}
    pairs = 0
    for number, image in enumerate(tqdm(images, "measure", leave=False)):
        field = fields.setdefault(
            image.micrograph_id, Field(image.micrograph_id, image.nm_per_px, image.thickness_nm, 0, [], [], [])
        )
        field.area_px += frame_area_px(image.shape) if frame else image.shape[0] * image.shape[1]
        found = () if predictions is None else predictions[number]
        matching = _matching(image, found, classes, rule)
        numbers = range(pairs, pairs := pairs + len(matching.pairs))
        paired = [dict(zip(side.tolist(), numbers, strict=True)) for side in matching.pairs.T]
        truths, predicted = (
            {i: measured(image, source, defects[i], own.get(i), materials, frame) for i in sorted([*own, *alone])}
            for source, defects, own, alone in (
                ("truth", image.defects, paired[0], matching.missed.tolist()),
                ("prediction", found, paired[1], matching.false.tolist()),
            )
        )
        field.truths += truths.values()
        field.predictions += predicted.values()
        field.pairs += [(truths[i], predicted[j]) for i, j in matching.pairs.tolist()]
    return list(fields.values())


def _matching(image: Micrograph, found: Sequence[Defect], classes: Sequence[str], rule: Rule) -> Matching:
    try:
        return match_labels(
            labels_of(image.defects, image.shape, classes), labels_of(found, image.shape, classes), rule
        )
    except TemDataError as error:
        raise TemDataError(f"{image.micrograph_id}: {error}") from error


def measured(
    image: Micrograph, source: str, defect: Defect, pair: int | None, materials: Materials, frame: bool
) -> Measured:
    """One defect of an image, whose `source` is `truth` or `prediction`; `pair` is that of the matching."""
    outline = outline_of(defect.mask)
    size = SIZES[materials.size.get(defect.category, DEFAULT_SIZE)](outline)
    x, y, w, h = defect.bbox
    return Measured(
        micrograph_id=image.micrograph_id,
        source=source,
        category=defect.category,
        x_px=image.x + x + w / 2,
        y_px=image.y + y + h / 2,
        size_px=size,
        size_nm=size * image.nm_per_px if image.nm_per_px else None,
        circularity=circularity(outline),
        whole=not touches_edge(defect, image.shape),
        counted=frame_count(defect, image.shape) if frame else 1.0,
        pair=pair,
        score=None if source == "truth" else defect.score,
    )
