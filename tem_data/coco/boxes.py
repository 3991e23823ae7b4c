"""Whether the box that a COCO file states is that of the outline beside it."""

from __future__ import annotations

from tem_data.coco.faults import Fault, Faults
from tem_data.importing.labels import Box, Polygons, RunLengths

LEAST_OVERLAP = 0.5  # of a stated box with that of its polygons
WRONG_EDGE = 0.05  # of the side of a mask, and a pixel, by which a stated edge is another


def agreeing(
    box: list[float] | None, outline: Polygons | RunLengths, item: str, file_name: str, faults: Faults
) -> list[float] | None:
    """The stated box where it fits the outline, else that of the outline where it is empty or holds corners.

    Raises Fault where it lies elsewhere.
    """
    drawn = None if box is None or outline == Polygons(()) else outline.box()
    if box is None or drawn is None or drawn[0] == drawn[2] or drawn[1] == drawn[3]:
        return box
    x, y, width, height = box
    if _fits((x, y, x + width, y + height), drawn, outline):
        return box
    if _overlap((x, y, width, height), drawn) >= LEAST_OVERLAP:
        warning, detail = "boxes written as corners", "`bbox` holds the corners x, y, x, y"
    elif width == 0 or height == 0:
        warning, detail = "empty boxes of shapes", f"`bbox` {box} is empty"
    else:
        found = [round(edge, 1) for edge in drawn]
        remedy = "are x and y exchanged in one, or is it not [x, y, width, height] in px?"
        raise Fault("box elsewhere", f"`bbox` {box} is not where its outline lies, {found}; {remedy}")
    faults.odd(warning, "bad entry", item, file_name, detail, "recomputed")
    left, top, right, bottom = drawn
    return [left, top, right - left, bottom - top]


def _fits(stated: Box, drawn: Box, outline: Polygons | RunLengths) -> bool:
    """Boxes of run lengths are computed, so that theirs agree but for rounding; those of polygons are also drawn."""
    if isinstance(outline, Polygons):
        return _overlap(stated, drawn) >= LEAST_OVERLAP
    slack = 1 + WRONG_EDGE * max(drawn[2] - drawn[0], drawn[3] - drawn[1])
    return all(abs(a - b) <= slack for a, b in zip(stated, drawn, strict=True))


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes left, top, right, bottom, each grown by a pixel to all sides."""
    (a, b, c, d), (e, f, g, h) = ((x - 1, y - 1, u + 1, v + 1) for x, y, u, v in (one, other))
    shared = max(0.0, min(c, g) - max(a, e)) * max(0.0, min(d, h) - max(b, f))
    return shared / ((c - a) * (d - b) + (g - e) * (h - f) - shared)
