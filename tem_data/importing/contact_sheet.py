"""A page with every imported micrograph and its labels, the doubtful ones first."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import jinja2
import numpy as np

from tem_data.core.files import atomic_write
from tem_data.core.micrograph import Micrograph, count_by_class
from tem_data.figures.pictures import colour_of
from tem_data.importing.doubts import MANY_PARTS, SCATTERED, UNFIT, Doubt, doubts_of

SIDE_PX = 480
QUALITY = 80


def write_contact_sheet(
    path: str | os.PathLike,
    micrographs: Sequence[Micrograph],
    classes: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    names: Mapping[str, str],
) -> None:
    """One HTML file: each micrograph with its labels drawn in, what is known of it, and why it is in doubt.

    `rows` are those of the quarantine, `names` the file name of each micrograph by its id.
    """
    doubts = doubts_of(micrographs, rows, names)
    _say(doubts, micrographs, names)
    ranked = sorted(micrographs, key=lambda m: (-sum(d.weight for d in doubts[m.micrograph_id]), m.micrograph_id))
    cards = [_card(m, classes, doubts[m.micrograph_id], rows, names[m.micrograph_id]) for m in ranked]
    shown = set(names.values())
    rest = [row for row in rows if row["file"] not in shown]
    keys = [(name, colour_of(name, classes)) for name in classes]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tem_data.importing"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text = environment.get_template("contact_sheet.html.jinja").render(cards=cards, rest=rest, keys=keys)
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _say(doubts: Mapping[str, Sequence[Doubt]], micrographs: Sequence[Micrograph], names: Mapping[str, str]) -> None:
    """Print which micrographs count as free of defects, and whose labels may be wrong as a whole."""

    def doubtful(beginning: str) -> list[str]:
        return [names[key] for key, found in doubts.items() if any(d.reason.startswith(beginning) for d in found)]

    for found, what in (
        ([names[m.micrograph_id] for m in micrographs if not m.defects], "no label, and count as free of defects"),
        (doubtful(UNFIT), "labels that lie on nothing to be seen, perhaps of another image or scale"),
        (doubtful(SCATTERED), f"a label in {MANY_PARTS} places or more, which counts as one defect"),
    ):
        if found:
            shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
            print(f"look at them: {len(found)} of {len(micrographs)} micrographs have {what} ({shown})")


def _card(
    micrograph: Micrograph,
    classes: Sequence[str],
    doubts: Sequence[Doubt],
    rows: Sequence[Mapping[str, str]],
    file_name: str,
) -> dict[str, Any]:
    height, width = micrograph.shape
    size = f"{width} × {height} px"
    if micrograph.nm_per_px is not None:
        size += f", {micrograph.nm_per_px:.4g} nm per px, {width * micrograph.nm_per_px:.4g} nm wide"
    if micrograph.labelled_by:
        size += f", labelled by {micrograph.labelled_by}"
    return {
        "name": file_name,
        "picture": _picture(micrograph, classes),
        "size": size,
        "counts": count_by_class([micrograph]),
        "doubts": [doubt.reason for doubt in doubts],
        "rows": [row for row in rows if row["file"] == file_name and row["reason"] != "no calibration"],
    }


def _picture(micrograph: Micrograph, classes: Sequence[str]) -> str:
    """The micrograph with outlines of its labels, no side longer than `SIDE_PX`, as the address of a JPEG."""
    scale = min(1.0, SIDE_PX / max(micrograph.shape))
    size = tuple(max(1, round(side * scale)) for side in reversed(micrograph.shape))
    grey = cv2.resize(micrograph.pixels, size, interpolation=cv2.INTER_AREA)
    drawn = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for defect in micrograph.defects:
        contours, _ = cv2.findContours(
            np.pad(defect.mask, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        moved = [np.rint((line - 1 + (defect.x, defect.y)) * scale).astype(np.int32) for line in contours]
        colour = "#ffffff" if defect.ignore else colour_of(defect.category, classes)
        cv2.polylines(drawn, moved, True, _bgr(colour), 1, cv2.LINE_AA)
    _, content = cv2.imencode(".jpg", drawn, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode("ascii")


def _bgr(colour: str) -> tuple[int, ...]:
    code = "ffffff" if colour == "white" else colour.removeprefix("#")
    return tuple(reversed(bytes.fromhex(code)))
