"""The pixel size that is written in an image file."""

from __future__ import annotations

import importlib
import os
import re
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile

from tem_data.images.microscopes import is_microscope_file, read_signals, signal_pixel_size
from tem_data.images.source import check_pixels, quiet
from tem_data.images.units import Size, pixel_size, size_of_sides

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, MAKE = 282, 283, 296, 271
GATAN_UNITS, GATAN_SCALES = (65003, 65004), (65009, 65010)  # of x and y
UNITS_OF_RESOLUTION = {2: "inch", 3: "cm"}
VENDORS = {"fei", "sem", "tvips", "sis"}  # as tifffile names them


def nm_per_px_in_metadata(path: str | os.PathLike) -> float | None:
    """The pixel size in the metadata of a TIFF or a microscope's file, in nm.

    None where there is none, where it is doubted (`pixel_size_in_metadata` says why), or where the file cannot be read.
    """
    return pixel_size_in_metadata(path)[0]


def pixel_size_in_metadata(path: str | os.PathLike) -> Size:
    """The pixel size in nm, or None, and why one that is written in the file is not used."""
    with quiet():
        try:
            if is_microscope_file(path):
                return signal_pixel_size(read_signals(path)[0])
            with TiffFile(path) as tif:
                return tiff_pixel_size(tif, path)
        except Exception:  # foreign decoders raise anything; a size that cannot be read is none
            return None, ""


def tiff_pixel_size(tif: TiffFile, path: str | os.PathLike) -> Size:
    """The pixel size of an open TIFF: of ImageJ, OME, Gatan, other makers of microscopes, or its plain resolution.

    The first that says anything counts, be it a size or a doubt.
    """
    for reader in (_imagej, _ome, _gatan, _vendor, _zeiss, _plain):
        try:
            size = reader(tif, path)
        except Exception:  # metadata of any program, in any state
            continue
        if size != (None, ""):
            return size
    return None, ""


def _imagej(tif: TiffFile, path: str | os.PathLike) -> Size:
    found = re.search(r"^unit=(.*)$", tif.pages.first.description, re.MULTILINE)
    if not found or found[1].strip().lower() in ("inch", "cm"):  # ImageJ takes them from a resolution for printing
        return None, ""
    down = re.search(r"^yunit=(.*)$", tif.pages.first.description, re.MULTILINE)  # only where it differs
    return size_of_sides(_side(tif, X_RESOLUTION), found[1], _side(tif, Y_RESOLUTION), (down or found)[1])


def _ome(tif: TiffFile, path: str | os.PathLike) -> Size:
    if not tif.ome_metadata:
        return None, ""
    pixels = next((e for e in ElementTree.fromstring(tif.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None:
        return None, ""
    x, y = (float(text) if (text := pixels.get(f"PhysicalSize{axis}")) else None for axis in "XY")
    units = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XY"]
    return size_of_sides(x, units[0], y, units[1])


def _gatan(tif: TiffFile, path: str | os.PathLike) -> Size:
    tags = tif.pages.first.tags
    units = [str(tags[code].value) if code in tags else "" for code in GATAN_UNITS]
    x, y = (float(tags[code].value) if code in tags else None for code in GATAN_SCALES)
    return size_of_sides(x, units[0], y, units[1])


def _vendor(tif: TiffFile, path: str | os.PathLike) -> Size:
    """Of what other makers write, as RosettaSciIO knows it; it decodes the picture, too."""
    page: Any = tif.pages.first
    make = page.tags.get(MAKE)
    if not (VENDORS & set(tif.flags) or page.is_sis or (make is not None and str(make.value).startswith("JEOL"))):
        return None, ""
    for series in tif.series:
        check_pixels(series.shape, file_bytes=os.path.getsize(path))
    return signal_pixel_size(importlib.import_module("rsciio.tiff").file_reader(str(path))[0])


def _zeiss(tif: TiffFile, path: str | os.PathLike) -> Size:
    """What RosettaSciIO leaves out: the pixel size that Zeiss spells out, a name, a number and a unit."""
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        entry = (tif.sem_metadata or {}).get(key, ())
        if len(entry) == 3:
            return pixel_size(float(entry[1]), None, str(entry[2]))
    return None, ""


def _plain(tif: TiffFile, path: str | os.PathLike) -> Size:
    """A resolution of any program, mostly for printing: what is no size of a micrograph is no doubt either."""
    tag = tif.pages.first.tags.get(RESOLUTION_UNIT)
    unit = UNITS_OF_RESOLUTION.get(int(tag.value) if tag is not None else 2, "")
    return pixel_size(_side(tif, X_RESOLUTION), _side(tif, Y_RESOLUTION), unit)[0], ""


def _side(tif: TiffFile, code: int) -> float | None:
    """The side of a pixel from a resolution in px per unit, a fraction."""
    tag = tif.pages.first.tags.get(code)
    if tag is None:
        return None
    numerator, denominator = tag.value if isinstance(tag.value, tuple) else (tag.value, 1)
    return denominator / numerator if numerator else None
