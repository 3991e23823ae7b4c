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


@pytest.mark.parametrize("quality", [30, 50, 75, 95, 100])
def test_jpegs_of_any_quality_are_cut_at_half(tmp_path, quality):
    Image.fromarray(GREY).save(tmp_path / "a.jpg", quality=quality)
    labels, why = read(tmp_path)
    assert not why and [area for _, area in labels] == pytest.approx(AREAS, rel=0.08)


def test_a_resized_mask_is_cut_at_half(tmp_path):
    small = cv2.resize(GREY, (50, 40), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.resize(small, (100, 80), interpolation=cv2.INTER_LINEAR))
    labels, why = read(tmp_path)
    assert not why and [area for _, area in labels] == pytest.approx(AREAS, rel=0.1)


def noisy():
    return np.where(DISCS, 90, 170) + np.random.default_rng(0).normal(0, 5, DISCS.shape)


def test_what_is_no_mask_is_refused(tmp_path):
    micrograph = noisy().astype(np.uint8)
    painted = np.dstack([micrograph] * 3)
    painted[DISCS] = 255, 0, 0
    soft = cv2.GaussianBlur(GREY, (0, 0), 3)
    given = (
        (micrograph, {}),
        (painted, {"colours": {"#ff0000": "loop"}}),
        (soft, {}),
        (soft, {"values": {255: "loop"}}),
    )
    for values, more in given:
        Image.fromarray(values).save(tmp_path / "a.png")
        labels, why = read(tmp_path, **more)
        assert labels == [] and "run into each other, as in a micrograph or along soft edges" in why


def test_soft_edges_between_colours_are_refused(tmp_path):
    Image.fromarray(cv2.GaussianBlur(np.dstack([GREY, 0 * GREY, 0 * GREY]), (0, 0), 1)).save(tmp_path / "a.png")
    labels, why = read(tmp_path, colours={"#ff0000": "loop"})
    assert labels == [] and "colours run into each other" in why


def test_probabilities_and_negative_levels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", cv2.GaussianBlur(DISCS.astype(np.float32), (0, 0), 1))
    assert "no whole numbers, as of probabilities" in read(tmp_path)[1]
    tifffile.imwrite(tmp_path / "a.tif", -DISCS.astype(np.int16))
    assert "levels below 0; name the class" in read(tmp_path)[1]
    tifffile.imwrite(tmp_path / "a.tif", DISCS.astype(np.float32))
    assert read(tmp_path, {1: "loop"}) == read(tmp_path) == (LOOPS, "")


def test_a_mask_without_background_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((80, 100), 255, np.uint8))
    assert read(tmp_path) == ([], "mask or map: one defect fills the whole image; the mask has no background of 0")


def test_pages_are_refused_in_their_own_words(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, 0 * GREY]), photometric="minisblack")
    assert read(tmp_path) == ([], "mask or map: 2 pages; save one picture an image")


def test_a_folder_without_pictures_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(TemDataError, match="expected masks as pictures"):
        read(tmp_path)


def test_outlines_of_255_are_no_defects(tmp_path):
    numbers = DISCS.astype(np.uint8)
    ring = (cv2.dilate(numbers, np.ones((3, 3), np.uint8)) - cv2.erode(numbers, np.ones((3, 3), np.uint8))) > 0
    cv2.imwrite(str(tmp_path / "a.png"), np.where(ring, 255, numbers))
    assert read(tmp_path)[0] == [] and "255 stands along the outlines" in read(tmp_path)[1]
    labels, _ = read(tmp_path, {1: "loop"})
    assert Counter(name for name, _ in labels) == {"loop": 3, "value 255": 1}


@pytest.mark.parametrize("map_", [
    "loop:128,0,0::\nvoid:0,128,0::\n", "\ufeff# größe\r\nloop: 128, 0, 0 ::\r\nvoid : 0 , 128 , 0 ::\r\n",
    "128 0 0 loop\n0 128 0\tvoid\n",
])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_label_maps_of_any_encoding(coloured, map_, encoding):
    name = "label_colors.txt" if map_[0] == "1" else "labelmap.txt"
    (coloured / name).write_bytes(map_.lstrip("\ufeff" if encoding != "utf-8" else "").encode(encoding))
    assert read(coloured, classes=()) == (COLOURED, "")


@pytest.fixture
def on_white(coloured):
    rgb = np.array(Image.open(coloured / "a.png"))
    rgb[~DISCS] = 255
    Image.fromarray(rgb).save(coloured / "a.png")
    return coloured


def test_a_background_of_another_colour(on_white):
    named = {"#800000": "loop", "#008000": "void"}
    assert read(on_white, colours=named) == (COLOURED, "")
    assert read(on_white, colours=named | {"#ffffff": "background"}) == (COLOURED, "")
    labels, why = read(on_white)
    assert labels == [] and "name the classes by mask_values or mask_colours" in why


def test_black_can_be_a_class(tmp_path):
    Image.fromarray(np.dstack([255 - GREY] * 3)).save(tmp_path / "a.png")
    assert read(tmp_path, colours={"#000000": "loop"}) == (LOOPS, "")
    Image.fromarray(255 - GREY).save(tmp_path / "a.png")
    assert read(tmp_path, {0: "loop", 255: "background"}) == (LOOPS, "")
    assert "it seems to be the background" in read(tmp_path, {0: "loop"})[1]


def test_colours_that_miss_by_little(coloured):
    assert read(coloured, colours={"#7e0102": "loop", "#038100": "void"}) == (COLOURED, "")
    assert read(coloured, colours={"#700000": "loop", "#008000": "void"})[0][0] == ("colour #800000", 197)


def test_colours_on_nothing(tmp_path):
    red = np.dstack([GREY, 0 * GREY, 0 * GREY, GREY // 2])  # half transparent where it is red
    white = np.dstack([np.full_like(GREY, 255), 255 - GREY, 255 - GREY, GREY])  # white where it is transparent
    for values in (red, white):
        Image.fromarray(values).save(tmp_path / "a.png")
        assert read(tmp_path, colours={"#ff0000": "loop"}) == read(tmp_path) == (LOOPS, "")


def test_a_palette_whose_black_has_another_number_than_0(tmp_path):
    Image.fromarray(np.dstack([GREY, 0 * GREY, 0 * GREY])).save(tmp_path / "a.gif")
    assert read(tmp_path) == (LOOPS, "")


def test_images_beside_their_masks_are_no_masks(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), noisy())
    cv2.imwrite(str(tmp_path / "a_mask.png"), GREY)
    (table,) = read_masks(tmp_path, None, None, ["loop"], Quarantine(), suffix="_mask")
    assert table.file_name == "a" and len(table.labels) == 3


def test_levels_of_no_named_class(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), GREY)
    assert read(tmp_path, classes=()) == ([("defect", area) for area in AREAS], "")
    cv2.imwrite(str(tmp_path / "a.png"), cv2.connectedComponents(GREY)[1].astype(np.uint8))
    labels, why = read(tmp_path, classes=())
    assert labels == [] and "levels 1, 2, 3: name the class of each by mask_values; where they number defects" in why
