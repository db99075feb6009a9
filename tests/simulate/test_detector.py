import math
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from specimens import gaussian_atoms

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate import jax_simulator
from ptydesign.simulate.coherence import (
    focal_points,
    gauss_hermite,
    incoherent_probes,
    phases_rad,
    probe_count,
    source_points,
)
from ptydesign.simulate.detector import (
    FACTORS,
    Window,
    apply_mtf,
    choose_window,
    integrate,
    make_window,
    needed_extent_a,
    probe_radius_a,
    readout,
)
from ptydesign.types import Detector, Experiment, Optics, Scan
from ptydesign.units import wavelength_a
from ptydesign.waves import aberration_phase

EXPERIMENT = Experiment(
    optics=Optics(80, 0.025, 100.0),
    scan=Scan(1.0, (4.0, 4.0)),
    detector=Detector((24, 40), (0.25, 0.25)),
    dose_e_per_a2=1e4,
)


@pytest.fixture(scope="module")
def large_potential():
    return gaussian_atoms((768, 768), (0.25, 0.25), volt_a3=150.0, width_a=0.15, density=0.1)


def _by_hand(fine, factor, pixels):
    """Each fine pixel put into detector pixels one by one, by the area that lies in them."""
    counts = np.zeros(pixels)
    for place in np.ndindex(fine.shape):
        shares = [{}, {}]
        for axis in (0, 1):
            size = fine.shape[axis]
            frequency = (place[axis] + size // 2) % size - size // 2
            low, high = frequency - 0.5, frequency + 0.5
            for pixel in range(-(pixels[axis] // 2) - 1, pixels[axis] // 2 + 2):
                box = (pixel - 0.5) * factor[axis], (pixel + 0.5) * factor[axis]
                overlap = min(high, box[1]) - max(low, box[0])
                on_detector = -(pixels[axis] // 2) <= pixel < (pixels[axis] + 1) // 2
                if overlap > 0 and on_detector:
                    shares[axis][pixel] = overlap
        for y, share_y in shares[0].items():
            for x, share_x in shares[1].items():
                counts[y, x] += share_y * share_x * fine[place]
    return counts


@pytest.mark.parametrize("factor", [(1, 1), (3, 5), (2, 3), (4, 2)])
@pytest.mark.parametrize("pixels", [(6, 8), (5, 7)])
def test_integration_is_the_sum_by_hand(factor, pixels):
    detector = Detector(pixels, (0.2, 0.2))
    shape = (pixels[0] * factor[0] * 2, pixels[1] * factor[1] * 2)
    window = Window(factor, (2.0, 2.0), Grid(shape, (0.1, 0.1)))
    fine = np.random.default_rng(0).uniform(size=shape)
    result = integrate(fine, window, detector)
    np.testing.assert_allclose(result, _by_hand(fine, factor, pixels), rtol=1e-12)
    np.testing.assert_allclose(integrate(jnp.asarray(fine), window, detector), result, rtol=1e-5)
    np.testing.assert_allclose(integrate(np.stack([fine, 2 * fine]), window, detector)[1], 2 * result)


@pytest.mark.parametrize("factor", [(2, 3), (4, 5)])
def test_integration_conserves_counts_and_keeps_zero_frequency(factor):
    detector = Detector((6, 8), (0.2, 0.2))
    window = Window(factor, (2.0, 2.0), Grid((12 * factor[0], 16 * factor[1]), (0.1, 0.1)))
    fine = np.zeros(window.grid.shape)
    fine[0, 0] = 5.0
    result = integrate(fine, window, detector)
    assert result[0, 0] == 5.0 == result.sum()
    fine[: factor[0] + 1, : factor[1] + 1] = 1.0
    assert integrate(fine, window, detector).sum() == pytest.approx(fine.sum())


def test_probe_radius_is_the_largest_slope_of_chi():
    optics = Optics(80, 0.025, 120.0, 60.0, 0.7, 3e4, 0.2, 5e6)
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
        window = choose_window(experiment, (0.125, 0.125))
        needed = needed_extent_a(experiment)
        assert needed == pytest.approx(2 * (0.025 * abs(defocus) + 3 * wavelength_a(80) / 0.025 + 4))
        for factor, own, extent in zip(
            window.factor, experiment.detector.grid.extent_a, window.grid.extent_a, strict=True
        ):
            assert extent == pytest.approx(factor * own)
            assert extent >= needed
            assert factor == FACTORS[0] or FACTORS[FACTORS.index(factor) - 1] * own < needed
    assert window.oversample == (2.0, 2.0)
    assert window.factor[0] > window.factor[1]  # fewer detector pixels along y


@pytest.mark.parametrize(
    "pixels, semiangle_rad, defocus_a",
    [((24, 32), 0.03, 500.0), ((48, 32), 0.02, -550.0), ((64, 64), 0.03, 1000.0), ((32, 48), 0.01, 0.0)],
)
def test_window_holds_the_probe(large_potential, pixels, semiangle_rad, defocus_a):
    """Patterns in the chosen window differ by less than 1 % from those in a window of 150-190 A."""
    optics = Optics(80, semiangle_rad, defocus_a)
    experiment = replace(EXPERIMENT, optics=optics, detector=Detector(pixels, (0.25, 0.25)))
    window = choose_window(experiment, (0.25, 0.25))
    largest = tuple(max(f for f in range(3, 33, 2) if f * n * 0.25 < 190) for n in pixels)
    positions = np.array([[96.3, 95.2], [96.0, 96.0], [94.1, 96.4]])

    def patterns(window):
        return jax_simulator.intensities(large_potential, experiment, positions, window)

    reference = patterns(make_window(experiment, (0.25, 0.25), largest))
    norm = np.linalg.norm(reference)
    assert np.linalg.norm(patterns(window) - reference) < 0.01 * norm
    own = patterns(make_window(experiment, (0.25, 0.25), (1, 1)))
    assert np.linalg.norm(own - reference) > 0.01 * norm  # the detector's own window is not enough


def test_mtf_blurs_and_conserves():
    detector = Detector((12, 20), (0.25, 0.25), mtf_nyquist=0.4)
    point = np.zeros((2, 12, 20))
    point[0, 0, 0] = point[1, 3, 5] = 10.0
    blurred = apply_mtf(point, detector)
    assert blurred.min() >= 0
    np.testing.assert_allclose(blurred.sum(axis=(1, 2)), 10.0)
    np.testing.assert_allclose(blurred[1], np.roll(blurred[0], (3, 5), (0, 1)), atol=1e-12)
    transfer = np.fft.fft2(blurred[0]) / 10
    assert transfer[6, 0].real == pytest.approx(0.4)
    assert transfer[0, 10].real == pytest.approx(0.4)
    assert transfer[6, 10].real == pytest.approx(0.16)
    assert apply_mtf(point, replace(detector, mtf_nyquist=1.0)) is point


def test_readout_is_poisson():
    mean = np.full((4000, 3, 4), 0.02)
    counts = readout(mean, 250.0, 1.5, np.random.default_rng(3))
    assert counts.dtype == np.float32
    assert np.all(counts == np.round(counts))
    assert counts.mean() == pytest.approx(6.5, abs=4 * math.sqrt(6.5 / counts.size))
    assert counts.var() == pytest.approx(6.5, rel=0.05)
    np.testing.assert_array_equal(counts, readout(mean, 250.0, 1.5, np.random.default_rng(3)))


@pytest.mark.parametrize("highest", [0.0, 0.2, 1.0, 2.5, 4.0])
def test_quadrature_is_a_normal_mean(highest):
    nodes, weights = gauss_hermite(highest, "source_size_a", 1.0)
    assert len(nodes) % 2
    assert weights.sum() == pytest.approx(1)
    for frequency in np.linspace(0, highest, 7):
        assert np.cos(frequency * nodes) @ weights == pytest.approx(math.exp(-(frequency**2) / 2), abs=0.01)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"detector": Detector((0, 40), (0.25, 0.25))}, "detector.pixels"),
        ({"detector": Detector((24, 40), (0.25, -0.25))}, "detector.pixel_a"),
        ({"detector": Detector((24, 40), (0.25, 0.25), mtf_nyquist=0.0)}, "detector.mtf_nyquist"),
        ({"detector": Detector((24, 40), (0.25, 0.25), background_e_per_px=-1)}, "detector.background_e_per_px"),
        ({"detector": Detector((24, 41), (0.25, 0.26))}, "detector.pixel_a[x]"),
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


def test_too_much_focal_spread_is_refused():
    with pytest.raises(InputError, match="quadrature"):
        gauss_hermite(60.0, "focal_spread_a", 1000.0)


@pytest.mark.parametrize("source_a, spread_a, most", [(0.0, 0.0, 1), (0.2, 0.0, 9), (0.0, 60.0, 6), (0.2, 60.0, 30)])
def test_few_incoherent_probes_have_the_mutual_coherence_of_source_and_foci(source_a, spread_a, most):
    """Against the Gaussians' own: exp(-(2 pi s)^2 |q - q'|^2 / 2) exp(-(pi lambda d)^2 (q^2 - q'^2)^2 / 2)."""
    experiment = replace(EXPERIMENT, source_size_a=source_a, focal_spread_a=spread_a)
    source, focal = phases_rad(experiment)
    axis = np.linspace(-1, 1, 17)
    angles = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
    angles = angles[:, np.hypot(*angles) <= 1]
    spectrum = np.exp(3j * (angles**2).sum(axis=0)) / math.sqrt(angles.shape[1])
    probes = incoherent_probes(spectrum, angles, experiment)
    assert len(probes) == probe_count(experiment) <= most
    assert len(probes) <= len(source_points(experiment)[1]) * len(focal_points(experiment)[1])
    assert np.sum(np.abs(probes) ** 2) == pytest.approx(1, rel=1e-9)
    apart = ((angles[:, :, None] - angles[:, None]) ** 2).sum(axis=0)
    squares = (angles**2).sum(axis=0)
    exact = np.exp(-((source / 2) ** 2) * apart / 2 - focal**2 * (squares[:, None] - squares) ** 2 / 2)
    exact = exact * np.outer(spectrum, spectrum.conj())
    found = np.einsum("mp,mq->pq", probes, probes.conj())
    assert np.linalg.norm(found - exact) < 0.01 * np.linalg.norm(exact)
