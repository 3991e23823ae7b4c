import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data import figures
from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, defect_from_ellipse, symmetric_array
from tem_data.detection.features import detector_features
from tem_data.fidelity import figures as drawings
from tem_data.fidelity.comparison import compare_pictures
from tem_data.fidelity.contrast import Contrasts, contrast_ratio, measure_contrasts
from tem_data.fidelity.distance import kid, mmd2, polynomial_kernel
from tem_data.fidelity.memorisation import find_copies, nearest_real, nearest_training
from tem_data.fidelity.texture import (
    frequencies,
    measure_textures,
    radial_spectra,
    spectrum_distance,
    texture_distances,
)

SIDE = 64
CLASSES = ("dot", "loop")


def disc(x, y, diameter, category="dot", ignore=False):
    return defect_from_ellipse(category, x, y, diameter, diameter, 0, (SIDE, SIDE), ignore)


def picture(*defects, grey=190, dark=60, scene="s", name="p"):
    image = np.full((SIDE, SIDE), grey, np.uint8)
    for defect in defects:
        x, y, w, h = defect.bbox
        image[y : y + h, x : x + w][defect.mask] = dark
    return Micrograph(name, image, tuple(defects), (SIDE, SIDE), scene=scene)


def noise(seed, count=8, side=SIDE, sd=10.0):
    return np.rint(np.random.default_rng(seed).normal(128, sd, (count, side, side))).astype(np.uint8)


def patches(seed, count=24, scenes=4, dark=40, darkness=0):
    """Noisy patches with a dot and, in three of four, a loop; each scene has its own grey."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        defects = [disc(*rng.uniform(10, 54, 2), rng.uniform(6, 10))]
        if number % 4:
            defects.append(disc(*rng.uniform(10, 54, 2), 14, "loop"))
        scene = f"scene{number % scenes}"
        drawn = picture(*defects, grey=150 + 10 * (number % scenes), dark=dark, scene=scene, name=scene)
        image = np.clip(drawn.image - darkness + rng.normal(0, 6, drawn.shape), 0, 255).astype(np.uint8)
        made.append(replace(drawn, image=image))
    return made


# contrast


def test_contrast_of_a_dark_disc_beside_others():
    """Neither a neighbour nor an ignored one darkens the ring; the ignored one itself is not measured."""
    found = measure_contrasts([picture(disc(20, 20, 12), disc(31, 20, 9), disc(20, 32, 9, "loop", ignore=True))])
    assert found.category.tolist() == ["dot", "dot"] and found.picture.tolist() == [0, 0]
    assert found.inside.tolist() == found.outline.tolist() == [130, 130]


def test_contrast_of_a_loop_seen_face_on_is_in_its_outline():
    loop = disc(32, 32, 24, "loop")
    bare = picture(loop)
    bare.image[disc_mask(32, 32, 18)] = 190
    found = measure_contrasts([bare])
    assert found.outline.tolist() == [130]
    assert found.inside[0] == pytest.approx(130 * (1 - disc_mask(32, 32, 18).sum() / loop.area))


def test_the_edge_of_the_image_is_no_outline():
    """Of a loop cut in half the outline is the round side alone."""
    loop = disc(32, 0, 24, "loop")
    bare = picture(loop)
    bare.image[disc_mask(32, 0, 17)] = 190
    assert measure_contrasts([bare]).outline.tolist() == [130]


def disc_mask(x, y, diameter):
    canvas = np.zeros((SIDE, SIDE), bool)
    defect = disc(x, y, diameter)
    left, top, w, h = defect.bbox
    canvas[top : top + h, left : left + w] = defect.mask
    return canvas


def test_a_defect_without_free_surroundings_is_left_out():
    everything = disc(32, 32, 200)
    assert measure_contrasts([picture(everything), picture(disc(32, 32, 9), everything)]).category.size == 0
    with pytest.raises(TemDataError, match="without an image"):
        measure_contrasts([replace(picture(), image=None)])


@given(st.integers(0, 10**6), st.integers(-60, 60))
@settings(max_examples=20, deadline=None)
def test_contrast_knows_differences_alone(seed, shift):
    """A brighter picture has the same contrasts, the negative the opposite ones."""
    rng = np.random.default_rng(seed)
    drawn = picture(disc(*rng.uniform(0, SIDE, 2), rng.uniform(3, 20)))
    image = rng.integers(60, 190, drawn.shape)
    first, shifted, negative = measure_contrasts(
        [replace(drawn, image=i.astype(np.uint8)) for i in (image, image + shift, 255 - image)], progress=False
    ).inside
    assert shifted == pytest.approx(first, abs=1e-3) and negative == pytest.approx(-first, abs=1e-3)


def contrasts(values, pictures, category="dot"):
    return Contrasts(
        np.full(len(values), category), np.array(pictures), np.array(values, float), np.array(values, float)
    )


def test_contrast_ratio_and_its_interval():
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c", "d"], 50)
    real = contrasts(40 + 5 * rng.standard_normal(200), np.arange(200))
    weak = contrasts(20 + 5 * rng.standard_normal(200), np.arange(200))
    ratio = contrast_ratio(real, groups, weak, "dot")
    assert ratio.value == pytest.approx(weak.inside.mean() / real.inside.mean())
    assert ratio.interval[0] < ratio.value < ratio.interval[1] and np.ptp(ratio.interval) < 0.1


def test_contrast_ratio_draws_whole_scenes():
    """200 defects of two scenes that differ are two things, not 200."""
    groups = np.repeat(["a", "b"], 100)
    real, ours = contrasts(np.repeat([20.0, 40.0], 100), np.arange(200)), contrasts(np.full(50, 30.0), np.arange(50))
    ratio = contrast_ratio(real, groups, ours, "dot")
    assert ratio.value == 1 and ratio.interval == pytest.approx((0.75, 1.5))


def test_contrast_ratio_where_it_is_undefined():
    groups = np.array(["a", "b", "c", "d"])
    real, ours = contrasts([30, 40, 35, 30], range(4)), contrasts([20, 22], range(2))
    assert contrast_ratio(real, groups, ours, "loop") == (None, None)
    assert contrast_ratio(real, np.full(4, "a"), ours, "dot").interval is None
    assert contrast_ratio(contrasts([30, -29, 31, -28], range(4)), groups, ours, "dot").interval is None


# texture


@pytest.mark.parametrize("side", (64, 33))
def test_white_noise_has_a_flat_spectrum_of_its_variance(side):
    spectrum = radial_spectra(noise(1, 200, side)).mean(0)
    assert spectrum.shape == frequencies(side).shape == (side // 2,)
    assert spectrum[1:] == pytest.approx(100 + 1 / 12, rel=0.1)  # rounding to grey levels adds 1/12


def test_a_wave_has_its_power_at_its_frequency():
    wave = 128 + 50 * np.sin(2 * np.pi * 12 / SIDE * np.arange(SIDE))
    image = np.rint(np.tile(wave, (1, SIDE, 1))).astype(np.uint8)
    for turned in (image, image.transpose(0, 2, 1)):
        spectrum = radial_spectra(turned)[0]
        assert spectrum.argmax() == 11 and frequencies(SIDE)[11] == 12 / SIDE
        assert spectrum[16:].max() < 1e-3 * spectrum.max()


def test_spectrum_distance_of_known_powers():
    flat = np.ones((3, 5))
    assert spectrum_distance(flat, flat) == 0
    assert spectrum_distance(flat, np.tile([2, 0.5, 2, 0.5, 1], (2, 1))) == pytest.approx(0.8 * np.log(2))
    with pytest.raises(TemDataError, match="6 and of 10 px"):
        spectrum_distance(flat[:, :3], flat)


def test_a_shift_by_seven_grey_levels_gives_seven():
    image = noise(2)
    found = texture_distances(measure_textures(image), measure_textures(image + np.uint8(7)))
    assert found == pytest.approx({"spectrum": 0, "grey": 7, "patch_mean": 7, "patch_sd": 0, "lines": 0}, abs=1e-3)


def test_scan_lines_are_seen_in_either_direction():
    image = noise(3)
    lines = image + np.random.default_rng(4).integers(0, 15, (8, SIDE, 1)).astype(np.uint8)
    assert measure_textures(image).lines.mean() < 0.5
    across, along = (measure_textures(i).lines for i in (lines, lines.transpose(0, 2, 1)))
    assert across == pytest.approx(along, rel=1e-3) and across.mean() > 1


def test_textures_want_square_grey_pictures():
    for wrong in (noise(0).astype(float), noise(0)[:, :32], noise(0)[0], noise(0)[:0]):
        with pytest.raises(TemDataError, match="square"):
            measure_textures(wrong)


# distance


def test_mmd_of_three_points_by_hand():
    a, b = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0]])
    within_a = 2 * (1 + 1 + 27) / 6  # (0·1+1)³, (0·2+1)³, (1·2+1)³
    across = np.mean([(x * y + 1) ** 3 for x in (0, 1, 2) for y in (1, 3)])
    found = mmd2(polynomial_kernel(a, a), polynomial_kernel(b, b), polynomial_kernel(a, b))
    assert found == pytest.approx(within_a + 64 - 2 * across)


def test_kid_sees_a_shift_and_nothing_else():
    rng = np.random.default_rng(5)
    same, other = rng.standard_normal((2, 200, 8))
    none, shifted = kid(same, other), kid(same, other[:120] + 0.5)
    assert none.low < 0 < none.high and shifted.low > none.high
    assert kid(same, other) == none
    with pytest.raises(TemDataError, match="too few"):
        kid(same[:3], other)
    with pytest.raises(TemDataError, match="one network"):
        kid(same[:, :4], other)


def test_detector_features_average_each_level():
    torch = pytest.importorskip("torch")
    pytest.importorskip("detectron2")

    class Backbone(torch.nn.Module):
        def forward(self, x):
            return {"p3": x[:, :1, ::2, ::2] * 2, "p2": x[:, :2]}

    model = torch.nn.Module()
    model.backbone = Backbone()
    model.preprocess_image = lambda batch: SimpleNamespace(tensor=torch.stack([b["image"].float() for b in batch]))
    detector = SimpleNamespace(model=model, cfg=SimpleNamespace(INPUT=SimpleNamespace(MIN_SIZE_TEST=0)))
    images = noise(6, 11)
    found = detector_features(detector, images, progress=False)
    mean = images.mean((1, 2))
    expected = np.stack([mean, mean, 2 * images[:, ::2, ::2].mean((1, 2))], 1)
    assert found == pytest.approx(expected, rel=1e-5) and found.dtype == np.float32


def test_fidelity_needs_no_detectron2():
    code = "import sys, tem_data.fidelity; assert not {'torch', 'detectron2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# memorisation


def test_planted_copies_are_the_closest_pairs():
    rng = np.random.default_rng(7)
    training, held_out, generated = (rng.standard_normal((n, 16)) for n in (300, 40, 50))
    generated[[4, 9]] = training[[17, 202]] + 0.01 * rng.standard_normal((2, 16))
    found = nearest_training(generated, training, held_out)
    pairs = {(p["generated"], p["training"]) for p in found.closest(2)}
    assert pairs == {(4, 17), (9, 202)} and found.closest(3)[2]["closeness"] > 0.3 > found.closest(2)[1]["closeness"]
    assert found.distance[4] == pytest.approx(np.linalg.norm(generated[4] - training[17]))
    assert found.summary()["closeness_share_below_half"] == 2 / 50


def test_the_ratio_does_not_grow_with_the_training_set():
    """Ten times as many training as held-out patches of one distribution: nearer, but not in equal numbers."""
    rng = np.random.default_rng(8)
    training, held_out, generated = (rng.standard_normal((n, 8)) for n in (1000, 100, 400))
    found = nearest_training(generated, training, held_out).summary()
    assert found["ratio_median"] == pytest.approx(1, abs=0.05) and found["closeness_median"] < 0.85


def test_real_patches_are_compared_with_other_micrographs():
    rng = np.random.default_rng(9)
    training = np.concatenate([rng.standard_normal((30, 4)) + 3 * i for i in range(3)])
    groups = np.repeat(["c", "a", "b"], 30)
    order = rng.permutation(90)
    found = nearest_real(training[order], groups[order], rng.standard_normal((20, 4)))
    assert (groups[order][found.index] != groups[order]).all()
    own = np.linalg.norm(training[order] - training[order][found.index], axis=1)
    assert found.distance == pytest.approx(own)
    assert nearest_real(training, np.full(90, "a"), training) is None


def test_features_must_fit():
    with pytest.raises(TemDataError, match="one network"):
        nearest_training(np.zeros((3, 4)), np.zeros((3, 5)), np.zeros((3, 4)))
    with pytest.raises(TemDataError, match="at least one"):
        nearest_training(np.zeros((3, 4)), np.zeros((0, 4)), np.zeros((3, 4)))


def test_turned_noisy_copies_are_found():
    training, generated = noise(10, 30, 128), noise(11, 6, 128)
    smooth = np.add.outer(np.arange(128), np.zeros(128))
    training = (training // 2 + smooth[None] / 2 * np.linspace(0.1, 1, 30)[:, None, None]).astype(np.uint8)
    training[13, :40, :70] += 60
    generated[2] = symmetric_array(training[13], 6) // 2 + noise(12, 1, 128)[0] // 8
    found = find_copies(generated, training)
    (copy,) = found.closest(1)
    assert (copy["generated"], copy["training"], copy["symmetry"]) == (2, 13, 6) and copy["correlation"] > 0.95
    assert found.correlation[[0, 1, 3, 4, 5]].max() < 0.5
    assert find_copies(np.full((1, 128, 128), 9, np.uint8), training).correlation.tolist() == [0]


def test_copies_among_real_patches_leave_out_their_own_micrograph():
    images, groups = noise(13, 6), np.array(list("aabbcc"))
    assert find_copies(images, images).correlation == pytest.approx(1)
    among = find_copies(images, images, groups, groups)
    assert (groups[among.index] != groups).all() and among.correlation.max() < 0.5
    with pytest.raises(TemDataError, match="two micrographs"):
        find_copies(images, images, np.full(6, "a"), np.full(6, "a"))


# comparison and figures


def greys(images):
    return images.reshape(len(images), -1)[:, ::64].astype(float)


@pytest.fixture(scope="module")
def poor():
    """Generated pictures of half the contrast, 20 grey levels too dark, one of them a copy."""
    training = patches(20, 40)
    generated = patches(21, 32, dark=100, darkness=20)
    generated[5] = replace(generated[5], image=symmetric_array(training[3].image, 5))
    return compare_pictures(training, patches(22, 8, scenes=2), generated, (*CLASSES, "none"), greys, progress=False)


def test_a_poor_model_is_told_from_real_patches(poor):
    summary = poor.summary
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["pictures"] == {"training": 40, "validation": 8, "generated": 32} and summary["scenes"] == 4
    assert summary["draws"]["generated"] == [20, 20]
    for name in ("grey", "patch_mean", "inside.dot", "inside.loop", "kid"):
        found = summary["distances"][name]
        assert found["generated"] > 2 * found["patches"]["p95"], name
    assert summary["distances"]["grey"]["micrographs"]["median"] > summary["distances"]["grey"]["patches"]["median"]
    assert "inside.none" not in summary["distances"]
    dot = summary["contrast"]["dot"]["inside"]
    assert dot["real"]["n"] == 40 and dot["interval"][0] < dot["ratio"] < dot["interval"][1] < 0.8
    assert dot["micrographs"][0] < 1 < dot["micrographs"][1]
    assert summary["contrast"]["none"]["inside"]["ratio"] is None
    assert summary["kid"]["low"] > 0


def test_a_copy_is_among_the_closest(poor):
    copies = poor.summary["copies"]
    assert copies["closest"][0] | {"correlation": 1} == {
        "generated": 5,
        "training": 3,
        "symmetry": 5,
        "correlation": 1,
    }
    assert copies["generated"]["max"] > 0.999 > copies["real"]["max"]
    assert np.array_equal(poor.copies[0].generated, poor.copies[0].training)


def test_halves_of_real_patches_are_like_halves_of_real_patches():
    both = patches(23, 80)
    found = compare_pictures(both[::2], both[:8], both[1::2], CLASSES, progress=False).summary
    for name in ("spectrum", "grey", "inside.dot"):
        distance = found["distances"][name]
        assert distance["generated"] < 2 * distance["patches"]["p95"], name
    assert found["kid"] is None and found["memorisation"] is None and "kid" not in found["distances"]


def test_indices_count_the_given_pictures_where_few_are_looked_at():
    training, generated = patches(24, 40), patches(25, 12)
    generated[7] = replace(generated[7], image=training[31].image)
    for seed in range(40):
        found = compare_pictures(training, training[:4], generated, CLASSES, None, seed, 10, progress=False).summary
        assert found["pictures"] == {"training": 10, "validation": 4, "generated": 10}
        best = found["copies"]["closest"][0]
        if best["correlation"] > 0.999:
            assert (best["generated"], best["training"]) == (7, 31)
            return
    pytest.fail("the copy was never drawn")


def test_one_micrograph_has_no_other_to_be_compared_with():
    training = patches(26, 12, scenes=1)
    found = compare_pictures(training, patches(27, 4), patches(28, 6), CLASSES, greys, progress=False).summary
    assert found["distances"]["grey"]["micrographs"] == {"median": None, "p95": None}
    assert found["copies"]["real"] is None and found["memorisation"]["real"] is None
    assert found["contrast"]["dot"]["inside"]["micrographs"] is None


def test_few_pictures_have_no_kernel_distance():
    training = patches(30, 3, scenes=3)
    found = compare_pictures(training, training[:1], training[:2], CLASSES, greys, progress=False).summary
    assert found["kid"] is None and found["draws"]["generated"] == [20, 1]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_pictures_that_cannot_be_compared():
    training = patches(29, 8)
    with pytest.raises(TemDataError, match="0 generated pictures"):
        compare_pictures(training, training, [], CLASSES, progress=False)
    small = replace(training[0], image=training[0].image[:32, :32], shape=(32, 32), defects=())
    with pytest.raises(TemDataError, match="validation pictures, has 32×32 px"):
        compare_pictures(training, [training[0], small], training, CLASSES, progress=False)
    with pytest.raises(TemDataError, match="generated pictures, has 32×32 px; .* 64×64 px"):
        compare_pictures(training, training, [small], CLASSES, progress=False)
    with pytest.raises(TemDataError, match="has no image"):
        compare_pictures(training, training, [replace(training[0], image=None)], CLASSES, progress=False)


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(figures.style.journal_figure.__wrapped__, "__defaults__", ("", 40))


def test_figures_show_what_was_measured(poor, tmp_path, coarse):
    figure = drawings.radial_spectra(tmp_path / "spectra", poor, poor.training.textures, "Spectra")
    real, generated, through = figure.axes[0].lines
    assert real.get_ydata() == pytest.approx(poor.training.textures.spectrum.mean(0))
    assert generated.get_ydata() == pytest.approx(poor.generated.textures.spectrum.mean(0))
    assert through.get_ydata() == pytest.approx(real.get_ydata())
    figure = drawings.grey_histograms(tmp_path / "greys", poor)
    assert [line.get_ydata().sum() for line in figure.axes[0].lines] == pytest.approx([1, 1])
    figure = drawings.contrasts_by_class(tmp_path / "contrasts", poor, (*CLASSES, "none"))
    means = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    expected = [poor.summary["contrast"][c]["inside"][s]["mean"] for s in ("real", "generated") for c in CLASSES]
    assert means == pytest.approx(expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"{name}.{kind}" for name in ("contrasts", "greys", "spectra") for kind in ("png", "svg")
    ]


def test_sheets_show_pictures_in_order(poor, tmp_path, coarse):
    figure = drawings.closest_pairs(tmp_path / "copies", poor.copies[:3])
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 6 and np.array_equal(shown[0], shown[3]) and figure.axes[0].get_title() == "r = 1.00"
    real, generated = poor.training.pictures[:7], poor.generated.pictures[:5]
    figure = drawings.real_and_generated(tmp_path / "sheet", real, generated, columns=2)
    rows = [[axes.images[0].get_array() for axes in figure.axes[i : i + 2]] for i in range(0, 8, 2)]
    for line, pictures in zip(rows, (real[:2], generated[:2], real[2:], generated[2:]), strict=True):
        assert all(np.array_equal(image, p.image) for image, p in zip(line, pictures, strict=False))
    with pytest.raises(TemDataError, match="no pairs"):
        drawings.closest_pairs(tmp_path / "none", [])
    with pytest.raises(TemDataError, match="0 real"):
        drawings.real_and_generated(tmp_path / "none", [], generated)
