"""Noise of a known spectrum, fitted and drawn again."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_data.diffusion import grain as grain_module
from tem_data.diffusion.grain import Grain, fit_grain, frequency_bands, in_bands
from tem_data.diffusion.pipeline import _noise

SIDE, FACTOR, N = 64, 8, 48
EDGES = np.array([0.04, 0.0625, 0.09, 0.125, 0.18, 0.25, 0.35, 0.5])


def coloured(images: np.ndarray, power) -> np.ndarray:
    """White `images` with the power spectrum `power(fy, fx)`."""
    fy, fx = np.fft.fftfreq(images.shape[1])[:, None], np.fft.fftfreq(images.shape[2])[None]
    return np.fft.ifft2(np.fft.fft2(images) * np.sqrt(power(fy, fx))).real


def spectrum(images: np.ndarray) -> np.ndarray:
    """Mean power in the rings between EDGES."""
    images = np.asarray(images, float)
    power = (np.abs(np.fft.fft2(images)) ** 2).mean(0) / images[0].size
    radius = np.hypot(np.fft.fftfreq(images.shape[1])[:, None], np.fft.fftfreq(images.shape[2])[None])
    ring = np.digitize(radius, EDGES)
    return np.array([power[ring == k].mean() for k in range(1, len(EDGES))])


def fitted(residuals: np.ndarray, latents: torch.Tensor | None = None) -> tuple[Grain, torch.Tensor]:
    latents = torch.randn(len(residuals), 2, SIDE // FACTOR, SIDE // FACTOR) if latents is None else latents
    return fit_grain(latents, residuals.astype(np.float32), FACTOR, 0), latents


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(grain_module, "STEPS", 60)
    torch.manual_seed(0)


def white(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 4, (N, SIDE, SIDE))


def falling(fy: np.ndarray, fx: np.ndarray) -> np.ndarray:
    return 1 / (1 + (np.hypot(fy, fx) / 0.1) ** 2)


@pytest.mark.parametrize("power", [lambda fy, fx: 1 + 0 * (fy + fx), falling], ids=["white", "falling"])
def test_drawn_noise_has_the_spectrum_of_the_residuals(power):
    """Within 20 % in every ring: half-octave windows smear a spectrum that falls as fast as this one by up to 13 %."""
    residuals = coloured(white(), power)
    grain, latents = fitted(residuals)
    drawn = grain.draw(latents, range(N)).numpy()
    assert drawn.shape == residuals.shape
    np.testing.assert_allclose(spectrum(drawn) / spectrum(residuals), 1, atol=0.2)
    assert drawn.var() == pytest.approx(residuals.var(), rel=0.1)


def test_small_pictures_without_the_lowest_frequencies_have_finite_grain(monkeypatch):
    monkeypatch.setattr(grain_module, "STEPS", 400)
    residuals = white()[:16, :32, :32].astype(np.float32)
    latents = torch.randn(16, 2, 4, 4)
    drawn = fit_grain(latents, residuals, FACTOR, 0).draw(latents, range(16)).numpy()
    assert drawn.var() == pytest.approx(residuals.var(), rel=0.2)


def test_scan_lines_run_one_way_in_a_picture():
    """Half of the training patches have their lines along columns, being turned, and so have half of those drawn."""
    lines = np.random.default_rng(1).normal(0, 5, (N, SIDE, 1)) + white()
    lines[::2] = lines[::2].transpose(0, 2, 1)
    grain, latents = fitted(lines)
    drawn = grain.draw(latents, range(N)).numpy()
    np.testing.assert_allclose(spectrum(drawn) / spectrum(lines), 1, atol=0.35)

    def along_and_across(images: np.ndarray) -> np.ndarray:
        return np.log([np.diff(image, axis=0).var() / np.diff(image, axis=1).var() for image in images])

    real, ours = along_and_across(lines), along_and_across(drawn)
    assert np.abs(along_and_across(white())).mean() < 0.1 < np.abs(real).min()
    assert np.abs(ours).mean() == pytest.approx(np.abs(real).mean(), rel=0.2)
    assert 0.25 < (ours > 0).mean() < 0.75


def test_variance_follows_the_latents():
    """Deviation 2 where the first latent channel is -1, 8 where it is 1, on halves of each picture."""
    latents = torch.zeros(N, 2, SIDE // FACTOR, SIDE // FACTOR)
    latents[:, 0, :, :4], latents[:, 0, :, 4:] = -1, 1
    latents[::2] = latents[::2].flip(3)
    deviation = 2.0 * 4.0 ** ((latents[:, 0].numpy() + 1) / 2)
    residuals = white() / 4 * deviation.repeat(FACTOR, 1).repeat(FACTOR, 2)
    grain, _ = fitted(residuals, latents)
    drawn = grain.draw(latents, range(N)).numpy()[1::2]
    assert drawn[:, :, 8:24].std() == pytest.approx(2, rel=0.25)
    assert drawn[:, :, 40:56].std() == pytest.approx(8, rel=0.1)


def untrained() -> Grain:
    torch.manual_seed(1)
    return Grain(2, FACTOR).eval()


def test_an_item_follows_from_its_seed_alone():
    grain, latents = untrained(), torch.randn(4, 2, 8, 8)
    together = grain.draw(latents, [3, 4, 5, 2**32 - 1])
    torch.testing.assert_close(grain.draw(latents[2:3], [5])[0], together[2], atol=1e-5, rtol=0)
    same = grain.draw(latents[:1].expand(2, -1, -1, -1), [3, 4])
    assert abs(np.corrcoef(same.flatten(1).numpy())[0, 1]) < 0.1


def test_grain_is_independent_of_the_noise_that_starts_the_diffusion(monkeypatch):
    noises = []
    monkeypatch.setattr(grain_module, "in_bands", lambda white, windows: noises.append(white) or white)
    untrained().draw(torch.zeros(1, 2, 8, 8), [3])
    start = _noise([3], (2, 8, 8)).flatten()
    assert abs(np.corrcoef(start, noises[0].flatten()[: len(start)])[0, 1]) < 0.3


def test_every_precision_draws():
    grain, latents = untrained(), torch.randn(1, 2, 8, 8)
    single = grain.draw(latents, [0])
    half = grain.to(torch.bfloat16).draw(latents, [0])
    assert half.dtype == torch.float32
    assert (half - single).abs().mean() < 0.02 * single.std()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9))
def test_squares_of_the_windows_sum_to_one_above_the_lowest(height, width, bands):
    windows = frequency_bands(8 * height, 8 * width, bands)
    assert windows.shape == (4 * bands, 8 * height, 8 * width)
    radius = torch.hypot(torch.fft.fftfreq(8 * height)[:, None], torch.fft.fftfreq(8 * width)[None])
    total = windows.square().sum(0)
    above = radius >= 0.5 * 2 ** (-(bands - 1) / 2)
    torch.testing.assert_close(total[above], torch.ones(int(above.sum())), atol=1e-5, rtol=0)
    assert total.max() < 1 + 1e-5 and total[0, 0] == 0


@pytest.mark.parametrize("power_of_two", [3, 4, 5, 8])
def test_small_pictures_get_no_more_noise_than_large_ones(power_of_two):
    """All the noise in the three lowest bands, which pictures of 8 px have no frequencies of."""
    side = 2**power_of_two
    grain = untrained()
    with torch.no_grad():
        grain.network[-1].weight.zero_()
        grain.network[-1].bias.copy_(torch.tensor([-20.0] * 24 + [0.0] * 12))
    drawn = grain.draw(torch.zeros(1, 2, side // FACTOR, side // FACTOR), [0])[0]
    assert torch.isfinite(drawn).all() and drawn.shape == (side, side)
    assert drawn.diff().var() < 1  # white noise of this variance has 12


def test_filtering_keeps_what_lies_in_the_window():
    wave = torch.cos(torch.arange(32.0) * 2 * torch.pi / 4).expand(1, 32, 32)  # 0.25 cycles a px along x
    rows, columns, *rest = (in_bands(wave, window[None]) for window in frequency_bands(32, 32, 4)[8:12])
    torch.testing.assert_close(columns, wave, atol=1e-4, rtol=0)  # it stays the same along each column
    assert all(filtered.abs().max() < 1e-4 for filtered in (rows, *rest))
