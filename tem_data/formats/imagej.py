"""Regions of interest of ImageJ and Fiji: NAME.roi, RoiSets NAME.zip, or a folder NAME of .roi files for an image.

The outlines are in px, also where the image has a scale (ij/io/RoiDecoder.java
in github.com/imagej/ImageJ). `write_rois` is in `imagej_writing`.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from roifile import ROI_OPTIONS, ImagejRoi

from tem_data.coco.faults import Fault
from tem_data.core.errors import TemDataError
from tem_data.formats.imagej_shapes import outline_of
from tem_data.formats.marks import Mark, mark_in
from tem_data.formats.reading import label_table
from tem_data.importing.labels import Label, LabelTable
from tem_data.importing.quarantine import Quarantine

IGNORED = " (ignored)"
MOST_BYTES = 2**28
ENDING, BEGINNING = (re.compile(p, re.IGNORECASE) for p in (r"[-_ ](?:RoiSet|rois?)$", r"^RoiSet[-_ ]"))
PLACES = re.compile(r"\d{4,}-\d{4,}(?:-\d+)*")  # the names that ImageJ gives: y-x of the middle
GENERIC = re.compile(
    r"(?:image)?j?_?(?:rois?|roiset|regions?|shapes?|ovals?|ellipses?|polygons?|freehand|traced|composite|rect(?:angle)?|"
    r"selections?|objects?|particles?|masks?|labels?|cells?|areas?|defects?|untitled|unnamed)",
    re.IGNORECASE,
)
HEXADECIMAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DAMAGED = (ValueError, TypeError, IndexError, KeyError, OverflowError, AssertionError, struct.error)
UNZIPPED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)


WRITTEN = re.compile(r"\d{4,}-(.+)")  # as `write_rois` names a region of a class


class _Named(NamedTuple):
    """A region as a file holds it; `name` is that of the region, or where it has none of its file."""

    name: str
    content: bytes


def read_rois(
    path: str | os.PathLike,
    quarantine: Quarantine,
    classes: Sequence[str] = (),
    ignored: Sequence[str] = (),
    plane: int | None = None,
) -> list[LabelTable]:
    """The labels of each .zip, .roi or folder of .roi files in a folder, or of one such file.

    A file is of the image of its name, without `_RoiSet` or `_rois`. The class
    of a region is that of `classes` or `ignored` which its name begins with (`loop-1`,
    `0001-loop`) or which is its group, as `group 2`, or its colour, as
    `#ff0000`; else any other word in its name, else the only one of `classes`,
    else its group or colour. " (ignored)" at the end of a name marks what is
    not to count. A region that `write_rois` wrote has the class of its name, also
    where this is a number, or of its group, where that was changed and the name was
    not; so has a new one of such a group. Of regions on slices of a stack those on
    the slice `plane` count, and those on none. What cannot be read goes to the
    quarantine. Raises TemDataError where there is no file.
    """
    decoded: list[tuple[str, list[_Region]]] = []
    for source in _sources(Path(path)):
        stem = _without_affix(source.name if source.is_dir() else source.stem)
        try:
            decoded.append((stem, [_decoded(region) for region in _regions(source)]))
        except (Fault, *UNZIPPED) as error:
            quarantine.add(stem, source.name, "unreadable table", "set aside", str(error))
    marks = [region.mark for _, regions in decoded for region in regions if region.mark]
    groups = {mark.group: mark.category for mark in marks if mark.group}
    return [_table(stem, regions, _Classes(classes, ignored, groups), plane, quarantine) for stem, regions in decoded]


def _without_affix(name: str) -> str:
    shorter = ENDING.sub("", name)
    return shorter if shorter != name else BEGINNING.sub("", name)


def holds_rois(path: Path) -> bool:
    """Whether a file, or anything in a folder, is of regions."""
    return _holds_rois(path) or (path.is_dir() and any(map(_holds_rois, path.glob("*"))))


def _sources(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = [p for p in sorted(path.glob("*")) if p.name[0] != "." and _holds_rois(p)]
    if not found:
        raise TemDataError(
            f"{path}: expected ImageJ's NAME.roi or RoiSets NAME.zip, or a folder of them; none is there"
        )
    return found


def _holds_rois(path: Path) -> bool:
    return any(path.glob("*.roi")) if path.is_dir() else path.suffix.lower() in (".zip", ".roi")


def _regions(source: Path) -> Iterator[_Named]:
    if source.suffix.lower() != ".zip" or source.is_dir():
        for file in sorted(source.glob("*.roi")) if source.is_dir() else [source]:
            if file.stat().st_size > MOST_BYTES:
                raise Fault("bad entry", f"{file.name} is larger than a region can be")
            yield _Named(file.stem, file.read_bytes())
        return
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
        rois = [e for e in entries if e.filename.lower().endswith(".roi") and "__MACOSX/" not in e.filename]
        if entries and not rois:
            raise Fault("bad entry", "expected a RoiSet, a zip of .roi files; it holds none")
        if sum(entry.file_size for entry in rois) > MOST_BYTES:
            raise Fault("bad entry", "larger than a RoiSet can be")
        for entry in rois:
            yield _Named(Path(entry.filename).stem, archive.read(entry))


class _Region(NamedTuple):
    """What a file holds for a region, or why it is none; `name` is that of the region, else of its file."""

    name: str
    roi: ImagejRoi | Fault
    mark: Mark | None


class _Classes(NamedTuple):
    """The names of classes and of what is ignored, and the classes of the groups that `write_rois` gave."""

    names: Sequence[str]
    ignored: Sequence[str]
    groups: Mapping[int, str]


def _table(
    stem: str, regions: Sequence[_Region], classes: _Classes, plane: int | None, quarantine: Quarantine
) -> LabelTable:
    written = not classes.names and not classes.groups and _as_written([region.roi for region in regions])
    slices = sorted({_slice(region.roi) for region in regions if isinstance(region.roi, ImagejRoi)})
    if plane is None and len([place for place in slices if place > 0]) > 1:
        detail = f"regions on the slices {', '.join(map(str, slices))} of a stack, all drawn on one image"
        quarantine.add(stem, "", "several planes", "kept", detail)

    def label(item: str, region: _Region) -> Label:
        roi, mark = region.roi, region.mark
        if isinstance(roi, Fault):
            raise roi
        if plane is not None and _slice(roi) not in (0, plane):
            raise Fault("several planes", f"on the slice {_slice(roi)}, not on {plane}, which was chosen")
        outline = outline_of(roi)
        if roi.options & ROI_OPTIONS.SPLINE_FIT:
            detail = "a spline; its points are joined by straight lines"
            quarantine.add(stem, item, "bad shape", "kept", detail)
        name = roi.name.removesuffix(IGNORED)
        category = name.partition("-")[2] if written else _category(roi, mark, name, stem, classes)
        return Label(item, category, outline, ignore=name != roi.name, proposal=mark.fingerprint if mark else "")

    def items() -> Iterator[tuple[str, _Region]]:
        for region in regions:
            place = "" if isinstance(region.roi, Fault) or len(slices) < 2 else f" (slice {_slice(region.roi)})"
            yield f"roi {region.name}{place}", region

    table = label_table(stem, items(), label, quarantine)
    mark = next((region.mark for region in regions if region.mark and region.mark.proposed_by), None)
    return table._replace(proposed_by=mark.proposed_by, proposed=mark.total) if mark else table


def _category(roi: ImagejRoi, mark: Mark | None, name: str, stem: str, classes: _Classes) -> str:
    """The class of a region that `write_rois` wrote, or of another one beside such, as `read_rois` says."""
    known = (*classes.groups.values(), *classes.names, *classes.ignored)
    found = WRITTEN.fullmatch(name)
    named = found[1] if found else ""
    of_group = classes.groups.get(roi.group, "")
    regrouped = of_group if mark and roi.group != mark.group else ""
    if named in known and (mark or not PLACES.fullmatch(name)):
        return regrouped or named if mark and named == mark.category else named
    read = class_of(roi, name, stem, classes.names, classes.ignored)
    if read not in ("", f"group {roi.group}", roi.hexcolor(roi.stroke_color)):
        return read
    return (regrouped or named or name) if mark else (of_group or read)


def _as_written(regions: Sequence[ImagejRoi | Fault]) -> bool:
    """Whether all regions have a group and are named as `write_rois` does, 0001-CLASS, 0002-CLASS, …"""
    names = [roi.name for roi in regions if isinstance(roi, ImagejRoi) and roi.group > 0]
    numbered = all(name.startswith(f"{number:04d}-") for number, name in enumerate(names, 1))
    return len(names) == len(regions) and numbered and not all(map(PLACES.fullmatch, names))


def _decoded(region: _Named) -> _Region:
    try:
        roi = ImagejRoi.frombytes(region.content)
        roi.name = roi.name.encode("utf-8", "replace").decode() or region.name
        return _Region(roi.name, roi, mark_in(roi.props))
    except DAMAGED as error:
        return _Region(region.name, Fault("bad shape", f"not a region of ImageJ ({error})"), None)


def _slice(roi: ImagejRoi) -> int:
    return roi.position or max(roi.z_position, roi.t_position, roi.c_position)


def class_of(roi: ImagejRoi, name: str, stem: str, classes: Sequence[str], ignored: Sequence[str] = ()) -> str:
    """The class of a region of this name on the image `stem`, as `read_rois` says."""
    group = f"group {roi.group}" if roi.group > 0 else ""
    colour = roi.hexcolor(roi.stroke_color) or ""
    named = [*classes, *ignored]
    known = [text for text in (_named(name, named), group, colour) if text in named]
    only = classes[0] if len(classes) == 1 else ""
    return next(filter(None, (*known, _numbered(name), _other(name, stem), only, group, colour)), "")


def _named(name: str, classes: Sequence[str]) -> str:
    """The longest of `classes` that a name begins with, apart from numbers before it and what a separator parts off."""
    for flags in (0, re.IGNORECASE):
        for known in sorted(classes, key=len, reverse=True):
            if re.fullmatch(re.escape(known), name, flags):
                return known
            # a loop of 12 is not one of 1, but loop2 is a loop
            end = r"(?!\w)" if known[-1:].isdigit() else r"(?![^\W\d_])"
            pattern = rf"(?:\d+[-_ .:]+)*{re.escape(known)}{end}"
            if not PLACES.fullmatch(name) and re.match(pattern, name, flags):
                return known
    return ""


def _numbered(name: str) -> str:
    """What follows the number in a name as `write_rois` gives it."""
    found = None if PLACES.fullmatch(name) else re.fullmatch(r"\d{4}-(.*[^\W\d_].*)", name)
    return found[1] if found and not GENERIC.fullmatch(found[1]) else ""


def _other(name: str, stem: str) -> str:
    """The word in a region's name that must be meant for a class; "" where it is made of numbers or says nothing."""
    if HEXADECIMAL.fullmatch(name):
        return ""
    word = re.sub(r"^(?:\d+[-_ .:]+)+|[-_ .:#(]*\d+\)?$", "", re.sub(rf"\b{re.escape(stem)}\b", "", name))
    word = word.strip(" -_.:#()")
    return "" if len(re.findall(r"[^\W\d_]", word)) < 3 or GENERIC.fullmatch(word) else word
