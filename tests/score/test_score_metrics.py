"""Metrics against closed forms and independent implementations."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptydesign.errors import InputError
from ptydesign.score import metrics

PIXEL = (0.2, 0.25)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def smooth(rng, shape, width=2.0):
    image = gaussian_filter(rng.normal(size=shape), width, mode="wrap")
    return image / np.std(image)


@pytest.mark.parametrize("width", [0.5, 1.5, 5.0])
def test_ssim_is_wang_formula(rng, width):
    truth = smooth(rng, (70, 97))
    image = truth + 0.3 * rng.normal(size=truth.shape)
    length = np.ptp(truth)

    def mean(values):
        return gaussian_filter(values, width, truncate=3.5)

    mx, my = mean(image), mean(truth)
    vx, vy, cov = mean(image**2) - mx**2, mean(truth**2) - my**2, mean(image * truth) - mx * my
    c1, c2 = (0.01 * length) ** 2, (0.03 * length) ** 2
    whole = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    edge = metrics.ssim_window_px(width) // 2
    expected = np.mean(whole[edge:-edge, edge:-edge])
    assert metrics.ssim(image, truth, width, length) == pytest.approx(expected, abs=1e-10)


def test_ssim_of_equal_images_is_1_and_refuses_a_window_larger_than_the_image(rng):
    image = smooth(rng, (37, 60))
    assert metrics.ssim(image, image, 5.0, 1.0) == pytest.approx(1, abs=1e-12)
    with pytest.raises(InputError, match=r"window of 43 px"):
        metrics.ssim(image, image, 6.0, 1.0)
    with pytest.raises(InputError, match="data_range"):
        metrics.ssim(image, image, 1.5, 0.0)


def test_mse_and_psnr_of_added_noise(rng):
    truth = smooth(rng, (200, 150))
    noise = 0.05 * rng.normal(size=truth.shape)
    assert metrics.mse(truth + noise, truth) == pytest.approx(np.mean(noise**2), rel=1e-12)
    assert metrics.mse(truth + noise, truth) == pytest.approx(0.05**2, rel=0.03)
    expected = 20 * np.log10(3.0) - 10 * np.log10(np.mean(noise**2))
    assert metrics.psnr(truth + noise, truth, 3.0) == pytest.approx(expected, abs=1e-10)
    assert metrics.psnr(truth, truth, 3.0) == np.inf


def test_images_of_different_shapes_are_refused(rng):
    with pytest.raises(InputError, match="one shape"):
        metrics.mse(np.zeros((8, 9)), np.zeros((9, 8)))


@pytest.mark.parametrize("shape", [(64, 64), (50, 81), (33, 128)])
@pytest.mark.parametrize("taper", [0.0, 0.25, 1.0])
def test_frc_of_an_image_with_itself_is_1(rng, shape, taper):
    image = rng.normal(size=shape) + 3.0
    curve = metrics.radial_frc(image, image, PIXEL, taper)
    np.testing.assert_allclose(curve.frc, 1, atol=1e-12)
    assert curve.area(1.0) == pytest.approx(1, abs=1e-12)


def test_frc_keeps_the_sign_and_ignores_contrast_and_constant(rng):
    image = rng.normal(size=(64, 80))
    np.testing.assert_allclose(metrics.radial_frc(image, 5 - 0.2 * image, PIXEL).frc, -1, atol=1e-12)


def test_frc_of_independent_noise_has_no_positive_floor(rng):
    curves = [metrics.radial_frc(*rng.normal(size=(2, 96, 120)), PIXEL) for _ in range(30)]
    frc = np.array([c.frc for c in curves])
    # n/2 independent complex coefficients a ring, fewer for the taper: the modulus would average sqrt(pi/2n) > 0.
    error = np.sqrt(2 / curves[0].count) / np.sqrt(len(frc)) * 1.5
    assert np.all(np.abs(frc.mean(axis=0)) < 5 * error)
    assert abs(frc.mean()) < 0.005
    assert np.mean(frc < 0) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("snr", [0.2071, 1.0, 4.0])
def test_frc_of_halves_is_snr_over_snr_plus_1_and_against_truth_its_root(rng, snr):
    signal = np.sqrt(snr) * rng.normal(size=(320, 256))
    first, second = signal + rng.normal(size=(2, *signal.shape))
    halves = metrics.radial_frc(first, second, PIXEL).area(1.9)
    truth = metrics.radial_frc(first, signal, PIXEL).area(1.9)
    assert halves == pytest.approx(snr / (snr + 1), abs=0.02)
    assert truth == pytest.approx(np.sqrt(snr / (snr + 1)), abs=0.02)


@pytest.mark.parametrize("snr, precision", [(0.1, 0.25), (1.0, 0.07), (30.0, 0.02)])
def test_information_is_that_of_a_gaussian_channel_whatever_contrast_and_pixel(rng, snr, precision):
    signal = np.sqrt(snr) * rng.normal(size=(320, 256))
    image = 0.3 * (signal + rng.normal(size=signal.shape)) + 2.0
    curve = metrics.radial_frc(image, signal, PIXEL)
    assert np.mean(curve.signal_to_noise()[30:]) == pytest.approx(snr, rel=0.1)
    for q_max in (0.6, 1.8):
        assert curve.information(q_max) == pytest.approx(np.pi * q_max**2 / 2 * np.log2(1 + snr), rel=precision)


def test_noise_and_an_inverted_image_tell_nothing(rng):
    truth, noise = rng.normal(size=(2, 256, 200))
    full = metrics.radial_frc(truth, truth, PIXEL).information(1.8)
    assert full == pytest.approx(np.pi * 1.8**2 / 2 * np.log2(1e6), rel=0.02)  # the most that is counted
    assert metrics.radial_frc(noise, truth, PIXEL).information(1.8) < 1e-3 * full
    assert metrics.radial_frc(-truth, truth, PIXEL).information(1.8) == 0
    assert metrics.radial_frc(0 * noise, truth, PIXEL).information(1.8) == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_frc_rings_sit_at_the_right_frequency_on_anisotropic_pixels(axis):
    shape = (60, 96)
    index = np.indices(shape)[axis]
    low, high = (np.cos(2 * np.pi * m * index / shape[axis]) for m in (4, 12))
    curve = metrics.radial_frc(low + high, low - high, PIXEL, taper=0.0)
    q_low, q_high = (m / (shape[axis] * PIXEL[axis]) for m in (4, 12))
    ring_low, ring_high = (np.argmin(np.abs(curve.q - q)) for q in (q_low, q_high))
    assert curve.frc[ring_low] == pytest.approx(1)
    assert curve.frc[ring_high] == pytest.approx(-1)
    others = np.delete(curve.frc, [ring_low, ring_high])
    np.testing.assert_array_equal(others, 0)  # no power, no correlation: not the quotient of two roundings
    assert curve.q[-1] <= curve.nyquist == pytest.approx(2.0)


def test_tapering_stops_common_edges_from_correlating(rng):
    slope = np.linspace(0, 60, 128)[:, None] + np.linspace(0, 60, 110)[None, :]
    first, second = rng.normal(size=(2, 128, 110))
    plain = metrics.radial_frc(first + slope, second + slope, PIXEL, taper=0.0)
    tapered = metrics.radial_frc(first + slope, second + slope, PIXEL, taper=0.5)
    outer = plain.q > 0.6
    assert np.mean(plain.frc[outer]) > 0.15
    assert abs(np.mean(tapered.frc[outer])) < 0.03


def test_bit_thresholds():
    # Without statistics left, the FRC at half a bit is S/(S+1).
    assert metrics.bit_threshold(1e12, 0.2071) == pytest.approx(0.2071 / 1.2071, abs=1e-5)
    assert metrics.bit_threshold(1e12, 0.5) == pytest.approx(1 / 3, abs=1e-5)
    # The published rounded coefficients: (0.2071 + 1.9102/sqrt n)/(1.2071 + 0.9102/sqrt n).
    n = np.array([8.0, 40.0, 400.0])
    half = (0.2071 + 1.9102 / np.sqrt(n)) / (1.2071 + 0.9102 / np.sqrt(n))
    one = (0.5 + 2.4142 / np.sqrt(n)) / (1.5 + 1.4142 / np.sqrt(n))
    curve = metrics.FrcCurve(np.arange(3) + 1.0, np.zeros(3), n, 4.0)
    np.testing.assert_allclose(curve.half_bit, half, rtol=1e-4)
    np.testing.assert_allclose(curve.one_bit, one, rtol=1e-4)


def test_area_and_resolution():
    curve = metrics.FrcCurve(np.array([0.5, 1.0, 1.5, 2.0]), np.array([1.0, 0.8, 0.2, 0.0]), np.full(4, 10), 2.1)
    assert curve.area(1.0) == pytest.approx(0.9)
    assert curve.area(2.1) == pytest.approx(0.5)
    assert curve.resolution_a(np.full(4, 0.5)) == pytest.approx(1 / 1.25)
    assert curve.resolution_a(np.full(4, -0.5)) == pytest.approx(1 / 2.0)
    assert curve.resolution_a(np.full(4, 1.5)) == np.inf
    for q_max in (0.4, 2.2):
        with pytest.raises(InputError, match="band limit"):
            curve.area(q_max)


def test_frc_refuses_nan_and_tiny_images(rng):
    image = rng.normal(size=(16, 16))
    broken = image.copy()
    broken[3, 4] = np.nan
    with pytest.raises(metrics.ScoreFailure, match="second"):
        metrics.radial_frc(image, broken, PIXEL)
    with pytest.raises(InputError, match="4 x 4"):
        metrics.radial_frc(image[:3], image[:3], PIXEL)
