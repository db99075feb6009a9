"""Each piece of `waves` against abTEM, on non-square grids with different pixels along y and x."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ptydesign import waves
from ptydesign.grids import Grid
from ptydesign.units import interaction_parameter, wavelength_a

abtem = pytest.importorskip("abtem")

GRID = Grid((60, 98), (0.2, 0.15))
ENERGY = 80e3
WAVELENGTH = wavelength_a(80)
ABERRATIONS = {
    "defocus_a": 150.0,
    "astigmatism_a": 60.0,
    "astigmatism_angle_rad": 0.4,
    "coma_a": 3e4,
    "coma_angle_rad": 1.1,
    "cs_a": 4e6,
    "trefoil_a": 800.0,
    "trefoil_angle_rad": 0.3,
    "star_a": 2e4,
    "star_angle_rad": 0.9,
    "fourfold_a": 3e4,
    "fourfold_angle_rad": 0.2,
    "c5_a": 5e7,
}
THEIRS = {"trefoil": "23", "star": "32", "fourfold": "34", "c5": "50"}  # Krivanek's indices


@pytest.fixture(autouse=True)
def _precise():
    settings = {"precision": "float64", "fft": "numpy", "device": "cpu", "diagnostics.progress_bar": False}
    with abtem.config.set(settings):
        yield


def _on_grid() -> dict:
    return {"energy": ENERGY, "extent": GRID.extent_a[::-1], "gpts": GRID.shape[::-1]}


@pytest.mark.parametrize("voltage_kv", [30, 80, 200, 300])
def test_constants(voltage_kv):
    from abtem.core.energy import energy2sigma, energy2wavelength

    assert wavelength_a(voltage_kv) == pytest.approx(energy2wavelength(voltage_kv * 1e3), rel=1e-7)
    assert interaction_parameter(voltage_kv) == pytest.approx(energy2sigma(voltage_kv * 1e3), rel=1e-7)


def test_aperture_is_the_root_of_abtems_soft_aperture():
    theirs = abtem.transfer.Aperture(semiangle_cutoff=25.0, soft=True, **_on_grid())._evaluate_kernel().T
    ours = waves.aperture(GRID, WAVELENGTH, 0.025)
    assert np.sum((ours > 0) & (ours < 1)) > 0
    np.testing.assert_allclose(ours**2, theirs, atol=1e-6)


@pytest.mark.parametrize("shape, pixel_a", [((60, 98), (0.2, 0.15)), ((200, 151), (0.05, 0.06))])
def test_aperture_passes_the_area_of_a_sharp_disc(shape, pixel_a):
    grid = Grid(shape, pixel_a)
    area = np.sum(waves.aperture(grid, WAVELENGTH, 0.03) ** 2) * np.prod(grid.reciprocal_pixel)
    assert area == pytest.approx(np.pi * (0.03 / WAVELENGTH) ** 2, rel=0.01)


@pytest.mark.parametrize("kept", [*ABERRATIONS, "all"])
def test_aberrations(kept):
    chosen = {name: value for name, value in ABERRATIONS.items() if kept in ("all", name) or name.startswith(kept[:4])}
    coefficients = {
        "C10": -chosen.get("defocus_a", 0.0),
        "C12": chosen.get("astigmatism_a", 0.0),
        "phi12": chosen.get("astigmatism_angle_rad", 0.0),
        "C21": chosen.get("coma_a", 0.0),
        "phi21": chosen.get("coma_angle_rad", 0.0),
        "C30": chosen.get("cs_a", 0.0),
    }
    coefficients |= {f"C{index}": chosen.get(f"{name}_a", 0.0) for name, index in THEIRS.items()}
    coefficients |= {f"phi{THEIRS[name]}": chosen.get(f"{name}_angle_rad", 0.0) for name, _, m in waves.HIGHER if m}
    theirs = abtem.transfer.Aberrations(aberration_coefficients=coefficients, **_on_grid())._evaluate_kernel().T
    ours = np.exp(-1j * waves.aberration_phase(GRID, WAVELENGTH, **chosen))
    within = WAVELENGTH * np.hypot(*GRID.frequencies()) < 0.03
    assert np.ptp(np.angle(ours[within])) > 0.1
    np.testing.assert_allclose(ours[within], theirs[within], atol=1e-5)


def test_probe_and_its_shift():
    position = (2.31, 9.77)
    few = {name: value for name, value in ABERRATIONS.items() if name.partition("_")[0] not in THEIRS}
    spectrum = waves.probe_spectrum(GRID, WAVELENGTH, 0.025, **few)
    assert np.sum(np.abs(spectrum) ** 2) == pytest.approx(1)
    with jax.enable_x64(True):
        shifted = spectrum * np.asarray(waves.shift_phase(GRID, np.array(position)))
    ours = np.fft.ifft2(shifted, norm="ortho")
    probe = abtem.Probe(
        semiangle_cutoff=25.0,
        soft=True,
        defocus=150.0,
        astigmatism=60.0,
        astigmatism_angle=0.4,
        coma=3e4,
        coma_angle=1.1,
        Cs=4e6,
        **_on_grid(),
    )
    theirs = probe.build(scan=abtem.CustomScan(np.array([position[::-1]])), lazy=False).array.reshape(GRID.shape[::-1])
    # Their aperture's edge is soft in amplitude, ours in intensity: a few percent of a probe on this coarse grid.
    overlap = np.abs(np.vdot(ours, theirs.T)) / np.linalg.norm(ours) / np.linalg.norm(theirs)
    assert overlap > 0.995
    y, x = np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij")
    peak = np.unravel_index(np.argmax(np.abs(theirs.T)), GRID.shape)
    assert (y[peak], x[peak]) == np.unravel_index(np.argmax(np.abs(ours)), GRID.shape)


def test_centre_spectrum_puts_the_probe_at_the_centre_pixel():
    wave = waves.centre_spectrum(GRID, waves.probe_spectrum(GRID, WAVELENGTH, 0.025))
    assert np.unravel_index(np.argmax(np.abs(wave)), GRID.shape) == (30, 49)
    assert np.sum(np.abs(wave) ** 2) == pytest.approx(1)


@pytest.mark.parametrize("grid", [GRID, Grid((64, 64), (0.125, 0.125)), Grid((75, 40), (0.1, 0.2))])
def test_band_limit(grid):
    from abtem.antialias import antialias_aperture

    theirs = antialias_aperture(grid.shape[::-1], grid.pixel_a[::-1], np).T
    np.testing.assert_allclose(waves.band_limit(grid), theirs, atol=2e-5)  # theirs ends at 0.666666


@pytest.mark.parametrize("tilt_mrad", [(0.0, 0.0), (12.0, -5.0)])
def test_propagator(tilt_mrad):
    from abtem.multislice import _apply_tilt_to_fresnel_propagator_array, _fresnel_propagator_array

    thickness = 17.0
    theirs = _fresnel_propagator_array(thickness, GRID.shape[::-1], GRID.pixel_a[::-1], ENERGY, "cpu")
    # abTEM tilts the beam (axes x, y), ours tilts the specimen: opposite signs.
    beam_tilt = (-tilt_mrad[1], -tilt_mrad[0])
    theirs = _apply_tilt_to_fresnel_propagator_array(theirs, GRID.pixel_a[::-1], thickness, beam_tilt).T
    with jax.enable_x64(True):
        ours = waves.propagator(GRID.frequencies(), WAVELENGTH, thickness, [t * 1e-3 for t in tilt_mrad])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_propagator_undoes_underfocus():
    """Underfocus means that the crossover lies behind the specimen: propagating by the defocus focuses the probe."""
    spectrum = waves.probe_spectrum(GRID, WAVELENGTH, 0.025, defocus_a=80.0)
    focused = waves.probe_spectrum(GRID, WAVELENGTH, 0.025)
    moved = spectrum * np.asarray(waves.propagator(GRID.frequencies(), WAVELENGTH, 80.0))
    np.testing.assert_allclose(moved, focused, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 3])
def test_multislice_is_the_written_out_product(steps):
    rng = np.random.default_rng(0)
    shape = (6, 8)

    def draw(*lead):
        return rng.normal(size=(*lead, *shape)) + 1j * rng.normal(size=(*lead, *shape))

    wave, transmission, propagators = draw(2), draw(3), draw(steps)
    expected = wave
    for index in range(3):
        expected = expected * transmission[index]
        if index < steps:
            expected = np.fft.ifft2(np.fft.fft2(expected) * propagators[index])
    result = waves.multislice(jnp.asarray(wave), jnp.asarray(transmission), jnp.asarray(propagators))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)
