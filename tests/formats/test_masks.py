from collections import Counter

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from tem_data.core.errors import SettingError, TemDataError
from tem_data.formats.mask_levels import softened
from tem_data.formats.masks import read_masks
from tem_data.importing.quarantine import Quarantine

DISCS = np.zeros((80, 100), bool)
for x, y, r in ((20, 20, 8), (60, 30, 12), (80, 65, 5)):
    DISCS |= (np.arange(100) - x) ** 2 + (np.arange(80)[:, None] - y) ** 2 <= r * r
AREAS = [81, 197, 441]  # measured in the picture above, by connected regions
GREY = DISCS * np.uint8(255)


def read(tmp_path, values=None, colours=None, classes=("loop",), **more):
    """Class and area of each region of the only mask, and why it was not read."""
    quarantine = Quarantine()
    tables = read_masks(tmp_path, values, colours, classes, quarantine, **more)
    labels = [(label.name, int(label.outline.area())) for table in tables for label in table.labels]
    return sorted(labels), " ".join(row["detail"] for row in quarantine.rows)


LOOPS = [("loop", area) for area in AREAS]


def test_masks_by_value_and_by_instance(tmp_path):
    for folder in ("masks", "maps"):
        (tmp_path / folder).mkdir()
    mask, numbers = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint16)
    mask[2:5, 2:5], mask[5:8, 5:8], mask[12:15, 1:4], mask[19, 19] = 85, 85, 170, 3
    numbers[2:5, 2:5], numbers[5:8, 5:8] = 300, 2
    cv2.imwrite(str(tmp_path / "masks/a.png"), mask)
    cv2.imwrite(str(tmp_path / "maps/a.png"), numbers)
    given = tmp_path / "masks", {85: "x", 170: "y"}, None, ()
    (table,) = read_masks(*given, Quarantine())
    # the two squares touch at a corner and are one region
    assert [(r.name, r.outline.mask.sum()) for r in table.labels] == [("value 3", 1), ("x", 18), ("y", 9)]
    assert (table.file_name, table.shape) == ("a", (20, 20))
    (table,) = read_masks(*given, Quarantine(), tmp_path / "maps")
    assert [(r.name, r.outline.box()) for r in table.labels] == [("x", (5, 5, 8, 8)), ("x", (2, 2, 5, 5))]


def inverting_lut(path):
    tifffile.imwrite(path, GREY, photometric="miniswhite")


def bilevel(path):
    tifffile.imwrite(path, DISCS, photometric="miniswhite")


def alpha(path):
    Image.merge("RGBA", [Image.new("L", (100, 80), 255)] * 3 + [Image.fromarray(GREY)]).save(path, "PNG")


def grey_and_alpha(path):
    Image.merge("LA", [Image.new("L", (100, 80), 0), Image.fromarray(GREY)]).save(path, "PNG")


def sixteen_bit(path):
    tifffile.imwrite(path, DISCS.astype(np.uint16) * 65535, byteorder=">")


def one_bit_png(path):
    Image.fromarray(GREY).convert("1").save(path, "PNG")


def label_map(path):
    tifffile.imwrite(path, cv2.connectedComponents(GREY)[1].astype(np.uint16))


@pytest.mark.parametrize("saved", [inverting_lut, bilevel, alpha, grey_and_alpha, sixteen_bit, one_bit_png, label_map])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_what_the_file_holds_counts(tmp_path, saved, suffix):
    saved(tmp_path / f"a{suffix}")
    assert read(tmp_path) == (LOOPS, "")


@pytest.mark.parametrize("saved", [inverting_lut, bilevel, alpha, one_bit_png])
def test_255_is_white_however_it_is_saved(tmp_path, saved):
    saved(tmp_path / "a.tif")
    assert read(tmp_path, {255: "loop"}) == (LOOPS, "")


def test_soft_edges_and_jpeg_are_cut_at_half(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg", quality=90)
    labels, why = read(tmp_path)
    assert not why and [area for _, area in labels] == pytest.approx(AREAS, rel=0.03)
    (tmp_path / "a.jpg").unlink()
    cv2.imwrite(str(tmp_path / "a.png"), cv2.GaussianBlur(GREY, (0, 0), 0.7))
    for values in (None, {255: "loop"}):
        labels, why = read(tmp_path, values)
        assert not why and [area for _, area in labels] == pytest.approx(AREAS, rel=0.03)


def test_what_is_a_soft_mask():
    assert softened(cv2.GaussianBlur(GREY, (0, 0), 1)) and not softened(GREY)
    numbers = cv2.connectedComponents(GREY)[1].astype(np.uint8)
    assert not softened(numbers) and not softened(numbers * np.uint8(85)) and not softened(np.zeros_like(GREY))


def test_jpegs_of_several_classes_are_refused(tmp_path):
    levels = cv2.connectedComponents(GREY)[1].astype(np.uint8) * np.uint8(60)
    Image.fromarray(levels).save(tmp_path / "a.jpg")
    for values in (None, {60: "loop", 120: "void"}):
        labels, why = read(tmp_path, values)
        assert labels == [] and "JPEG" in why


def test_a_defect_that_is_the_background_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), 255 - GREY)
    labels, why = read(tmp_path)
    assert labels == [] and "one defect fills 91% of the image and touches all its edges" in why


def test_a_large_defect_is_none_the_less_one(tmp_path):
    mask = np.zeros((80, 100), np.uint8)
    mask[3:78, 3:98] = 255
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    assert read(tmp_path) == ([("loop", 75 * 95)], "")


@pytest.fixture
def coloured(tmp_path):
    """The three discs in red, red and green; the folder of the mask."""
    (tmp_path / "masks").mkdir()
    rgb = np.zeros((80, 100, 3), np.uint8)
    rgb[DISCS] = (128, 0, 0)
    rgb[50:][DISCS[50:]] = (0, 128, 0)
    Image.fromarray(rgb).save(tmp_path / "masks/a.png")
    return tmp_path / "masks"


COLOURED = [("loop", 197), ("loop", 441), ("void", 81)]


def test_colours_by_name(coloured):
    assert read(coloured, colours={"#800000": "loop", "008000": "void"}, classes=()) == (COLOURED, "")
    (coloured.parent / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nloop:128,0,0::\n"
    )
    assert read(coloured, classes=()) == ([("colour #008000", 81), ("loop", 197), ("loop", 441)], "")
    (coloured / "labelmap.txt").write_text("loop:128,0,0::\nvoid:0,128,0::\n")
    assert read(coloured, classes=()) == (COLOURED, "")
    for wrong in ("#80", "red"):
        with pytest.raises(SettingError, match="mask_colours: expected colours as #800000=loop"):
            read(coloured, colours={wrong: "loop"})
    (coloured / "labelmap.txt").write_text("loop,128,0,0\n")
    with pytest.raises(TemDataError, match="labelmap.txt: line 1: expected name:red,green,blue"):
        read(coloured)


def test_colours_by_their_grey(coloured):
    assert read(coloured, {38: "loop", 75: "void"}) == (COLOURED, "")
    assert Counter(name for name, _ in read(coloured)[0]) == {"loop": 3}


def test_colours_of_one_grey_have_to_be_named(tmp_path):
    rgb = np.zeros((80, 100, 3), np.uint8)
    rgb[DISCS], rgb[50:][DISCS[50:]] = (1, 0, 0), (0, 0, 3)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    labels, why = read(tmp_path)
    assert labels == [] and "#000000, #000003, #010000 cannot be told apart by their grey; name them" in why


def test_a_palette_gives_numbers_or_colours(tmp_path):
    picture = Image.fromarray(cv2.connectedComponents(GREY)[1].astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "a.png")
    assert read(tmp_path, {1: "loop", 2: "loop", 3: "void"}) == (COLOURED, "")
    assert read(tmp_path, colours={"#800000": "loop", "#008000": "void"}) == (COLOURED, "")


def test_masks_named_with_a_suffix(tmp_path):
    (tmp_path / "maps").mkdir()
    cv2.imwrite(str(tmp_path / "a_mask.png"), GREY)
    cv2.imwrite(str(tmp_path / "maps/a.png"), cv2.connectedComponents(GREY)[1].astype(np.uint16))
    (table,) = read_masks(tmp_path, None, None, ["loop"], Quarantine(), tmp_path / "maps", "_mask")
    assert table.file_name == "a" and [int(label.outline.area()) for label in table.labels] == [197, 441, 81]


def test_several_classes_have_to_be_named(tmp_path):
    with pytest.raises(SettingError, match="import.mask_values: missing; name the class of each grey level"):
        read(tmp_path, classes=("loop", "void"))
