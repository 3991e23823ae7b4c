import random

import numpy as np
import pytest
import tifffile
from PIL import Image

from tem_data.core.errors import TemDataError
from tem_data.images.reading import (
    IMAGE_SUFFIXES,
    SeveralPlanes,
    files_by_stem,
    layout,
    orientation,
    other_files,
    read_image,
    read_stored,
)

RAMP = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)  # no symmetry that a wrong turn could hide behind
GREY = (RAMP // 5).astype(np.uint8)
RGB = np.stack([GREY, GREY // 2, 255 - GREY], -1)
LUMA = np.rint(RGB @ [0.299, 0.587, 0.114])
SCALED = np.linspace(0, 255, RAMP.size).reshape(RAMP.shape)


@pytest.fixture
def tif(tmp_path):
    """Writes a TIFF; gives its path."""

    def write(values, name="a.tif", **options):
        tifffile.imwrite(tmp_path / name, values, **options)
        return tmp_path / name

    return write


def assert_scaled(pixels):
    assert pixels.dtype == np.uint8 and np.abs(pixels - SCALED).max() < 2


# grey


@pytest.mark.parametrize("options", [
    {}, {"compression": "zlib", "predictor": True}, {"compression": "lzw"}, {"compression": "zstd"},
    {"compression": "packbits"}, {"tile": (16, 16)}, {"rowsperstrip": 7}, {"byteorder": ">"}, {"bigtiff": True},
])  # fmt: skip
def test_tiffs_of_8_and_16_bits(tif, options):
    assert (read_image(tif(GREY, **options)).pixels == GREY).all()
    assert_scaled(read_image(tif(RAMP, **options)).pixels)
    assert (read_stored(tif(RAMP, **options)).values == RAMP).all()


@pytest.mark.parametrize("dtype", "int16 uint16 int32 uint32 int64 float16 float32 float64".split())
def test_more_than_8_bits_are_scaled(tif, dtype):
    assert_scaled(read_image(tif(RAMP.astype(dtype))).pixels)
    if dtype.startswith("int"):
        assert_scaled(read_image(tif(RAMP.astype(dtype) - 600)).pixels)


def test_signed_bytes_are_scaled(tif):
    assert_scaled(read_image(tif((GREY.astype(np.int16) - 120).astype(np.int8))).pixels)


def test_large_numbers_keep_their_contrast(tif):
    assert_scaled(read_image(tif(RAMP.astype(np.uint32) + 4_000_000_000)).pixels)
    assert_scaled(read_image(tif(RAMP * 1e300)).pixels)


def test_the_scaling_is_of_the_percentiles(tif):
    values = RAMP.astype(np.float32)
    values[0, :4] = np.nan, np.inf, -np.inf, 1e30
    pixels = read_image(tif(values)).pixels
    assert pixels[0, :4].tolist() == [0, 255, 0, 255] and np.abs(pixels[1:] - SCALED[1:]).max() < 2
    with pytest.raises(ValueError, match="no finite grey level"):
        read_image(tif(np.full((4, 4), np.nan, np.float32)))
    with pytest.raises(ValueError, match="complex"):
        read_image(tif(np.ones((4, 4), np.complex64)))
    assert (read_image(tif(np.full((4, 4), 7, np.uint16))).pixels == 0).all()


@pytest.mark.parametrize("fill", [-3.4e38, -9999.0, 65535.0])
def test_a_frame_of_one_value_far_off_does_not_count_for_the_scaling(tif, fill):
    values = RAMP.astype(np.float32)
    values[:6] = fill
    pixels = read_image(tif(values)).pixels
    assert (pixels[:6] == (0 if fill < 0 else 255)).all()
    assert np.abs(pixels[6:] - np.linspace(0, 255, 24 * 40).reshape(24, 40)).max() < 2


def test_burnt_in_black_and_white_do_not_count_for_the_scaling(tif):
    values = RAMP + np.uint16(3000)
    values[:3], values[3:6] = 0, 65535
    pixels = read_image(tif(values)).pixels
    assert np.abs(pixels[6:] - np.linspace(0, 255, 24 * 40).reshape(24, 40)).max() < 2
    ends = np.where(RAMP > 600, 65535, 0).astype(np.uint16)  # two values are all there is
    assert (read_image(tif(ends)).pixels == ends // 257).all()


@pytest.mark.parametrize("byteorder", "<>")
def test_min_is_white_is_shown_inverted_and_stored_as_it_is(tif, byteorder):
    options = {"photometric": "miniswhite", "byteorder": byteorder}
    assert (read_image(tif(255 - GREY, **options)).pixels == GREY).all()
    assert (read_stored(tif(255 - GREY, **options)).values == 255 - GREY).all()
    for values in (65535 - RAMP, -1 - RAMP.astype(np.int16), -RAMP.astype(np.float32)):
        assert_scaled(read_image(tif(values, **options)).pixels)
        assert (read_stored(tif(values, **options)).values == values).all()
    bits = GREY > 100
    assert (read_image(tif(~bits, **options)).pixels == 255 * bits).all()
    stored = read_stored(tif(~bits, **options))
    assert stored.kind == "bilevel" and (stored.values == ~bits).all() and stored.values.dtype == np.uint8


def test_few_bits(tif, tmp_path):
    bits = GREY > 100
    Image.fromarray(bits).save(tmp_path / "a.png")
    Image.fromarray(bits).save(tmp_path / "b.tif", compression="group4")
    for path in (tif(bits, photometric="minisblack"), tmp_path / "a.png", tmp_path / "b.tif"):
        assert (read_image(path).pixels == 255 * bits).all()
        assert read_stored(path).kind == "bilevel" and read_stored(path).values.max() == 1
    assert_scaled(read_image(tif(RAMP, bitspersample=12)).pixels)
    four = tif(GREY // 16, bitspersample=4)
    assert (read_image(four).pixels == GREY // 16 * 17).all() and (read_stored(four).values == GREY // 16).all()


def test_png_of_16_bits(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    assert_scaled(read_image(tmp_path / "a.png").pixels)
    assert (read_stored(tmp_path / "a.png").values == RAMP).all()
    colour = cv2_png(tmp_path / "b.png", np.stack([RAMP] * 3, -1))
    assert_scaled(read_image(colour).pixels)
    assert read_stored(colour).values.dtype == np.uint8


def cv2_png(path, values):
    import cv2

    cv2.imwrite(str(path), values)
    return path


# colour


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("planar", [False, True])
def test_colour_becomes_luma(tif, options, planar):
    def write(values):
        if planar:
            values, options["planarconfig"] = np.moveaxis(values, -1, 0), "separate"
        return tif(values, photometric="rgb", **options)

    options = dict(options)
    alpha = np.dstack([RGB, np.full_like(GREY, 9)])
    for values in (RGB, alpha):
        assert np.abs(read_image(write(values)).pixels - LUMA).max() <= 1
        stored = read_stored(write(values))
        assert stored.kind == "colour" and (stored.values == values).all()
    assert_scaled(read_image(write(np.stack([RAMP] * 3, -1))).pixels)


def test_colour_of_png_jpeg_and_bmp(tmp_path):
    alpha = np.dstack([RGB, np.full_like(GREY, 9)])
    for name, values, near in (("a.png", RGB, 1), ("b.png", alpha, 1), ("a.bmp", RGB, 1), ("a.jpg", RGB, 6)):
        Image.fromarray(values).save(tmp_path / name, quality=100)
        assert np.abs(read_image(tmp_path / name).pixels - LUMA).max() <= near
        stored = read_stored(tmp_path / name)
        assert (stored.kind, stored.values.shape, stored.lossy) == ("colour", values.shape, name == "a.jpg")


def test_grey_with_alpha(tif, tmp_path):
    values = np.dstack([GREY, 255 - GREY])
    Image.fromarray(values, "LA").save(tmp_path / "a.png")
    paths = tmp_path / "a.png", tif(values, photometric="minisblack", extrasamples=["unassalpha"])
    for path in paths:
        assert (read_image(path).pixels == GREY).all() and read_image(path).planes == 1
        assert (read_stored(path).values == np.dstack([GREY] * 3 + [255 - GREY])).all()


def test_palettes(tif, tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    picture = Image.fromarray(GREY, "P")
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", tif(GREY, photometric="palette", colormap=colours.T.astype(np.uint16) * 257)):
        assert np.abs(read_image(path).pixels - colours[GREY] @ [0.299, 0.587, 0.114]).max() <= 1
        stored = read_stored(path)
        assert (stored.kind, stored.lossy) == ("palette", False)
        assert (stored.values == GREY).all() and (stored.palette[GREY] == colours[GREY]).all()


def test_what_only_pillow_reads(tmp_path):
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif").pixels - LUMA).max() <= 2


def test_jpeg_in_a_tiff_is_lossy(tif):
    smooth = np.full((32, 32, 3), 90, np.uint8)
    path = tif(smooth, photometric="rgb", compression="jpeg")
    assert np.abs(read_image(path).pixels.astype(int) - 90).max() <= 2 and read_stored(path).lossy
    assert not read_stored(tif(smooth, photometric="rgb", compression="lzw")).lossy


# turning


def test_how_a_file_says_to_turn_it(tif, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(GREY).save(tmp_path / "a.jpg", exif=exif)
    assert orientation(tmp_path / "a.jpg") == 6 and orientation(tif(GREY)) == 1
    assert orientation(tif(GREY, extratags=[(274, "H", 1, 3, True)])) == 3


@pytest.mark.parametrize("number", range(1, 9))
def test_orientation(tmp_path, tif, number):
    blocks = np.kron(np.array([[40, 90, 140], [190, 210, 240]], np.uint8), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[274] = number
    for name in ("a.png", "a.jpg"):
        Image.fromarray(blocks).save(tmp_path / name, exif=exif)
    turn = {1: lambda v: v, 2: np.fliplr, 3: lambda v: np.rot90(v, 2), 4: np.flipud, 5: np.transpose,
            6: lambda v: np.rot90(v, -1), 7: lambda v: np.rot90(v, 2).T, 8: np.rot90}[number]  # fmt: skip
    turned = tif(blocks, name="b.tif", extratags=[(274, "H", 1, number, True)])
    for path in (turned, tmp_path / "a.png", tmp_path / "a.jpg"):
        for pixels in (read_image(path).pixels, read_stored(path).values):
            assert pixels.shape == turn(blocks).shape and np.abs(pixels.astype(int) - turn(blocks)).max() <= 4


# planes


@pytest.mark.parametrize("options", [
    {"photometric": "minisblack"}, {"imagej": True}, {"ome": True, "metadata": {"axes": "ZYX"}},
    {"photometric": "minisblack", "metadata": None}, {"photometric": "minisblack", "compression": "zlib"},
    {"photometric": "minisblack", "volumetric": True, "tile": (1, 16, 16)},
])  # fmt: skip
def test_a_stack_needs_a_frame(tif, options):
    stack = np.stack([GREY, GREY // 2, 255 - GREY])
    path = tif(stack, **options)
    with pytest.raises(SeveralPlanes, match="3 planes; choose one with `frame`: a number, mean or max") as found:
        read_image(path)
    assert found.value.count == 3
    with pytest.raises(SeveralPlanes):
        read_stored(path)
    for frame in (1, 2, 3):
        picture = read_image(path, frame)
        assert (picture.pixels == stack[frame - 1]).all() and picture.planes == 3
    assert (read_image(path, "mean").pixels == np.rint(stack.mean(axis=0))).all()
    assert (read_image(path, "max").pixels == stack.max(axis=0)).all()
    for frame in (0, 4, -1):
        with pytest.raises(ValueError, match=f"frame {frame}: expected a number from 1 to 3"):
            read_image(path, frame)
    for frame in ("min", True, 1.0):
        with pytest.raises(ValueError, match="expected a number from 1, mean or max"):
            read_image(path, frame)


def test_planes_are_combined_before_they_are_scaled(tif):
    path = tif(np.stack([RAMP * 0, RAMP * 2]), imagej=True)
    for frame in ("mean", "max", 2):
        assert_scaled(read_image(path, frame).pixels)


def test_axes_of_length_1_are_no_planes(tif):
    for frame in (None, 1, "mean", "max"):
        assert (read_image(tif(GREY[None, None, None], imagej=True), frame).pixels == GREY).all()


def test_hyperstacks_and_pages_of_other_shapes_are_planes(tif, tmp_path):
    path = tif(np.stack([[GREY, GREY // 2], [GREY // 3, GREY // 4]]), imagej=True, metadata={"axes": "TCYX"})
    assert read_image(path, 3).planes == 4 and (read_image(path, 3).pixels == GREY // 3).all()
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(GREY)
        file.write(GREY[:10])
    assert read_image(tmp_path / "b.tif", 2).pixels.shape == (10, 40)
    with pytest.raises(ValueError, match="different shapes"):
        read_image(tmp_path / "b.tif", "mean")


def test_thumbnails_and_pyramids_are_no_planes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY[::4, ::4], subfiletype=1)
        file.write(GREY, subifds=1)
        file.write(GREY[::2, ::2], subfiletype=1)
    picture = read_image(tmp_path / "a.tif")
    assert picture.planes == 1 and (picture.pixels == GREY).all()


def test_frames_of_an_animated_png_are_planes(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(GREY // 2)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(SeveralPlanes):
        read_image(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 2).pixels == GREY // 2).all()
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.jpg").planes == 1


# what is no image


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    for suffix in IMAGE_SUFFIXES:
        (tmp_path / f"a{suffix}").touch()
        with pytest.raises(ValueError, match="^the file is empty$"):
            read_image(tmp_path / f"a{suffix}")


def test_gif(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.gif")
    assert (read_image(tmp_path / "a.gif").pixels == GREY).all()


def test_files_that_are_no_image(tmp_path, capfd, recwarn):
    for suffix in IMAGE_SUFFIXES:
        for content in (b"", b"no image at all" * 40, b"II*\0" + b"\xff" * 60):
            path = tmp_path / f"a{suffix}"
            path.write_bytes(content)
            for read in (read_image, read_stored):
                with pytest.raises((OSError, ValueError)) as found:
                    read(path)
                assert str(found.value) and "\n" not in str(found.value)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.tif")
    assert capfd.readouterr() == ("", "") and not recwarn.list


def test_a_header_that_claims_too_much_is_refused(tif):
    path = tif(GREY, metadata=None)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        places = [file.pages[0].tags[code].valueoffset for code in (256, 257)]
    for side in (100_000, 30_000):
        claimed = bytearray(content)
        for place in places:
            claimed[place : place + 4] = side.to_bytes(4, "little")
        path.write_bytes(claimed)
        with pytest.raises(ValueError):
            read_image(path)


def test_damaged_files_are_refused_or_read(tif, tmp_path, capfd):
    rng = random.Random(0)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    whole = [(tmp_path / name).read_bytes() for name in ("a.png", "a.jpg")]
    for options in ({}, {"compression": "zlib"}, {"compression": "lzw"}, {"imagej": True}, {"ome": True}):
        whole.append(tif(RAMP, **options).read_bytes())
    for content in whole * 15:
        damaged = bytearray(content[: rng.randrange(len(content))] if rng.random() < 0.3 else content)
        for _ in range(rng.randrange(5)):
            damaged[rng.randrange(min(len(damaged), 500))] ^= 1 << rng.randrange(8) if damaged else 0
        (tmp_path / "x.tif").write_bytes(damaged)
        for read in (read_image, read_stored):
            try:
                read(tmp_path / "x.tif")
            except (OSError, ValueError) as error:
                assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


# folders


def test_files_of_a_folder(tmp_path):
    for name in "b.PNG a.ome.tif a.png c.dm4 d.txt e.TXT readme .hidden.tif.swp ._a.tif .DS_Store".split():
        (tmp_path / name).touch()
    (tmp_path / "folder.gif").mkdir()
    found = files_by_stem(tmp_path)
    assert {stem: [path.name for path in paths] for stem, paths in found.items()} == {
        "a": ["a.ome.tif", "a.png"], "b": ["b.PNG"], "c": ["c.dm4"]
    }  # fmt: skip
    assert other_files(tmp_path) == {"": 1, ".txt": 2}
    with pytest.raises(TemDataError, match="none: expected a folder of images"):
        files_by_stem(tmp_path / "none")


# what is known before the pixels are decoded


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"photometric": "miniswhite"}])
def test_the_layout_is_that_of_the_picture(tif, options):
    for values in (GREY, RAMP, np.stack([GREY, GREY])):
        path = tif(values, **options)
        known = layout(path)
        picture = read_image(path, 1)
        assert (known.shape, known.planes, known.nm_per_px) == (picture.pixels.shape, picture.planes, None)


def test_the_layout_of_turned_coloured_and_scaled_pictures(tif, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RGB).save(tmp_path / "turned.jpg", exif=exif)
    assert layout(tmp_path / "turned.jpg")[:2] == (1, (40, 30)) and read_image(tmp_path / "turned.jpg")[0].shape == (
        40,
        30,
    )
    assert layout(tif(RGB))[:2] == (1, (30, 40))
    scaled = tif(GREY, imagej=True, resolution=(4, 4), metadata={"unit": "nm"})
    assert layout(scaled) == (1, (30, 40), 0.25)
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError):
        layout(tmp_path / "x.png")
