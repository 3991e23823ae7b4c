import numpy as np
import pytest
import tifffile
from PIL import Image

from tem_data.images.calibration import nm_per_px_in_metadata, pixel_size_in_metadata
from tem_data.images.reading import read_image

GREY = np.arange(400, dtype=np.uint8).reshape(20, 20)


@pytest.fixture
def size_of(tmp_path):
    """Writes a TIFF; gives its size in nm per px and the doubt."""

    def size(**options):
        tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
        nm_per_px, doubt = pixel_size_in_metadata(tmp_path / "a.tif")
        assert nm_per_px_in_metadata(tmp_path / "a.tif") == nm_per_px
        assert read_image(tmp_path / "a.tif")[1:3] == (nm_per_px, doubt)
        return nm_per_px, doubt

    return size


@pytest.mark.parametrize(
    ("unit", "resolution"),
    [("nm", 2), ("nanometer", 2), ("\\u00C5", 0.2), ("angstrom", 0.2), ("\\u00B5m", 2000), ("micron", 2000)],
)
def test_imagej(size_of, unit, resolution):
    for options in ({"imagej": True, "metadata": {"unit": unit}}, {"description": f"ImageJ=1.54f\nunit={unit}\n"}):
        assert size_of(resolution=(resolution, resolution), **options) == (pytest.approx(0.5, rel=1e-4), "")


def test_imagej_with_a_unit_of_its_own_for_y(size_of):
    text = "ImageJ=1.54f\nunit=nm\nyunit=\\u00C5\n"
    assert size_of(description=text, resolution=(2, 0.2)) == (pytest.approx(0.5), "")


@pytest.mark.parametrize(("unit", "resolution"), [("inch", 72), ("cm", 28.35), ("pixel", 1), ("", 1)])
def test_imagej_without_calibration(size_of, unit, resolution):
    assert size_of(imagej=True, metadata={"unit": unit}, resolution=(resolution, resolution)) == (None, "")


def test_imagej_with_a_size_that_is_doubted(size_of):
    for unit, resolution, doubt in (("nm", (2, 1.5), "wide"), ("nm", (72, 72), "dpi"), ("mm", (1, 1), "no pixel size")):
        nm_per_px, said = size_of(imagej=True, metadata={"unit": unit}, resolution=resolution)
        assert nm_per_px is None and doubt in said


@pytest.mark.parametrize(("unit", "value"), [("nm", 0.5), ("Å", 5), ("pm", 500), ("µm", 0.0005), (None, 0.0005)])
def test_ome(tmp_path, unit, value):
    names = {"PhysicalSizeX": value, "PhysicalSizeY": value}
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit} if unit else {}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, ome=True, metadata={"axes": "YX", **names, **units})
    assert pixel_size_in_metadata(tmp_path / "a.ome.tif") == (pytest.approx(0.5), "")


def gatan(unit, scale, y=None):
    text = f"{unit}\0".encode("latin-1")
    return [
        (65003, "s", len(text), text, True), (65004, "s", len(text), text, True),
        (65009, "d", 1, scale, True), (65010, "d", 1, y or scale, True),
    ]  # fmt: skip


def test_gatan(size_of):
    for unit, scale in (("nm", 0.5), ("µm", 0.0005), ("Å", 5.0)):
        assert size_of(extratags=gatan(unit, scale)) == (pytest.approx(0.5), "")
    assert size_of(extratags=gatan("1/nm", 0.5)) == (None, "")
    assert size_of(extratags=gatan("nm", 0.5, 0.7)) == (None, "pixels are 0.5 nm wide and 0.7 nm high")


def test_fei(size_of):
    text = b"[User]\r\nUser=x\r\n[Scan]\r\nPixelWidth=5e-10\r\nPixelHeight=5e-10\r\n\0"
    assert size_of(extratags=[(34682, "s", len(text), text, True)]) == (pytest.approx(0.5), "")


@pytest.mark.parametrize("primary", ["0\r\n0\r\n0\r\n9.765625e-12\r\n", ""])
def test_zeiss(size_of, primary):
    text = f"{primary}AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 0.5 nm\r\n\0".encode()
    assert size_of(extratags=[(34118, "s", len(text), text, True)]) == (pytest.approx(0.5), "")


def test_a_plain_resolution_counts_only_where_it_is_plausible(size_of):
    assert size_of(resolution=(300, 300), resolutionunit="INCH") == (None, "")
    assert size_of(resolution=(2e7, 2e7), resolutionunit="CENTIMETER") == (pytest.approx(0.5), "")
    assert size_of(resolution=(1, 1), resolutionunit="NONE") == (None, "")


def test_the_first_that_says_something_counts(size_of):
    imagej = {"description": "ImageJ=1.54f\nunit=pixel\n", "resolution": (1, 1)}
    assert size_of(extratags=gatan("nm", 0.5), **imagej) == (pytest.approx(0.5), "")
    imagej = {"description": "ImageJ=1.54f\nunit=nm\n", "resolution": (4, 4)}
    assert size_of(extratags=gatan("nm", 0.5), **imagej) == (pytest.approx(0.25), "")


def test_metadata_that_cannot_be_read_are_none(size_of, tmp_path):
    assert size_of(description="unit=nm\n", resolution=(0, 0)) == (None, "")
    assert size_of(description='<OME xmlns="http://www.openmicroscopy.org"><Pixels', metadata=None) == (None, "")
    assert size_of(extratags=[(65003, "s", 3, b"nm\0", True), (65009, "s", 2, b"x\0", True)]) == (None, "")
    (tmp_path / "b.tif").write_bytes(b"II*\0damaged")
    Image.fromarray(GREY).save(tmp_path / "c.png", dpi=(300, 300))
    for name in ("b.tif", "c.png", "none.tif"):
        assert pixel_size_in_metadata(tmp_path / name) == (None, "")
