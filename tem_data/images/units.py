"""Units of length as programs write them, and pixel sizes that a micrograph can have."""

from __future__ import annotations

import math
import re

LEAST_NM, MOST_NM = 0.005, 1000.0  # per px; outside, no defect can be seen, and 1 µm stands where nobody set a scale
SAME = 0.01  # relative difference of width and height that is rounding
PRINTING = (72, 96, 100, 150, 200, 300, 600, 1200)  # dots per inch

NO_SIZE = f"no pixel size of a micrograph ({LEAST_NM:g} to {MOST_NM:g})"

Size = tuple[float | None, str]  # nm per px or None, and why a size that is written is not used ("" otherwise)

_NAMES = {
    1e-3: "pm picometer picometers picometre picometres",
    0.1: "å a ang ångström ångströms ångstrom ångstroms angström angströms angstrom angstroms",
    1.0: "nm nanometer nanometers nanometre nanometres",
    1e3: "µm um micron microns micrometer micrometers micrometre micrometres",
    1e6: "mm millimeter millimeters millimetre millimetres",
    1e7: "cm centimeter centimeters centimetre centimetres",
    1e9: "m meter meters metre metres",
    2.54e7: "in inch inches",
}
_NM = {name: nm for nm, names in _NAMES.items() for name in names.split()}
_SAME_LETTER = str.maketrans({"\u212b": "Å", "\u03bc": "µ"})  # the Ångström sign and the Greek mu


def nm_per(unit: str) -> float | None:
    """Nanometres in one `unit`, also where ImageJ escaped a letter of it (`\\u00B5m`); None where it is no length.

    `nm/px` and `[nm]` are nm, too.
    """
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), unit).strip(" \t\r\n\0")
    text = re.sub(r"(?i)\s*(/|per)\s*(px|pixels?)$", "", text).strip("[]() .")
    text = text.translate(_SAME_LETTER).replace("A\u030a", "Å").replace("a\u030a", "å")
    if text in ("Pm", "Mm", "M", "a"):
        return None
    return _NM.get(text.lower())


def pixel_size(x: float | None, y: float | None, unit: str) -> Size:
    """The size of pixels that are `x` wide and `y` high in `unit`, in nm, and why it is not used where it is not.

    One of the two is enough. Sizes that differ by rounding are averaged.
    """
    nm = nm_per(unit)
    sides = [float(side) for side in (x, y) if side is not None]
    if nm is None or not sides or not all(math.isfinite(side) and side > 0 for side in sides):
        return None, ""
    if max(sides) - min(sides) > SAME * max(sides):
        return None, f"pixels are {sides[0] * nm:.4g} nm wide and {sides[1] * nm:.4g} nm high"
    size = sum(sides) / len(sides)
    if nm <= 1 and (dots := _printing(1 / size)):
        return None, f"1/{1 / size:.6g} {unit.strip()} per px looks like {dots} dpi, a resolution for printing"
    if not is_plausible(size * nm):
        return None, f"{size * nm:.4g} nm per px is {NO_SIZE}"
    return size * nm, ""


def size_of_sides(x: float | None, x_unit: str, y: float | None, y_unit: str) -> Size:
    """`pixel_size` where each side has a unit of its own; a side whose unit is no length does not count."""
    across, down = nm_per(x_unit), nm_per(y_unit)
    if across is None:
        return pixel_size(None, y, y_unit)
    return pixel_size(x, y * (down / across) if y is not None and down is not None else None, x_unit)


def is_plausible(nm_per_px: float) -> bool:
    """Whether a micrograph can have pixels of this size."""
    return LEAST_NM <= nm_per_px < MOST_NM * (1 - 1e-6)


def _printing(per_unit: float) -> int | None:
    for dots in PRINTING:
        # per cm programs round it
        if any(math.isclose(per_unit, n, rel_tol=1e-6) for n in (dots, *(round(dots / 2.54, k) for k in (2, 3, 9)))):
            return dots
    return None
