"""Only global phase, ramp and shift are removed, and each is found; contrast stays."""

import numpy as np
import pytest

from ptydesign import config as configuration
from ptydesign.errors import InputError
from ptydesign.grids import resample
from ptydesign.score.align import sample_truth
from ptydesign.score.compare import ScoreConfig, compare, scanned_region
from ptydesign.score.metrics import ScoreFailure
from ptydesign.score.register import register
from ptydesign.types import Truth

TRUTH_PIXEL = (0.125, 0.125)
SHAPE = (330, 290)  # truth: 41.25 x 36.25 A
PIXEL = (0.24, 0.26)  # neither divides the truth's period
CANVAS = (150, 120)
ORIGIN = (2.03, 1.51)
REGION = (7.0, 6.0, 32.0, 27.0)


def gaussians(shape, pixel, centres, weights, width):
    """Periodic sum of Gaussians through their Fourier transform."""
    ky, kx = np.fft.fftfreq(shape[0], pixel[0])[:, None], np.fft.fftfreq(shape[1], pixel[1])[None, :]
    waves = weights * np.exp(-2j * np.pi * ky * centres[:, 0]) @ np.exp(-2j * np.pi * centres[:, 1][:, None] * kx)
    return np.fft.ifft2(waves * np.exp(-2 * np.pi**2 * width**2 * (ky**2 + kx**2))).real


def bilayer_phase(peak=0.8, twist_rad=np.pi / 6, width=0.3):
    """A 30 degree twisted bilayer of hexagonal lattices (3.16 A, two weights), rad, (y, x) of SHAPE."""
    extent = np.array(SHAPE) * TRUTH_PIXEL
    i, j = np.mgrid[-20:20, -20:20].reshape(2, -1)
    first = np.stack([3.16 * i + 1.58 * j, 3.16 * np.sqrt(3) / 2 * j], axis=1)
    second = first + np.array([1.58, 3.16 / 2 / np.sqrt(3)])
    c, s = np.cos(twist_rad), np.sin(twist_rad)
    layers = [(first, 1.0), (second, 0.7)]
    layers += [(points @ np.array([[c, s], [-s, c]]), weight) for points, weight in layers]
    centres = np.concatenate([points for points, _ in layers]) + extent / 2
    weights = np.concatenate([np.full(len(points), weight) for points, weight in layers])
    inside = np.all((centres > 0.5) & (centres < extent - 0.5), axis=1)
    image = gaussians(SHAPE, TRUTH_PIXEL, centres[inside], weights[inside], width)
    return peak * image / np.ptp(image)


PHASE = bilayer_phase()
TRUTH = Truth(PHASE[None].astype(np.float32), TRUTH_PIXEL, np.zeros((1, 2)), np.ones(1))


def seen(phase=PHASE, shift=(0.0, 0.0), pixel=PIXEL, canvas=CANVAS):
    """A phase image, moved by `shift` A, as it falls on the reconstruction's canvas."""
    return sample_truth(phase, TRUTH_PIXEL, (ORIGIN[0] - shift[0], ORIGIN[1] - shift[1]), pixel, canvas)


def ramp(slope_y, slope_x, constant, shape=CANVAS):
    y, x = np.indices(shape)
    return slope_y * y + slope_x * x + constant


def error_phase(seed, size, width=0.35):
    """A periodic, band-limited random error of rms `size` rad on the truth's grid."""
    ky, kx = np.fft.fftfreq(SHAPE[0], 0.125)[:, None], np.fft.fftfreq(SHAPE[1], 0.125)[None, :]
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    image = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-2 * np.pi**2 * width**2 * (ky**2 + kx**2))).real
    return size * image / np.std(image)


def score(phase, region=REGION, origin=ORIGIN, truth=TRUTH, pixel=PIXEL, **config):
    return compare(np.exp(1j * phase), pixel, origin, truth, region, ScoreConfig(**config))


def assert_same(first, second, tolerance, frc=None):
    for width in first.ssim:
        assert second.ssim[width] == pytest.approx(first.ssim[width], abs=tolerance)
    assert second.psnr_db == pytest.approx(first.psnr_db, abs=20 * tolerance)
    assert second.mse_rad2 == pytest.approx(first.mse_rad2, rel=5 * tolerance)
    assert second.contrast == pytest.approx(first.contrast, abs=5 * tolerance)
    assert second.frc_area == pytest.approx(first.frc_area, abs=tolerance if frc is None else frc)


def test_sampling_equals_fourier_cropping_where_the_pixel_divides_the_period():
    shape = (110, 58)  # 3 and 5 truth pixels
    pixel = (3 * 0.125, 5 * 0.125)
    smooth = error_phase(1, 1.0, width=1.2)
    found = sample_truth(smooth, TRUTH_PIXEL, (0, 0), pixel, shape)
    np.testing.assert_allclose(found, resample(smooth, shape), atol=1e-5)
    # and a finer grid passes through the coarse one's values
    finer = sample_truth(PHASE, TRUTH_PIXEL, (0, 0), (0.0625, 0.0625), (660, 580))
    np.testing.assert_allclose(finer[::2, ::2], PHASE, atol=1e-4)


def test_sampling_cuts_at_the_new_nyquist_frequency_and_evaluates_anywhere():
    y, x = (np.arange(n)[:, None] if a == 0 else np.arange(n)[None, :] for a, n in enumerate(SHAPE))
    fy, fx = 20 / 41.25, 30 / 36.25  # 1/A
    image = np.cos(2 * np.pi * (fy * y + fx * x) * 0.125 + 0.4) + 0.3
    start = (-3.17, 50.21)  # outside: the truth is periodic
    fine = sample_truth(image, TRUTH_PIXEL, start, (0.31, 0.29), (40, 33))
    py, px = start[0] + 0.31 * np.arange(40)[:, None], start[1] + 0.29 * np.arange(33)[None, :]
    np.testing.assert_allclose(fine, np.cos(2 * np.pi * (fy * py + fx * px) + 0.4) + 0.3, atol=1e-9)
    coarse = sample_truth(image, TRUTH_PIXEL, start, (0.31, 0.7), (40, 33))  # Nyquist 0.714 < 0.828
    np.testing.assert_allclose(coarse, 0.3, atol=1e-9)


def test_perfect_reconstruction_scores_perfectly():
    result = score(seen())
    assert result.image.shape == result.truth_image.shape == (104, 81)
    assert all(value == pytest.approx(1, abs=1e-6) for value in result.score.ssim.values())
    assert result.score.psnr_db > 90
    assert result.score.frc_area == pytest.approx(1, abs=1e-6)
    assert result.score.contrast == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(result.frc, 1, atol=1e-4)
    assert len(result.frc_q) == len(result.frc)


def test_score_is_kept_with_region_range_widths_and_q_max():
    result = score(seen(), ssim_widths_px=(1.5, 3.0), frc_qmax=1.5)
    kept = result.score
    assert kept.region_a == REGION
    assert kept.pixel_a == PIXEL
    assert kept.frc_qmax == 1.5
    assert set(kept.ssim) == {1.5, 3.0}
    assert np.ptp(result.truth_image) <= kept.data_range < 0.8


def test_data_range_does_not_depend_on_where_pixels_fall():
    y, x = np.indices(SHAPE)
    phase = 0.3 * np.cos(2 * np.pi * 44 * y / SHAPE[0]) + 0.1 * np.cos(2 * np.pi * 29 * x / SHAPE[1])
    truth = Truth(phase[None], TRUTH_PIXEL, np.zeros((1, 2)), np.ones(1))
    result = score(seen(phase), truth=truth)
    assert result.score.data_range == pytest.approx(0.8, rel=0.01)
    moved = compare(np.exp(1j * seen(phase)[1:, 2:]), PIXEL, np.add(ORIGIN, (0.3, 0.45)), truth, REGION)
    assert moved.score.data_range == result.score.data_range


@pytest.mark.parametrize("plane", [(0.0, 0.0, 2.5), (0.02, -0.035, 0.0), (0.9, -1.7, 12.0), (-2.2, 0.4, -1.0)])
def test_invariant_to_phase_and_ramp(plane):
    phase = seen() + error_phase_on_canvas(2, 0.1)
    assert_same(score(phase).score, score(phase + ramp(*plane)).score, 1e-9)


def error_phase_on_canvas(seed, size):
    return size * np.random.default_rng(seed).normal(size=CANVAS)


@pytest.mark.parametrize("shift", [(0.1, -0.05), (0.333, 0.5), (-0.77, 0.21)])
def test_invariant_to_a_wrong_origin(shift):
    """The same pixels, said to lie elsewhere: only the registration's precision remains."""
    phase = seen() + error_phase_on_canvas(3, 0.05)
    # Edges in the middle of pixels, so that no rounding moves them.
    region = (*np.add(ORIGIN, np.multiply(PIXEL, (20.5, 17.5))), *np.add(ORIGIN, np.multiply(PIXEL, (124.5, 98.5))))
    before, after = score(phase, region).score, score(phase, region, np.add(ORIGIN, shift)).score
    assert_same(before, after, 1e-4)
    np.testing.assert_allclose(np.subtract(after.shift_a, before.shift_a), shift, atol=0.01 * 0.26)


@pytest.mark.parametrize("shift", [(0.12, -0.13), (0.4, 0.5), (-0.77, 0.21)])
def test_invariant_to_sub_pixel_shift_and_ramp_together(shift):
    """Reconstruction and its errors moved together and resampled: other pixels of the same image at the edges."""
    wrong = PHASE + error_phase(4, 0.03)
    before, after = score(seen(wrong)), score(seen(wrong, shift) + ramp(0.4, 0.03, 1.0))
    np.testing.assert_allclose(np.subtract(after.score.shift_a, before.score.shift_a), shift, atol=0.02)
    assert 0.3 < before.score.ssim[1.5] < 0.97  # the errors are seen
    assert_same(before.score, after.score, 0.002, frc=0.015)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.31, -0.47), (-0.9, 0.3)])
@pytest.mark.parametrize("contrast", [0.3, 1.0, 2.0])
def test_shift_is_found_to_a_hundredth_of_a_pixel_whatever_ramp_contrast_and_trend(shift, contrast):
    """A specimen with a slope of its own across the region: neither ramp nor shift may take it for theirs."""
    y = np.arange(SHAPE[0])[:, None] / SHAPE[0]
    x = np.arange(SHAPE[1])[None, :] / SHAPE[1]
    phase = PHASE + 0.3 * np.sin(2 * np.pi * y) + 0.2 * np.cos(2 * np.pi * x)
    truth = Truth(phase[None], TRUTH_PIXEL, np.zeros((1, 2)), np.ones(1))
    result = score(contrast * seen(phase, shift) + ramp(0.05, -0.6, 0.0), truth=truth)
    np.testing.assert_allclose(np.divide(result.score.shift_a, PIXEL), np.divide(shift, PIXEL), atol=0.01)
    if contrast == 1:
        np.testing.assert_allclose(result.image, result.truth_image, atol=1e-3)


def test_noisy_shift_reaches_the_statistical_limit_and_no_lattice_vector():
    """Noise of 6 times the specimen's rms per pixel: still on the right lattice site, close to the Cramer-Rao bound."""
    rng = np.random.default_rng(5)
    phase = seen(shift=(0.3, -0.2))
    sigma = 0.6
    result = score(phase)
    gradient = [np.gradient(result.truth_image, p, axis=a) for a, p in enumerate(PIXEL)]
    bound = sigma / np.sqrt([np.sum(g**2) for g in gradient])
    errors = [
        np.subtract(score(phase + sigma * rng.normal(size=CANVAS), frc_qmax=1.0).score.shift_a, (0.3, -0.2))
        for _ in range(25)
    ]
    rms = np.sqrt(np.mean(np.square(errors), axis=0))
    assert np.max(np.abs(errors)) < 6 * bound.max()
    assert np.all(rms < 1.6 * bound)


def test_shift_stays_within_its_bound():
    for shift in [(1.4, 0.0), (0.9, 0.9), (0.0, 3.16)]:
        found = score(seen(shift=shift), max_shift_a=1.0).score.shift_a
        assert np.hypot(*found) <= 1.0 + 1e-9
    assert np.hypot(*score(seen(shift=(1.4, 0.0)), max_shift_a=1.5).score.shift_a) == pytest.approx(1.4, abs=0.003)
    noise = np.random.default_rng(6).normal(size=CANVAS)
    assert np.hypot(*score(noise, max_shift_a=0.5).score.shift_a) <= 0.5 + 1e-9


def test_register_returns_the_displacement_of_the_image():
    """Sign and axis order, with a shift by whole pixels that needs no interpolation."""
    rng = np.random.default_rng(8)
    patch = rng.normal(size=(110, 130))
    image = patch[25 - 2 : 85 - 2, 25 + 3 : 105 + 3]
    assert register(image, patch, (25, 25), (1.0, 1.0), 5.0) == pytest.approx((2, -3), abs=0.01)


@pytest.mark.parametrize("contrast", [0.7, 1.2])
def test_contrast_is_reported_and_not_removed(contrast):
    result = score(contrast * seen() + ramp(0.1, 0.2, 0.3))
    assert result.score.contrast == pytest.approx(contrast, rel=1e-4)
    y, x = np.indices(result.truth_image.shape)
    columns = np.stack([np.ones(y.size), y.ravel(), x.ravel()], axis=1)
    target = result.truth_image.ravel()
    rest = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    expected = (contrast - 1) ** 2 * np.mean(rest**2)
    assert result.score.mse_rad2 == pytest.approx(expected, rel=1e-3)
    assert result.score.psnr_db == pytest.approx(10 * np.log10(result.score.data_range**2 / expected), abs=0.01)
    assert result.score.ssim[1.5] < 0.99
    assert result.score.frc_area == pytest.approx(1, abs=1e-4)


def test_mse_is_the_variance_of_added_noise():
    noise = 0.02 * np.random.default_rng(9).normal(size=CANVAS)
    result = score(seen() + noise)
    assert result.score.mse_rad2 == pytest.approx(0.02**2, rel=0.05)


def test_slices_are_summed_and_do_not_wrap_together():
    """Four slices of up to 3 rad, each with its own phase, slope and amplitude; the sum reaches 8 rad."""
    phase = 10 * PHASE
    parts = [0.1, 0.2, 0.3, 0.4]
    truth = Truth(np.stack([0.25 * phase] * 4), TRUTH_PIXEL, np.zeros((1, 2)), np.ones(4))
    object_ = np.stack([(1 + i) * np.exp(1j * (p * seen(phase) + ramp(0.3 * i, -0.2, i))) for i, p in enumerate(parts)])
    kept = compare(object_, PIXEL, ORIGIN, truth, REGION).score
    assert kept.ssim[1.5] == pytest.approx(1, abs=1e-4)
    assert kept.mse_rad2 < 1e-6


def test_one_slice_of_nearly_two_pi_does_not_wrap():
    truth = Truth(6.5 * PHASE[None], TRUTH_PIXEL, np.zeros((1, 2)), np.ones(1))
    result = score(seen(6.5 * PHASE) + ramp(0.1, -0.1, 2.0), truth=truth)
    assert result.score.data_range > 4.5
    assert np.sqrt(result.score.mse_rad2) < 1e-3


def test_object_outside_the_region_does_not_matter():
    object_ = np.exp(1j * seen())
    expected = compare(object_, PIXEL, ORIGIN, TRUTH, REGION).score
    object_[:10], object_[:, -8:] = np.nan, 0
    assert compare(object_, PIXEL, ORIGIN, TRUTH, REGION).score == expected


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda o: np.where(np.indices(o.shape)[0] == 60, np.nan, o), "not finite"),
        (np.ones_like, "constant"),
        (lambda o: np.exp(1j * ramp(0.2, -0.1, 1)).astype(np.complex64), "constant"),
        (np.zeros_like, "without amplitude"),
        (lambda o: np.abs(o).astype(complex), "constant"),
    ],
)
def test_degenerate_reconstructions_fail_with_a_reason(spoil, message):
    with pytest.raises(ScoreFailure, match=message):
        compare(spoil(np.exp(1j * seen())), PIXEL, ORIGIN, TRUTH, REGION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region_a": (7.0, 6.0, 7.0, 27.0)}, "y0 < y1"),
        ({"region_a": (7.0, np.nan, 9.0, 27.0)}, "x0 < x1"),
        ({"region_a": (7.0, 6.0, 60.0, 27.0)}, "inside the reconstruction"),
        ({"region_a": (0.0, 6.0, 30.0, 27.0)}, "inside the reconstruction"),
        ({"region_a": (7.0, 6.0, 8.0, 27.0)}, "at least 8 px"),
        ({"region_a": (7.0, 6.0, 12.0, 27.0)}, "ssim_widths_px"),
        ({"object_": seen()}, "complex"),
        ({"pixel_a": (0.2, 0.0)}, "positive"),
        ({"origin_a": (1.0, np.inf)}, "finite"),
        ({"truth": Truth(np.ones((1, *SHAPE)), TRUTH_PIXEL, np.zeros((1, 2)), np.ones(1))}, "flat"),
        ({"config": ScoreConfig(frc_qmax=2.0)}, "band limit"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {
        "object_": np.exp(1j * seen()),
        "pixel_a": PIXEL,
        "origin_a": ORIGIN,
        "truth": TRUTH,
        "region_a": REGION,
    }
    compare(**good)
    with pytest.raises(InputError, match=message):
        compare(**{**good, **change})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ssim_width_px": [1.5]}, "ssim_widths_px"),
        ({"ssim_widths_px": []}, "at least one"),
        ({"ssim_widths_px": [1.5, -1]}, "0.3 px"),
        ({"ssim_widths_px": [1.5, 1.5]}, "twice"),
        ({"frc_qmax": 0}, "greater than 0"),
        ({"frc_qmax": float("nan")}, "finite"),
        ({"frc_taper": 1.5}, "at most 1"),
        ({"max_shift_a": -1}, "greater than 0"),
        ({"registration_px": 0}, "greater than 0"),
    ],
)
def test_bad_configuration_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        configuration.build(ScoreConfig, content, "study.yaml")


def test_scanned_region():
    positions = np.array([[3.0, 4.0], [9.0, 4.0], [3.0, 12.0], [9.0, 12.0]])
    assert scanned_region(positions) == (3.0, 4.0, 9.0, 12.0)
    assert scanned_region(positions, 1.5) == (4.5, 5.5, 7.5, 10.5)
    with pytest.raises(InputError, match="inset_a"):
        scanned_region(positions, 3.0)
