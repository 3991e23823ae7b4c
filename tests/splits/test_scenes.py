import csv

import cv2
import numpy as np
import pytest

from tem_data.splits.scenes import find_scenes, leaking_pairs


@pytest.fixture(scope="module")
def field() -> np.ndarray:
    """A specimen of 1100 × 1100 px: speckle and dark spots."""
    rng = np.random.default_rng(5)
    grain = cv2.GaussianBlur(rng.normal(size=(1100, 1100)).astype(np.float32), (0, 0), 1.5)
    spots = cv2.GaussianBlur((rng.random((1100, 1100)) < 5e-4).astype(np.float32), (0, 0), 5)
    return 128 + 20 * grain / grain.std() - 25 * spots / spots.std()


def tile(field: np.ndarray, x: int, y: int, seed: int, size: int = 512) -> np.ndarray:
    """A micrograph with noise of its own and a strong gradient of its own."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-60, 60, size) * rng.choice([-1, 1])
    image = field[y : y + size, x : x + size] + ramp[:, None] + rng.normal(0, 8, (size, size))
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("dx", "dy"), [(466, 0), (0, -400), (300, 340), (-128, 90), (0, 0)])
def test_overlap_is_found_with_its_shift_and_size(field, dx, dy):
    x, y = max(0, -dx), max(0, -dy)
    scenes = find_scenes({"a": tile(field, x, y, 1), "b": tile(field, x + dx, y + dy, 2)}, progress=False)
    (overlap,) = scenes.overlaps
    assert (overlap.dx_px, overlap.dy_px) == pytest.approx((dx, dy), abs=2)
    assert overlap.fraction == pytest.approx((512 - abs(dx)) * (512 - abs(dy)) / 512**2, abs=0.01)
    assert scenes.scene == {"a": "scene001", "b": "scene001"}


def test_ncc_is_that_of_the_overlap_also_where_only_a_part_has_detail(field):
    plain = field.copy()
    plain[:350, :350] = plain[700:, 500:] = plain[:, 800:] = 128
    for x, y in ((300, 200), (0, 330), (250, 0)):
        pair = {"a": plain[100:612, 100:612], "b": plain[100 + y : 612 + y, 100 + x : 612 + x]}
        (overlap,) = find_scenes(pair, progress=False).overlaps
        assert overlap.ncc == pytest.approx(1, abs=0.03)


def test_a_chain_is_one_scene_and_apart_is_apart(field):
    places = {"left": (0, 0), "far": (588, 588), "right": (588, 0), "middle": (300, 0)}
    images = {name: tile(field, x, y, i) for i, (name, (x, y)) in enumerate(places.items())}
    scenes = find_scenes(images, progress=False)
    assert scenes.scene == {"left": "scene001", "far": "scene002", "right": "scene001", "middle": "scene001"}
    assert {(o.id_a, o.id_b) for o in scenes.overlaps} == {("left", "middle"), ("right", "middle")}


def test_less_than_the_least_overlap_is_not_tied(field):
    images = {"a": tile(field, 0, 0, 1), "b": tile(field, 440, 0, 2)}
    assert find_scenes(images, min_overlap=0.1, progress=False).overlaps
    assert not find_scenes(images, min_overlap=0.2, progress=False).overlaps


def test_one_image_under_two_names(field):
    image = tile(field, 100, 100, 1)
    packed = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)
    images = {"a": image, "jpeg": packed, "large": cv2.resize(packed, (1024, 1024)), "b": tile(field, 600, 580, 2, 300)}
    scene = find_scenes(images, progress=False).scene
    assert scene["a"] == scene["jpeg"] == scene["large"] != scene["b"]


def test_scale_bar_and_blank_images_tie_nothing(field):
    rng = np.random.default_rng(3)
    images = {f"noise{i}": rng.integers(60, 200, (300, 400), np.uint8) for i in range(3)}
    for image in images.values():
        image[260:270, 280:380] = 255
    images |= {"blank": np.zeros((300, 400), np.uint8), "grey": np.full((300, 400), 90, np.uint8)}
    assert len(set(find_scenes(images, progress=False).scene.values())) == 5


def test_leaking_pairs():
    scene = {"a": "s1", "b": "s1", "c": "s2", "d": "s2", "e": "s1"}
    roles = {"a": "test", "b": "train", "c": "test", "d": "test", "e": "validation"}
    assert leaking_pairs(roles, scene) == [("a", "b"), ("a", "e")]
    assert leaking_pairs(roles | {"b": "test", "e": ""}, scene) == []


def test_real_tiles(shared):
    with open(shared / "data/fecral/splits.csv", newline="") as file:
        known = {row["file_name"]: row["scene"] for row in csv.DictReader(file)}
    # whole scenes, so that no tile between two others is missing
    names = [name for name, scene in known.items() if scene in ("scene01", "scene03", "scene26", "scene27", "scene22")]
    images = {name: cv2.imread(str(shared / "data/fecral/images" / name), cv2.IMREAD_GRAYSCALE) for name in names}
    scene = find_scenes(images, progress=False).scene
    ours, theirs = ({(a, b) for a in names for b in names if s[a] == s[b]} for s in (scene, known))
    assert len(names) == 15 and ours == theirs
