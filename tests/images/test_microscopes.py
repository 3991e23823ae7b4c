import importlib
import struct

import numpy as np
import pytest

from tem_data.images.calibration import nm_per_px_in_metadata, pixel_size_in_metadata
from tem_data.images.reading import SeveralPlanes, layout, read_image, read_stored
from tests.images.dm3 import dm3

RAMP = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)
GREY = (RAMP // 5).astype(np.uint8)
SCALED = np.linspace(0, 255, RAMP.size).reshape(RAMP.shape)


def written(path, data, scale=0.5, unit="nm", image=True):
    """A file that RosettaSciIO wrote: the last two axes are of the image, or the last of the spectrum."""
    axes = [
        {"_type": "UniformDataAxis", "name": name, "size": size, "scale": scale, "offset": 0.0, "units": unit,
         "navigate": i < data.ndim - (2 if image else 1), "index_in_array": i}
        for i, (name, size) in enumerate(zip("zyx"[-data.ndim :], data.shape, strict=True))
    ]  # fmt: skip
    signal = {
        "data": data, "axes": axes, "original_metadata": {}, "learning_results": {}, "models": {},
        "metadata": {"General": {"title": ""}, "Signal": {"signal_type": ""}}, "attributes": {"_lazy": False},
        "package_info": {"package": "", "package_version": ""}, "tmp_parameters": {},
    }  # fmt: skip
    importlib.import_module(f"rsciio.{path.suffix[1:]}").file_writer(str(path), signal)
    return path


def mrc(data, angstrom, order="<"):
    """An MRC file of `(height, width)` or `(planes, height, width) uint16`."""
    planes, height, width = data.shape if data.ndim == 3 else (1, *data.shape)
    sides = [side * angstrom for side in (width, height, planes)]
    header = struct.pack(f"{order}10i3f", width, height, planes, 6, 0, 0, 0, width, height, planes, *sides)
    stamp = b"DA\0\0" if order == "<" else b"\x11\x11\0\0"
    return (header.ljust(208, b"\0") + b"MAP " + stamp).ljust(1024, b"\0") + data.astype(f"{order}u2").tobytes()


@pytest.mark.parametrize("suffix", [".hspy", ".emd"])
def test_files_of_hdf5(tmp_path, suffix):
    path = written(tmp_path / f"a{suffix}", RAMP)
    picture = read_image(path)
    assert np.abs(picture.pixels - SCALED).max() < 2
    assert picture[1:] == (pytest.approx(0.5), "", 1) and nm_per_px_in_metadata(path) == pytest.approx(0.5)
    assert (read_stored(path).values == RAMP).all()


def test_planes_and_spectra_of_hspy(tmp_path):
    path = written(tmp_path / "a.hspy", np.stack([GREY, GREY // 2]), 1, "1/nm")
    with pytest.raises(SeveralPlanes):
        read_image(path)
    picture = read_image(path, 2)
    assert (picture.pixels == GREY // 2).all() and picture[1:] == (None, "", 2)
    assert layout(path) == (2, (30, 40), None)
    with pytest.raises(ValueError, match="holds no image"):
        read_image(written(tmp_path / "b.hspy", RAMP, image=False))
    with pytest.raises(ValueError, match="complex"):
        read_image(written(tmp_path / "c.hspy", RAMP.astype(np.complex64)))


@pytest.mark.parametrize("order", "<>")
def test_mrc(tmp_path, order):
    path = tmp_path / "a.mrc"
    path.write_bytes(mrc(RAMP, 5, order))
    assert np.abs(read_image(path).pixels - SCALED).max() < 2
    assert read_image(path)[1:] == (pytest.approx(0.5), "", 1)
    path.write_bytes(mrc(np.stack([RAMP, RAMP * 2]), 0, order))
    assert read_image(path, 2)[1:] == (None, "", 2) and (read_image(path, "max").pixels == read_image(path, 1)[0]).all()
    path.write_bytes(mrc(RAMP, 5, order)[:1100])
    with pytest.raises(ValueError, match="the file ends before"):
        read_image(path)


def ser(data, metres):
    """A SER file of TIA with one image of `(height, width) uint16`, whose rows lie from the bottom up."""
    start = 30 + 32  # of the offsets: behind the header and the one dimension
    height, width = data.shape
    element = struct.pack("<ddIddIHII", 0, metres, 0, 0, metres, 0, 2, width, height) + data[::-1].tobytes()
    head = struct.pack("<3H6I", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, 1, 1, start, 1)
    dimension = struct.pack("<I2d3I", 1, 0, 1, 0, 0, 0)
    offsets = struct.pack("<2I", start + 8, start + 8 + len(element))
    return head + dimension + offsets + element + struct.pack("<2HI", 0x4152, 0, 0)


def test_ser(tmp_path):
    (tmp_path / "a.ser").write_bytes(ser(RAMP, 5e-10))
    picture = read_image(tmp_path / "a.ser")
    assert np.abs(picture.pixels - SCALED).max() < 2 and picture[1:] == (pytest.approx(0.5), "", 1)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_dm3(tmp_path, dtype):
    path = tmp_path / "a.dm3"
    path.write_bytes(dm3(RAMP.astype(dtype) if dtype != "uint8" else GREY, scale=0.0005, unit="µm"))
    picture = read_image(path)
    assert np.abs(picture.pixels - (SCALED if dtype != "uint8" else GREY)).max() < 2
    assert picture[1:] == (pytest.approx(0.5), "", 1)


def test_planes_and_spectra_of_dm3(tmp_path):
    path = tmp_path / "a.dm3"
    for content in (dm3(np.stack([GREY, GREY // 2]), scale=1, unit="nm"), dm3(GREY, GREY // 2, scale=1, unit="nm")):
        path.write_bytes(content)
        with pytest.raises(SeveralPlanes, match="2 planes"):
            read_image(path)
        assert (read_image(path, 2).pixels == GREY // 2).all() and read_image(path, 2)[1:] == (1, "", 2)
    cube = dm3(np.stack([GREY] * 3), scale=1, unit="nm", tags={"Meta Data": {"Format": "Spectrum image"}})
    path.write_bytes(cube)
    with pytest.raises(ValueError, match="holds no image"):
        read_image(path)
    path.write_bytes(dm3(GREY, scale=2.0, unit="µm"))
    assert pixel_size_in_metadata(path) == (None, "2000 nm per px is no pixel size of a micrograph (0.005 to 1000)")


def test_a_broken_file_of_a_microscope_is_refused_in_one_line(tmp_path):
    whole = dm3(RAMP, scale=0.5, unit="nm")
    for name in ("a.dm3", "a.dm4"):
        for content in (whole[:400], whole[:-900], b"\0\0\0\4" + whole[4:100], bytes(256)):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError) as found:
                read_image(tmp_path / name)
            assert str(found.value) and "\n" not in str(found.value)
            assert nm_per_px_in_metadata(tmp_path / name) is None
