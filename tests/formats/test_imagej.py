import shutil
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roifile
import tifffile
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Defect, Micrograph, paste
from tem_data.core.schema import Classes
from tem_data.formats.imagej import read_rois
from tem_data.formats.imagej_writing import write_rois
from tem_data.importing.labels import Ellipse, Rings
from tem_data.importing.quarantine import Quarantine
from tem_data.importing.review import review_of
from tests.formats.common import CLASSES, SHAPE, block, check_tables, disc, inside, micrograph, same_defects

JAR = Path("/usr/share/java/ij.jar")
needs_imagej = pytest.mark.skipif(
    not (JAR.exists() and shutil.which("java") and shutil.which("xvfb-run")),
    reason="needs ImageJ 1.x (apt-get install imagej xvfb xauth)",
)
MACRO = """
newImage("a", "8-bit black", 200, 160, 1);
roiManager("reset");
makeOval(10, 12, 21, 15); Roi.setName("loop-1"); roiManager("add");
makeEllipse(50, 40, 80, 60, 0.5); Roi.setName("loop-2"); roiManager("add");
makePolygon(100, 10, 130, 12, 120, 40); Roi.setName("triangle"); roiManager("add");
makeSelection("freehand", newArray(10, 20, 22, 8), newArray(60, 62, 80, 90)); Roi.setGroup(2);
Roi.setName("0001-0002"); roiManager("add");
makeRectangle(140, 20, 11, 7); Roi.setStrokeColor("red"); Roi.setName("2"); roiManager("add");
makeRotatedRectangle(150, 60, 180, 80, 12); Roi.setName("turned"); roiManager("add");
makeOval(60, 100, 30, 30); setKeyDown("alt"); makeOval(70, 110, 10, 10); Roi.setName("holed"); roiManager("add");
makeRectangle(150, 100, 20, 20); setKeyDown("shift"); makeOval(165, 115, 20, 20); Roi.setName("added");
roiManager("add");
setKeyDown("none");
setColor(255); fillOval(30, 20, 9, 9); doWand(33, 24); Roi.setName("traced"); roiManager("add");
makeOval(10, 120, 12, 12); roiManager("add"); makeRectangle(30, 130, 8, 8); roiManager("add");
n = roiManager("count"); roiManager("select", newArray(n - 2, n - 1)); roiManager("combine"); Roi.setName("combined");
roiManager("add"); roiManager("select", newArray(n - 2, n - 1)); roiManager("delete"); run("Select None");
makePoint(5, 5); Roi.setName("point"); roiManager("add");
roiManager("deselect"); roiManager("save", "FOLDER/b_RoiSet.zip");
"""
MEASURE = """
for (i = 0; i < roiManager("count"); i++) {
  newImage("m", "8-bit black", WIDTH, HEIGHT, 1); roiManager("select", i); getStatistics(area);
  print(area); setColor(255); fill(); run("Select None"); saveAs("tiff", "FOLDER/" + i + ".tif"); close();
}
"""


def imagej(folder, macro, shape=SHAPE):
    """The lines that a macro of ImageJ prints, for whose window there is a screen nobody sees."""
    for word, text in (("FOLDER", folder), ("WIDTH", shape[1]), ("HEIGHT", shape[0])):
        macro = macro.replace(word, str(text))
    (folder / "macro.ijm").write_text(macro + '\nrun("Quit");\n')
    command = ["xvfb-run", "-a", "java", "-cp", JAR, "ij.ImageJ", "-batch", folder / "macro.ijm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
    return [line for line in done.stdout.splitlines() if line.strip()]


@needs_imagej
def test_imagej_measures_in_our_roisets_the_pixels_of_the_defects(tmp_path):
    write_rois(micrograph(), tmp_path / "a_RoiSet.zip", CLASSES)
    lines = imagej(tmp_path, 'roiManager("open", "FOLDER/a_RoiSet.zip");' + MEASURE)
    assert [float(line) for line in lines[-8:]] == [defect.area for defect in micrograph().defects]
    for place, defect in enumerate(micrograph().defects):
        expected = np.zeros(SHAPE, bool)
        x, y, width, height = defect.bbox
        expected[y : y + height, x : x + width] = defect.mask
        assert ((tifffile.imread(tmp_path / f"{place}.tif") == 255) == expected).all(), place


CORRECT = """
roiManager("open", "FOLDER/a.zip"); newImage("m", "8-bit black", WIDTH, HEIGHT, 1);
roiManager("select", 0); roiManager("translate", 3, 0);
roiManager("select", 1); roiManager("rename", "0002-ambiguous");
roiManager("select", 2); RoiManager.setGroup(2);
roiManager("select", 3); makeRectangle(5, 5, 10, 12); roiManager("update");
roiManager("select", 4); roiManager("delete");
roiManager("deselect"); makeOval(40, 30, 10, 10); Roi.setName("loop"); roiManager("add");
roiManager("deselect"); roiManager("save", "FOLDER/corrected/a.zip");
"""


@needs_imagej
def test_what_imagej_corrects_is_known_from_what_was_proposed(tmp_path):
    write_rois(micrograph(), tmp_path / "a.zip", CLASSES, "org/name@v1")
    (tmp_path / "corrected").mkdir()
    imagej(tmp_path, CORRECT)
    (table,) = read_rois(tmp_path / "corrected", Quarantine())
    first, second, third, fourth, _, *rest = micrograph().defects
    assert [label.name for label in table.labels] == [
        *(first.category, "ambiguous", "line 1", fourth.category),
        *(defect.category for defect in rest),
        "loop",
    ]
    kept = replace(first, x=first.x + 3), second, third, block(5, 5, 15, 17), *rest
    for place, defect in enumerate(kept):
        pixels = defect
        if isinstance(defect, Defect):
            pixels = np.zeros(SHAPE, bool)
            paste(pixels, defect, True)
        assert (inside(table, place) == pixels).all(), place
    # what is drawn anew counts as added, and what it replaces as removed
    assert review_of(table) == ("org/name@v1", 3, 3, 2, 2)


@needs_imagej
def test_roisets_of_imagej_give_the_pixels_that_it_fills(tmp_path):
    shape = (160, 200)
    imagej(tmp_path, MACRO + MEASURE, shape)
    quarantine = Quarantine()
    (table,) = read_rois(tmp_path, quarantine, ("loop", "holed", "line"))
    assert (table.file_name, table.lost, quarantine.counts()) == ("b", 1, {"bad shape": 1})
    assert [label.name for label in table.labels] == [
        *("loop", "loop", "triangle", "group 2", "#ff0000", "turned", "holed", "added", "", "combined"),
    ]
    assert [isinstance(label.outline, Ellipse) for label in table.labels] == [True, True, *[False] * 8]
    for place in range(len(table.labels)):
        filled = tifffile.imread(tmp_path / f"{place}.tif") == 255
        assert filled.any() and (inside(table, place, shape) == filled).all(), table.labels[place].item


def polygon(points, name, **fields):
    roi = ImagejRoi.frompoints(np.array(points), name=name)
    for field, value in fields.items():
        setattr(roi, field, value)
    return roi


def boxed(kind, left, top, right, bottom, name, **fields):
    return ImagejRoi(roitype=kind, left=left, top=top, right=right, bottom=bottom, name=name, **fields)


SQUARE = [[2, 3], [6, 3], [6, 8], [2, 8]]


def rois():
    ratio = struct.unpack(">BBh", struct.pack(">f", 0.5))
    fields = dict(zip(("arrow_style_or_aspect_ratio", "arrow_head_size", "rounded_rect_arc_size"), ratio, strict=True))
    turned = ImagejRoi(roitype=ROI_TYPE.FREEHAND, subtype=ROI_SUBTYPE.ELLIPSE, x1=30, y1=20, x2=46, y2=32, **fields)
    turned.integer_coordinates, turned.name = np.zeros((0, 2), np.int32), "turned"
    exact = boxed(ROI_TYPE.OVAL, 10, 30, 20, 40, "oval", options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
    exact.xd, exact.yd, exact.widthd, exact.heightd = 10.5, 30.25, 9.5, 8.5
    return [polygon(SQUARE, "square"), boxed(ROI_TYPE.OVAL, 40, 40, 60, 52, "whole"), turned, exact]


def test_each_kind_of_region_gives_its_pixels(tmp_path):
    roifile.roiwrite(tmp_path / "RoiSet_a.zip", rois())
    quarantine = Quarantine()
    (table,) = read_rois(tmp_path, quarantine)
    assert (table.file_name, table.lost, quarantine.rows) == ("a", 0, [])
    turn = np.rad2deg(np.arctan2(12, 16))
    expected = [block(2, 3, 6, 8), disc(50, 46, 10, 6), disc(38, 26, 10, 5, turn), disc(15.25, 34.5, 4.75, 4.25)]
    for place, pixels in enumerate(expected):
        assert (inside(table, place) == pixels).all(), place
    assert table.labels[0].item == "roi square"


def test_curves_of_composite_regions_are_followed(tmp_path):
    bend = 10 * 4 / 3 * (2**0.5 - 1)  # a circle of four cubic curves
    x, y = 30, 20
    path = [0, x + 10, y]
    for (a, b), (c, d) in (((1, 0), (0, 1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0))):
        start, end = np.array([x + 10 * a, y + 10 * b]), np.array([x + 10 * c, y + 10 * d])
        path += [3, *(start + bend * np.array([c, d])), *(end + bend * np.array([a, b])), *end]
    path += [4]
    roi = boxed(ROI_TYPE.RECT, 20, 10, 40, 30, "curve", shape_roi_size=len(path))
    roi.multi_coordinates = np.array(path, np.float32)
    roifile.roiwrite(tmp_path / "a.zip", [roi])
    (table,) = read_rois(tmp_path, Quarantine())
    assert isinstance(table.labels[0].outline, Rings)
    assert (inside(table) ^ disc(30, 20, 10)).sum() <= 4


def test_what_encloses_no_area_is_counted(tmp_path):
    square = np.array(SQUARE, np.int32)
    lost = [
        boxed(ROI_TYPE.LINE, 1, 1, 5, 5, "line"),
        boxed(ROI_TYPE.OVAL, 5, 5, 5, 9, "flat"),
        boxed(ROI_TYPE.RECT, 1, 1, 9, 9, "rounded", rounded_rect_arc_size=4),
        boxed(ROI_TYPE.RECT, 1, 1, 9, 9, "text", subtype=ROI_SUBTYPE.TEXT),
    ]
    for kind in (ROI_TYPE.POINT, ROI_TYPE.ANGLE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE):
        lost.append(ImagejRoi(roitype=kind, integer_coordinates=square, n_coordinates=4, name=kind.name))
    roifile.roiwrite(tmp_path / "a.zip", [*lost, polygon(SQUARE, "kept")])
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("broken.roi", b"Iout")
        archive.writestr("readme.txt", b"not a region")
    quarantine = Quarantine()
    (table,) = read_rois(tmp_path / "a.zip", quarantine)
    assert (len(table.labels), table.lost, quarantine.counts()) == (1, 9, {"bad shape": 9})
    assert quarantine.rows[-1]["item"] == "roi broken"


@pytest.mark.parametrize(
    "name, classes, found",
    [
        ("loop", ("loop", "line"), "loop"),
        ("loop-12", ("loop", "line"), "loop"),
        ("loop2", ("loop", "line"), "loop"),
        ("Loop 12", ("loop", "line"), "loop"),
        ("Loop", ("loop", "Loop"), "Loop"),
        ("0001_line", ("loop", "line"), "line"),
        ("0012-0045-loop (ignored)", ("loop", "line"), "loop"),
        ("loop net 3", ("loop", "loop net"), "loop net"),
        ("looping", ("loop", "line"), "looping"),
        ("0012-0033", ("12", "0033", "loop"), ""),
        ("0004-3", ("3", "4"), "3"),
        ("2", ("1", "2"), "2"),
        ("void 3", ("loop", "line"), "void"),
        ("0012-0045", ("loop",), "loop"),
        ("ROI-3", ("loop",), "loop"),
        ("F00-C12", ("loop",), "loop"),
        ("a picture-4", ("loop",), "loop"),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", ("loop",), "loop"),
        ("void 3", ("loop",), "void"),
        ("loop-1", (), "loop"),
        ("0001-line 1", (), "line 1"),
        ("0007-NA", ("loop",), "NA"),
        ("0007-ambiguous", ("loop", "line"), "ambiguous"),
        ("0012-0045-1", (), ""),
    ],
)
def test_the_class_in_a_name(tmp_path, name, classes, found):
    roifile.roiwrite(tmp_path / "a picture.zip", [polygon(SQUARE, name)])
    (table,) = read_rois(tmp_path, Quarantine(), classes)
    assert table.labels[0].name == found and table.labels[0].ignore == name.endswith("(ignored)")


def test_the_class_is_else_the_group_or_the_colour(tmp_path):
    grouped = polygon(SQUARE, "0001-0001", group=300, stroke_color=b"\xff\x00\x80\xff")
    coloured = polygon(SQUARE, "0002-0001", stroke_color=b"\xff\x00\x80\xff")
    roifile.roiwrite(tmp_path / "a.zip", [grouped, coloured, polygon(SQUARE, "0003-0001")])
    for classes in (("loop", "line"), (), ("group 300", "#0080ff")):
        (table,) = read_rois(tmp_path, Quarantine(), classes)
        assert [label.name for label in table.labels] == ["group 300", "#0080ff", ""]
    (table,) = read_rois(tmp_path, Quarantine(), ("loop",))
    assert [label.name for label in table.labels] == ["loop"] * 3


def test_ignored_names_are_known_too(tmp_path):
    regions = [polygon(SQUARE, name) for name in ("0001-loop cluster", "0002-loop", "0003-0001")]
    roifile.roiwrite(tmp_path / "a.zip", regions)
    (table,) = read_rois(tmp_path, Quarantine(), ("loop",), ("loop cluster",))
    assert [label.name for label in table.labels] == ["loop cluster", "loop", "loop"]


def test_slices_are_said_where_they_differ(tmp_path):
    regions = [polygon(SQUARE, "first", position=1), polygon(SQUARE, "second", position=2)]
    roifile.roiwrite(tmp_path / "a.zip", regions)
    roifile.roiwrite(tmp_path / "b.zip", regions[1:])
    first, second = read_rois(tmp_path, Quarantine())
    assert [label.item for label in first.labels + second.labels] == [
        "roi first (slice 1)",
        "roi second (slice 2)",
        "roi second",
    ]


def test_splines_are_said(tmp_path):
    roifile.roiwrite(tmp_path / "a.zip", [polygon(SQUARE, "a", options=ROI_OPTIONS.SPLINE_FIT)])
    quarantine = Quarantine()
    (table,) = read_rois(tmp_path, quarantine)
    assert len(table.labels) == 1 and table.lost == 0 and quarantine.rows[0]["action"] == "kept"


def test_names_of_files_and_folders(tmp_path):
    names = ("a.zip", "b_RoiSet.zip", "c-roiset.ZIP", "RoiSet_d.zip", "e_rois.zip", "RoiSet.zip", "x_rois_RoiSet.zip")
    for name in names:
        roifile.roiwrite(tmp_path / "x.zip", [polygon(SQUARE, "a")], mode="w")
        (tmp_path / "x.zip").rename(tmp_path / name)
    polygon(SQUARE, "a").tofile(tmp_path / "f.roi")
    (tmp_path / "g.tif").mkdir()
    for name in ("1", "2"):
        polygon(SQUARE, "").tofile(tmp_path / "g.tif" / f"{name}.roi")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.tif").touch()
    tables = read_rois(tmp_path, Quarantine())
    assert {table.file_name for table in tables} == {"a", "b", "c", "d", "e", "f", "g.tif", "RoiSet", "x_rois"}
    assert [label.item for table in tables for label in table.labels if table.file_name == "g.tif"] == [
        "roi 1",
        "roi 2",
    ]


def test_what_is_no_roiset_is_set_aside(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    (tmp_path / "b.roi").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.txt", "b")
    quarantine = Quarantine()
    (table,) = read_rois(tmp_path, quarantine)
    assert (table.file_name, table.lost) == ("b", 1)
    assert quarantine.counts() == {"bad shape": 1, "unreadable table": 2}
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "none.zip"):
        with pytest.raises(TemDataError, match="ImageJ"):
            read_rois(path, Quarantine())


def test_damaged_regions_never_stop_it(tmp_path):
    rng = np.random.default_rng(0)
    write_rois(micrograph(), tmp_path / "a.zip", CLASSES)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        whole = [archive.read(name) for name in archive.namelist()]
    for content in [roi.tobytes() for roi in rois()] + whole[:4]:
        for _ in range(400):
            other = bytearray(content)
            for place in rng.integers(4, len(other), rng.integers(1, 4)):
                other[place] = rng.choice([0, 1, 5, 127, 128, 255])
            (tmp_path / "b.roi").write_bytes(bytes(other[: rng.choice([len(other), rng.integers(len(other))])]))
            quarantine = Quarantine()
            check_tables(read_rois(tmp_path / "b.roi", quarantine, ("loop", "line")), quarantine)
    archive = bytearray((tmp_path / "a.zip").read_bytes())
    for place in rng.integers(len(archive), size=300):
        (tmp_path / "c.zip").write_bytes(
            bytes(archive[:place]) + bytes([archive[place] ^ 255]) + bytes(archive[place + 1 :])
        )
        read_rois(tmp_path / "c.zip", Quarantine())


def test_ten_times_there_and_back_changes_nothing(tmp_path):
    path, first = tmp_path / "a_RoiSet.zip", micrograph()
    defects, contents = first.defects, set()
    for _ in range(10):
        write_rois(Micrograph("a", None, defects, SHAPE), path, CLASSES)
        contents.add(path.read_bytes())
        (table,) = read_rois(tmp_path, Quarantine(), CLASSES.labels)
        assert table.file_name == "a" and same_defects(table, first.defects)
        defects = tuple(
            label.outline.drawn(label.name, SHAPE, label.ignore or label.name == "ambiguous") for label in table.labels
        )
    assert len(contents) == 1


def test_no_defects_are_an_empty_roiset(tmp_path):
    write_rois(Micrograph("a", None, (), SHAPE), tmp_path / "a_RoiSet.zip", CLASSES)
    (table,) = read_rois(tmp_path, Quarantine())
    assert (table.file_name, table.labels, table.lost) == ("a", (), 0)


def test_a_class_may_have_any_name(tmp_path):
    classes = Classes(("1/2<111> loop", "void:a", "3"))
    defects = tuple(Defect(name, 5 * place, 0, np.ones((4, 4), bool)) for place, name in enumerate(classes.names))
    write_rois(Micrograph("a", None, defects, SHAPE), tmp_path / "a.zip", classes)
    (table,) = read_rois(tmp_path, Quarantine(), classes.names)
    assert [label.name for label in table.labels] == list(classes.names)


def test_of_slices_the_chosen_one_counts(tmp_path):
    regions = [polygon(SQUARE, name, position=place) for place, name in enumerate(("every", "first", "second"))]
    roifile.roiwrite(tmp_path / "a.zip", regions)
    quarantine = Quarantine()
    (table,) = read_rois(tmp_path, quarantine, plane=2)
    assert [label.name for label in table.labels] == ["every", "second"] and table.lost == 1
    assert quarantine.rows[0]["detail"] == "on the slice 1, not on 2, which was chosen"
    quarantine = Quarantine()
    (table,) = read_rois(tmp_path, quarantine)
    assert len(table.labels) == 3 and quarantine.rows[0]["detail"].startswith("regions on the slices 0, 1, 2 of a")
    roifile.roiwrite(tmp_path / "a.zip", regions[:2], mode="w")
    quarantine = Quarantine()
    read_rois(tmp_path, quarantine)
    assert not quarantine.rows


def test_our_own_roisets_name_their_classes(tmp_path):
    classes = Classes(("<100>", "particle", "#1", "3"))
    defects = tuple(Defect(name, 5 * place, 0, np.ones((4, 4), bool)) for place, name in enumerate(classes.names))
    write_rois(Micrograph("a", None, defects, SHAPE), tmp_path / "a.zip", classes)
    (table,) = read_rois(tmp_path, Quarantine(), (), ("ambiguous",))
    assert [label.name for label in table.labels] == list(classes.names)


def test_only_one_affix_of_a_name_goes(tmp_path):
    roifile.roiwrite(tmp_path / "RoiSet-1_RoiSet.zip", [polygon(SQUARE, "a")])
    (table,) = read_rois(tmp_path, Quarantine())
    assert table.file_name == "RoiSet-1"
