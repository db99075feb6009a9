"""Bias, scatter and signal-to-noise of repeats, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from ptydesign.errors import InputError
from ptydesign.score.spread import period_a, rms_rad, spread

PIXEL, RINGS = (0.5, 0.4), 5  # a frequency of 1/A is the edge of the coarser axis


def test_shrunk_images_with_white_noise():
    """Bias is what was taken off the contrast; scatter and ratio are those of the noise."""
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((96, 128))
    images = 0.7 * truth + 0.5 * rng.standard_normal((40, 96, 128)) + rng.standard_normal((40, 1, 1))
    found = spread(images, truth, PIXEL, RINGS, 1.0)
    np.testing.assert_allclose(found.q_per_a, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(found.scatter_rad[1:], 0.5, rtol=0.03)
    np.testing.assert_allclose(found.bias_rad[1:], 0.3 * found.truth_rad[1:], rtol=0.03)
    np.testing.assert_allclose(found.ssnr[1:], (0.7 * found.truth_rad[1:] / 0.5) ** 2, rtol=0.1)
    assert found.carries_a() == pytest.approx(1.0)


def test_few_repeats_do_not_take_noise_for_bias():
    rng = np.random.default_rng(2)
    images = rng.standard_normal((2, 128, 96))
    found = spread(images, np.zeros((128, 96)), PIXEL[::-1], RINGS, 1.0)
    assert np.all(found.bias_rad[1:] < 0.3)  # of the mean itself: 0.7
    assert np.all(found.ssnr[1:] < 0.1)
    assert found.carries_a() is None


def test_a_signal_that_ends_carries_as_far():
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((120, 128))
    ky, kx = np.fft.fftfreq(120, PIXEL[0]), np.fft.fftfreq(128, PIXEL[1])
    low = np.hypot(ky[:, None], kx[None]) < 0.6
    truth = np.fft.ifft2(np.fft.fft2(truth) * low).real
    images = truth + 0.3 * rng.standard_normal((6, 120, 128))
    assert spread(images, truth, PIXEL, RINGS, 1.0).carries_a() == pytest.approx(1 / 0.6)
    rings = np.array([0.1, 0.3, 0.5])
    assert period_a(rings, np.array([0.0, 4.0, 0.5])) == pytest.approx(1 / 0.4)  # a crystal: nothing at low frequencies
    assert period_a(rings, np.array([0.0, 0.9, 0.5])) is None
    assert period_a(rings, np.array([4.0, 0.1, 1.0])) == pytest.approx(1 / 0.6)  # nor between its reflections


def test_rms_of_white_noise_in_its_band():
    q = (np.arange(50) + 0.5) / 50 * 1.25
    assert rms_rad(q, np.full(50, 0.2), 0.4) == pytest.approx(0.2 * np.sqrt(np.pi / 4), rel=1e-3)  # circle in square


def test_one_image_is_refused():
    with pytest.raises(InputError, match="two or more"):
        spread(np.zeros((1, 8, 8)), np.zeros((8, 8)), PIXEL, RINGS, 1.0)
