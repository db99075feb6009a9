"""How large a window is, on which pixel, and that patterns in it are those of a far larger one."""

from dataclasses import replace
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from specimens import gaussian_atoms

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate import jax_simulator
from ptydesign.simulate.integrate import disc, pattern, pixels_of, probe_spectrum, weights
from ptydesign.simulate.transmission import transmissions
from ptydesign.simulate.window import Window, choose_window, coarser, friendly, needed_extent_a, probe_radius_a
from ptydesign.types import Detector, Experiment, Optics, Potential, Scan
from ptydesign.units import wavelength_a
from ptydesign.waves import aberration_phase

EXPERIMENT = Experiment(
    optics=Optics(80, 0.025, 100.0),
    scan=Scan(1.0, (4.0, 4.0)),
    detector=Detector((24, 40), (0.25, 0.25)),
    dose_e_per_a2=1e4,
)
FINE = (0.125, 0.125)


@pytest.fixture(scope="module")
def specimen() -> Potential:
    return gaussian_atoms((1000, 1000), FINE, volt_a3=150.0, width_a=0.15, density=0.1)


def _difference(a, b) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _frequencies(size):
    return np.fft.fftfreq(size, 1 / size).round().astype(int)


def test_probe_radius_is_the_largest_slope_of_chi():
    optics = Optics(80, 0.025, 120.0, 60.0, 0.7, 3e4, 0.2, 5e6, 2000.0, 0.3, 5e4, 0.8, 6e4, 0.1, 2e8)
    wavelength = wavelength_a(80)
    k = np.linspace(-0.65, 0.65, 1301)
    inner = Grid((1301, 1301), (1 / (1301 * (k[1] - k[0])),) * 2)
    chi = np.fft.fftshift(aberration_phase(inner, wavelength, **optics.aberrations))
    slope = np.hypot(*np.gradient(chi, k[1] - k[0])) / (2 * np.pi)
    frequency = np.fft.fftshift(np.hypot(*inner.frequencies()))
    expected = slope[frequency <= 0.025 / wavelength].max()
    assert probe_radius_a(replace(EXPERIMENT, optics=optics)) == pytest.approx(expected, rel=5e-3)


def test_window_follows_the_rule():
    for defocus in (0.0, 100.0, -300.0, 800.0):
        experiment = replace(EXPERIMENT, optics=replace(EXPERIMENT.optics, defocus_a=defocus))
        window, needed = choose_window(experiment, FINE), needed_extent_a(experiment)
        diffraction = 6 * wavelength_a(80) / 0.025
        assert needed == pytest.approx([2 * 0.025 * abs(defocus) + 8 + max(diffraction, own) for own in (6, 10)])
        for extent, want, pixel, size in zip(
            window.grid.extent_a, needed, window.grid.pixel_a, window.grid.shape, strict=True
        ):
            assert want <= extent <= 1.26 * want
            assert friendly(size) == size
            assert 0.125 <= pixel < 0.25
        for one, ratio in zip(window.grid.pixel_a, window.ratio, strict=True):
            assert one == pytest.approx(0.125 * ratio)
    thick = choose_window(EXPERIMENT, FINE, 200.0)
    assert thick.ratio == (1, 1) == choose_window(EXPERIMENT, FINE, fine=True).ratio
    assert thick.grid.extent_a[0] >= needed_extent_a(EXPERIMENT)[0] + 4 * 0.025 * 200
    supercell = choose_window(EXPERIMENT, FINE, 200.0, supercell=(360, 4096)).grid.shape
    assert supercell == (360, thick.grid.shape[1])


def test_few_sizes_and_quick_ratios():
    sizes = {friendly(n) for n in range(64, 1025)}
    assert all(any(size == m << e for m in (8, 9, 10, 12, 14) for e in range(8)) for size in sizes)
    assert all(n <= friendly(n) <= 1.2 * n + 1 for n in range(64, 1025))
    assert coarser(1.0) == coarser(0.9) == 1
    assert coarser(1.6) == Fraction(8, 5)
    assert all(0.93 * most < coarser(most) <= most for most in np.linspace(1.02, 4, 50))


@pytest.mark.parametrize("size, pixel_a, detector_pixels, detector_pixel_a", [(90, 0.2, 24, 0.5), (64, 0.3, 15, 0.4)])
def test_detector_pixels_are_integrals_between_the_samples(size, pixel_a, detector_pixels, detector_pixel_a):
    """A wave in the middle third of a window, against the mean of its pattern over each pixel, sampled densely."""
    rng = np.random.default_rng(0)
    wave = np.zeros(size, complex)
    inner = slice(size // 3, 2 * size // 3)
    wave[inner] = rng.normal(size=(2, size))[0, inner] + 1j * rng.normal(size=size)[inner]
    fine = np.abs(np.fft.fft(wave)) ** 2
    found = weights(_frequencies(size), size, pixel_a, detector_pixels, detector_pixel_a) @ fine
    window = detector_pixels * detector_pixel_a
    x = np.arange(size) * pixel_a
    for number in (0, 1, 4, -3):
        k = (number + (np.arange(400) + 0.5) / 400 - 0.5) / window
        dense = np.abs(np.exp(-2j * np.pi * k[:, None] * x) @ wave) ** 2
        assert found[number] == pytest.approx(dense.mean() * size * pixel_a / window, rel=1e-4)


@pytest.mark.parametrize("detector", [Detector((24, 40), (0.25, 0.25)), Detector((15, 32), (0.4, 0.3))])
def test_without_a_specimen_a_pattern_is_the_true_disc(detector):
    experiment = replace(EXPERIMENT, detector=detector)
    grid = Grid((120, 160), (0.2, 0.15))
    everything = tuple(_frequencies(size) for size in grid.shape)
    intensity = np.abs(probe_spectrum(grid, experiment.optics)) ** 2
    pixels = pixels_of(experiment, grid, everything, intensity)
    found = pattern(intensity, np.ones(()), pixels)
    ky, kx = (np.fft.fftfreq(n, p) for n, p in zip(detector.pixels, detector.pixel_a, strict=True))
    places = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2)) / detector.grid.extent_a
    inside = [np.hypot(ky[:, None] + y, kx + x) <= 0.025 / wavelength_a(80) for y, x in places]
    expected = np.mean(inside, axis=0)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.03 * expected.max() / expected.sum())
    np.testing.assert_allclose(found, disc(experiment), atol=1e-12)
    in_jax = pattern(jnp.asarray(intensity, jnp.float32)[None], jnp.ones(1), pixels)
    np.testing.assert_allclose(in_jax[0], found, atol=1e-6)


def test_pixels_that_are_points_take_every_mth_frequency_of_a_wave(specimen):
    """Against one wave, transformed by NumPy; and they share all electrons."""
    detector = Detector((24, 40), (0.25, 0.25), point_sampled=True)
    experiment = replace(EXPERIMENT, detector=detector)
    window = choose_window(experiment, FINE)
    multiples = [a / b for a, b in zip(window.grid.extent_a, detector.grid.extent_a, strict=True)]
    assert multiples == [4, 3]
    assert all(a >= b for a, b in zip(window.grid.extent_a, needed_extent_a(experiment), strict=True))
    (found,) = jax_simulator.intensities(specimen, experiment, np.array([[62.5, 63.0]]), window)
    corner = [round(a / 0.125) - n // 2 for a, n in zip((62.5, 63.0), window.grid.shape, strict=True)]
    (whole, _), *_ = transmissions(specimen, 80, window, np.zeros((1, 2)), periodic=False)
    here = np.asarray(whole)[0, corner[0] :, corner[1] :][: window.grid.shape[0], : window.grid.shape[1]]
    probe = np.fft.fftshift(np.fft.ifft2(probe_spectrum(window.grid, experiment.optics)))
    k = np.hypot(*window.grid.frequencies())
    far = np.where(k < 0.95 / (3 * 0.125), np.abs(np.fft.fft2(probe * here)) ** 2, 0)
    rows, columns = (
        np.fft.fftfreq(n, 1 / n).round().astype(int) * int(m) for n, m in zip((24, 40), multiples, strict=True)
    )
    expected = far[np.ix_(rows, columns)]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-3 * found.max())
    assert found.sum() == pytest.approx(1)
    integrated = jax_simulator.intensities(
        specimen, EXPERIMENT, np.array([[62.5, 63.0]]), choose_window(EXPERIMENT, FINE)
    )
    assert _difference(found, integrated[0]) > 0.02


@pytest.mark.parametrize(
    "pixels, semiangle_rad, defocus_a",
    [((24, 32), 0.03, 500.0), ((128, 96), 0.02, -550.0), ((64, 64), 0.04, 0.0)],
)
def test_window_holds_the_probe(specimen, pixels, semiangle_rad, defocus_a):
    """Patterns in the chosen window, on its pixel, are within 0.5 % of those in an odd multiple of the detector's
    window of 70 to 120 A, on the potential's pixel."""
    optics = Optics(80, semiangle_rad, defocus_a)
    experiment = replace(EXPERIMENT, optics=optics, detector=Detector(pixels, (0.25, 0.25)))
    window = choose_window(experiment, FINE)
    assert min(window.ratio) > 1.2
    large = tuple(max(f for f in range(1, 99, 2) if f * n * 0.25 < 116) * 2 * n for n in pixels)
    positions = np.array([[62.3, 63.2]])
    reference = jax_simulator.intensities(specimen, experiment, positions, Window(Grid(large, FINE)))
    found = _difference(jax_simulator.intensities(specimen, experiment, positions, window), reference)
    assert found < 5e-3
    own = Window(Grid((2 * pixels[0], 2 * pixels[1]), FINE))
    too_small = jax_simulator.intensities(specimen, experiment, positions, own)
    assert _difference(too_small, reference) > 1.2 * found


def test_the_coarse_pixel_changes_nothing(specimen):
    """In one slice: the same extent on the potential's pixel and on the coarser one."""
    window = choose_window(EXPERIMENT, FINE)
    shape = tuple(round(float(n * ratio)) for n, ratio in zip(window.grid.shape, window.ratio, strict=True))
    positions = np.array([[62.33, 59.2], [58.0, 61.0]])
    fine = jax_simulator.intensities(specimen, EXPERIMENT, positions, Window(Grid(shape, FINE)))
    coarse = jax_simulator.intensities(specimen, EXPERIMENT, positions, window)
    assert np.prod(window.ratio) > 2
    assert _difference(coarse, fine) < 1e-4


@pytest.mark.parametrize(
    "change, field",
    [
        ({"detector": Detector((24, 41), (0.25, 0.26))}, "detector.pixel_a[x]"),
        ({"detector": Detector((0, 40), (0.25, 0.25))}, "detector.pixels"),
        ({"detector": Detector((24, 40), (0.25, -0.25))}, "detector.pixel_a"),
        ({"detector": Detector((24, 40), (0.25, 0.25), mtf_nyquist=0.0)}, "detector.mtf_nyquist"),
        ({"detector": Detector((24, 40), (0.25, 0.25), background_e_per_px=-1)}, "detector.background_e_per_px"),
        ({"detector": Detector((24, 40), (0.1, 0.1))}, "detector.pixel_a[y]"),
        ({"optics": Optics(80, 0.09)}, "experiment.semiangle"),
        ({"optics": Optics(80, 0.025, 30000.0)}, "experiment"),
    ],
)
def test_impossible_windows_are_refused(change, field):
    with pytest.raises(InputError) as error:
        choose_window(replace(EXPERIMENT, **change), (0.125, 0.125))
    assert error.value.field == field


def test_aperture_must_lie_inside_the_band_limit():
    with pytest.raises(InputError, match="band limit"):
        choose_window(replace(EXPERIMENT, optics=Optics(80, 0.06)), (0.25, 0.25))
