from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_fill_holes

from tem_data.core.errors import TemDataError
from tem_data.core.micrograph import Micrograph, count_by_class
from tem_data.simulation.micrographs import FECRAL, LOOKS, DefectKind, _absorb, _Drawn, _label, simulate

NM_PER_PX = 0.957


@pytest.fixture(scope="module")
def micrographs() -> list[Micrograph]:
    return list(simulate(48, 256, NM_PER_PX, seed=1))


def times_labelled(micrograph: Micrograph) -> np.ndarray:
    times = np.zeros(micrograph.shape, int)
    for d in micrograph.defects:
        times[d.y : d.y + d.mask.shape[0], d.x : d.x + d.mask.shape[1]] += d.mask
    return times


def axis_of(mask: np.ndarray) -> tuple[float, float]:
    """Direction of the longer axis in rad and minor/major, from the second moments."""
    y, x = np.nonzero(mask)
    values, vectors = np.linalg.eigh(np.cov(np.stack([x, -y])) + np.eye(2) / 12)
    return np.arctan2(vectors[1, 1], vectors[0, 1]), np.sqrt(values[0] / values[1])


def test_an_item_is_the_same_whatever_the_count():
    (alone,), (first, second) = simulate(1, 128, seed=3), simulate(2, 128, seed=3)
    assert np.array_equal(alone.image, first.image)
    assert [(d.category, d.bbox) for d in alone.defects] == [(d.category, d.bbox) for d in first.defects]
    assert not np.array_equal(first.image, second.image)
    assert not np.array_equal(alone.image, next(simulate(1, 128, seed=4)).image)


def test_is_named_simulated_and_calibrated(micrographs):
    first = micrographs[0]
    assert (first.micrograph_id, first.scene, first.origin) == ("simulated-000", "simulated-000", "builtin")
    assert (first.nm_per_px, first.thickness_nm, first.image.dtype, first.image.shape) == (
        NM_PER_PX,
        100.0,
        np.uint8,
        (256, 256),
    )
    assert {m.specimen for m in micrographs} == {f"simulated-{letter}" for letter in "ABCD"}
    assert len({m.scene for m in micrographs}) == 48


@pytest.mark.parametrize("look, threshold", [("loop", 0.3), ("ring", 0.3), ("dot", 0.3), ("line", 0.15)])
def test_the_mask_is_the_filled_dark_outline(look, threshold):
    kind = replace(FECRAL[0], look=look)
    item = _Drawn(kind, 30.0, 28.0, 36.0, 22.0, 30.0, contrast=1.0, blur=1.5, phase=0.7)
    absorption = np.zeros((200, 200), np.float32)
    _absorb(absorption, item, 0.3)
    defect = _label(item, 200, 0.3)
    labelled = np.zeros((200, 200), bool)
    labelled[defect.y : defect.y + defect.mask.shape[0], defect.x : defect.x + defect.mask.shape[1]] = defect.mask
    dark = binary_fill_holes(absorption > threshold * absorption.max())
    assert (dark & labelled).sum() / (dark | labelled).sum() > 0.85


def test_a_void_is_bright():
    void = DefectKind("void", "void", 20.0, 0.2, (0.9, 1.0), 2e-4, 0.6)
    for micrograph in simulate(4, 256, 1.0, material=(void,)):
        labelled = times_labelled(micrograph) > 0
        assert labelled.any() and micrograph.image[labelled].mean() > micrograph.image[~labelled].mean() + 10


def test_defects_of_each_class_are_darker_than_what_is_around(micrographs):
    darker = {"111": [], "bdot": [], "100": []}
    for micrograph in micrographs:
        times = np.pad(times_labelled(micrograph), 3)
        image = np.pad(micrograph.image, 3).astype(float)
        inside_image = np.pad(np.ones(micrograph.shape, bool), 3)
        for d in micrograph.defects:
            place = np.s_[d.y : d.y + d.mask.shape[0] + 6, d.x : d.x + d.mask.shape[1] + 6]
            mask = np.pad(d.mask, 3)
            around = binary_dilation(mask, iterations=3) & (times[place] == 0) & inside_image[place]
            if around.any():
                darker[d.category].append(1 - image[place][mask].mean() / image[place][around].mean())
    for category, contrasts in darker.items():
        assert 0.1 < np.median(contrasts) < 0.5, category
        assert np.mean(np.array(contrasts) > 0) > 0.97, category


def test_density_shares_and_overdispersion_are_labeller_as(micrographs):
    counts = count_by_class(micrographs)
    total = sum(counts.values())
    # 5.2 defects on 122.5 nm × 122.5 nm; the error of 48 micrographs is about 5 % each for factor and mix
    assert total / (48 * 4) == pytest.approx(5.2, rel=0.15)
    for category, share in {"111": 0.205, "bdot": 0.522, "100": 0.273}.items():
        assert counts[category] / total == pytest.approx(share, abs=0.04)
    each = np.array([len(m.defects) for m in micrographs])
    assert each.var() > 3 * each.mean()


def test_sizes_are_labeller_as(micrographs):
    areas = {"111": [], "bdot": [], "100": []}
    for m in micrographs:
        for d in m.defects:
            areas[d.category].append(np.sqrt(4 / np.pi * d.area) * NM_PER_PX)
    # median of sqrt(major * minor): 17.8 √.61, 7.6 √.96, and lines 13.8 √.33 with rings 13.4 √.99
    for category, median in {"111": 13.9, "bdot": 7.2, "100": 10.3}.items():
        assert np.median(areas[category]) == pytest.approx(median, rel=0.1)


def test_the_same_field_shows_the_same_defects_at_any_scale():
    (coarse,), (fine,) = simulate(1, 256, 1.0, seed=5), simulate(1, 512, 0.5, seed=5)
    assert [d.category for d in coarse.defects] == [d.category for d in fine.defects]
    for c, f in zip(coarse.defects, fine.defects, strict=True):
        assert np.abs(np.array(c.bbox) - np.array(f.bbox) / 2).max() <= 2
        assert c.area == pytest.approx(f.area / 4, rel=0.1, abs=8)
    assert coarse.image.mean() == pytest.approx(fine.image.mean(), rel=0.02)


def test_all_defects_lie_inside_and_overlaps_are_rare(micrographs):
    covered = []
    for m in micrographs:
        times = times_labelled(m)
        for d in m.defects:
            x, y, w, h = d.bbox
            assert x >= 0 and y >= 0 and x + w <= 256 and y + h <= 256 and d.area > 0
            covered.append((times[y : y + h, x : x + w][d.mask] > 1).mean() > 0.1)
    assert 0 < np.mean(covered) < 0.06  # labeller A: 0.03


def test_edge_on_100_lie_along_two_directions_and_111_between_them():
    for micrograph in simulate(2, seed=2):
        fourfold = {"111": [], "100": []}
        for d in micrograph.defects:
            if d.category in fourfold and d.area > 60:
                angle, aspect = axis_of(d.mask)
                if aspect < 0.7:
                    fourfold[d.category].append(np.exp(4j * angle))
        loops, lines = (np.mean(fourfold[name]) for name in ("111", "100"))
        assert abs(loops) > 0.6 and abs(lines) > 0.6
        assert np.cos(np.angle(loops) - np.angle(lines)) < -0.8


def test_a_kind_of_nothing_gives_an_empty_micrograph():
    (micrograph,) = simulate(1, 64, material=(replace(FECRAL[0], density_per_nm2=0.0),))
    assert micrograph.defects == () and micrograph.image.std() > 1


@pytest.mark.parametrize("wrong", [{"count": -1}, {"size_px": 3}, {"nm_per_px": 0.0}, {"seed": -1}])
def test_a_request_out_of_range_is_refused(wrong):
    with pytest.raises(TemDataError, match=next(iter(wrong))):
        simulate(**{"count": 1, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"look": "star"}, {"size_nm": 0}, {"log_sd": -1}, {"aspect": (0.9, 0.5)}, {"aspect": ()}, {"contrast": 0}]
)
def test_a_kind_out_of_range_is_refused(wrong):
    with pytest.raises(TemDataError, match=next(iter(wrong))):
        replace(FECRAL[0], **wrong)


def test_every_look_is_drawn_without_overflow():
    for look in LOOKS:
        absorption = np.zeros((64, 64), np.float32)
        _absorb(absorption, _Drawn(replace(FECRAL[0], look=look), 1.0, 60.0, 3.0, 2.2, 10.0, 0.5, 1.2, 0.2), 1.0)
        assert np.isfinite(absorption).all() and np.abs(absorption).max() > 0.05
