"""Real files of microscopes, from the source distribution of HyperSpy on the package index, and what its tests say."""

import html
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from pip._internal.models.index import PyPI

from tem_data.images.reading import SeveralPlanes, read_image

pytestmark = pytest.mark.slow
NAME = "hyperspy-1.7.4"
SIZES = {  # nm per px in hyperspy/tests/io/test_fei.py and test_tiff.py, and as its readers give them
    "FEI_old/64x64_TEM_images_acquire.emi": 6.281833,
    "FEI_old/64x64_TEM_images_acquire_1.ser": 6.281833,
    "FEI_old/16x16_STEM_BF_DF_acquire_1.ser": 21.510044,
    "FEI_new/128x128-TEM_search.emi": 5.26121,
    "tiff_files/test_loading_image_saved_with_DM.tif": 168.67,
    "tiff_files/test_loading_image_saved_with_imageJ.tif": 168.67,
    "tiff_files/test_dm_image_um_unit.dm3": 168.67,
}
UNKNOWN = ["FEI_old/64x64_diffraction_acquire.emi", "tiff_files/test_loading_image_saved_with_imageJ_no_scale.tif"]
PLANES = {
    "FEI_old/64x64x5_TEM_preview_1.ser": 5,
    "FEI_old/16x16_STEM_BF_DF_acquire.emi": 2,
    "dm_stackbuilder_plugin/test_stackbuilder_imagestack.dm3": 3,
    "emd_files/fei_example_tem_stack.emd": 2,
    "tiff_files/test_loading_image_saved_with_DM_stack.tif": 2,
}
REFUSED = [
    "dm3_2D_data/test-3.dm3",
    "FEI_old/16x16-point_spectrum-1x1024_1.ser",
    "emd_files/fei_example_complex_fft.emd",
]


@pytest.fixture(scope="module")
def files(request) -> Path:
    """The folder of HyperSpy's test data, fetched once."""
    folder = Path(request.config.cache.mkdir("hyperspy"))
    data = folder / NAME / "hyperspy/tests/io"
    if not data.is_dir():
        try:
            archive = _fetched(folder)
        except (OSError, ValueError) as error:
            pytest.skip(f"needs the source distribution of HyperSpy from the package index ({error})")
        with tarfile.open(archive) as content:
            kept = [m for m in content.getmembers() if m.name.startswith(f"{NAME}/hyperspy/tests/io/")]
            content.extractall(folder, kept, filter="data")
    return data


def _fetched(folder: Path) -> Path:
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
    )
    index = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip() or PyPI.simple_url
    page = f"{index.rstrip('/')}/hyperspy/"
    with urlopen(page, timeout=30) as answer:
        links = re.findall(r'href="([^"]+)"', answer.read().decode())
    link = next((link for link in map(html.unescape, links) if f"{NAME}.tar.gz" in link), "")
    archive = folder / f"{NAME}.tar.gz"
    with urlopen(urljoin(page, link.partition("#")[0]), timeout=120) as answer:
        archive.write_bytes(answer.read())
    return archive


@pytest.mark.parametrize("name", SIZES)
def test_the_pixel_size_is_that_of_hyperspy(files, name):
    picture = read_image(files / name)
    assert picture.nm_per_px == pytest.approx(SIZES[name], rel=1e-4) and picture.doubt == "" and picture.planes == 1


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_diffraction_pattern_or_no_scale_has_no_size(files, name):
    assert read_image(files / name).nm_per_px is None


@pytest.mark.parametrize("name", PLANES)
def test_stacks_and_several_signals_are_counted(files, name):
    with pytest.raises(SeveralPlanes, match=f"^{PLANES[name]} planes"):
        read_image(files / name)
    first, last = (read_image(files / name, frame).pixels for frame in (1, PLANES[name]))
    assert first.shape == last.shape


@pytest.mark.parametrize("name", REFUSED)
def test_spectra_and_complex_values_are_refused(files, name):
    with pytest.raises(ValueError, match="holds no image|complex values"):
        read_image(files / name)
