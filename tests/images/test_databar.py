import io

import cv2
import numpy as np
import pytest
from PIL import Image

from tem_data.images.databar import data_bar
from tem_data.simulation.micrographs import simulate


@pytest.fixture(scope="module")
def micrographs():
    return [m.image for m in simulate(count=3, size_px=256, nm_per_px=0.957, seed=0)]


def with_bar(image, rows, grey=0, ink=255, frame=False):
    """The micrograph above a bar with text and a scale bar."""
    bar = np.full((rows, image.shape[1]), grey, np.uint8)
    cv2.putText(bar, "HV 200 kV  100 kx", (5, rows - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink)
    cv2.rectangle(bar, (190, rows // 2), (240, rows // 2 + 3), ink, -1)
    if frame:
        bar[:2], bar[-2:], bar[:, :2], bar[:, -2:] = ink, ink, ink, ink
        bar[:, 120] = ink
    return np.vstack([image, bar])


@pytest.mark.parametrize("rows", [20, 24, 40, 60])
@pytest.mark.parametrize(("grey", "ink"), [(0, 255), (255, 0), (200, 20)])
@pytest.mark.parametrize("frame", [False, True])
def test_a_bar_is_found(micrographs, rows, grey, ink, frame):
    for image in micrographs:
        assert data_bar(with_bar(image, rows, grey, ink, frame)) == rows


def test_a_bar_is_found_in_a_jpeg(micrographs):
    file = io.BytesIO()
    Image.fromarray(with_bar(micrographs[0], 32)).save(file, "JPEG", quality=95)
    assert data_bar(np.asarray(Image.open(file))) == pytest.approx(32, abs=2)


def test_micrographs_have_none(micrographs):
    for image in micrographs:
        for turns in range(4):
            assert data_bar(np.rot90(image, turns)) == 0
        stretched = np.clip((image.astype(float) - image.mean()) * 8 + 128, 0, 255).astype(np.uint8)
        assert data_bar(stretched) == 0


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_flat_images_have_none(micrographs, grey):
    flat = np.full((256, 256), grey, np.uint8)
    assert data_bar(flat) == 0
    assert data_bar(np.vstack([micrographs[0][:200], flat[:40]])) == 0  # no text: cut off, not a bar
    assert data_bar(with_bar(flat, 40, grey, 255 - grey)) == 0  # where it begins cannot be told
    for shape in ((4, 4), (1, 1), (300, 3)):
        assert data_bar(np.full(shape, grey, np.uint8)) == 0


def test_dark_corners_and_vacuum_are_no_bar(micrographs):
    rng = np.random.default_rng(0)
    for image in micrographs:
        rows, columns = np.mgrid[: len(image), : image.shape[1]]
        corner, vacuum, half = image.copy(), image.copy(), image.copy()
        corner[rows + columns > 420] = 0
        vacuum[rows > 210 + 10 * np.sin(columns / 40)] = 255
        noisy = vacuum.copy()
        noisy[220:] = rng.normal(200, 12, noisy[220:].shape).clip(0, 255)
        half[200:, :200] = 0
        for picture in (corner, vacuum, noisy, half):
            assert data_bar(picture) == 0


def test_a_bar_over_a_quarter_of_the_height_is_none(micrographs):
    assert data_bar(with_bar(micrographs[0], 120)) == 0


def panels(image, rows):
    """A black bar whose right part is a white panel, as of Zeiss and of Hitachi."""
    bar = np.zeros((rows, image.shape[1]), np.uint8)
    bar[:, 190:] = 255
    cv2.putText(bar, "200 kV 100 kx", (5, rows - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255)
    cv2.putText(bar, "50 nm", (195, rows - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0)
    return np.vstack([image, bar])


def test_a_bar_of_two_panels_is_found(micrographs):
    for image in micrographs:
        for rows in (24, 40, 60):
            assert data_bar(panels(image, rows)) == rows


@pytest.mark.parametrize("quality", [75, 90])
def test_a_framed_bar_is_found_where_a_jpeg_blurs_its_edge(micrographs, quality):
    for rows in (28, 35):  # of 256, so that blocks of 8 do not begin with it
        file = io.BytesIO()
        Image.fromarray(with_bar(micrographs[0][:253], rows, frame=True)).save(file, "JPEG", quality=quality)
        assert data_bar(np.asarray(Image.open(file))) == pytest.approx(rows, abs=2)


def test_a_scale_bar_in_the_picture_is_none(micrographs):
    for image in micrographs:
        for shade in (0.0, 0.5, 1.0):
            picture = image.copy()
            picture[225:250, 150:250] = picture[225:250, 150:250] * shade
            picture[230:233, 160:240] = 255
            cv2.putText(picture, "100 nm", (165, 247), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255)
            assert data_bar(picture) == 0


def test_a_scale_bar_on_smooth_shading_is_none():
    picture = np.repeat(np.linspace(40, 110, 400).astype(np.uint8)[:, None], 512, axis=1)
    picture[368:374, 307:460] = 255
    cv2.putText(picture, "100 nm", (330, 390), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255)
    assert data_bar(picture) == 0
