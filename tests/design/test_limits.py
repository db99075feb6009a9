"""Fisher information against a dense matrix, a closed form, and the scatter of maximum-likelihood estimates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ptydesign import waves
from ptydesign.design import limits
from ptydesign.design.limits import Unknowns
from ptydesign.grids import Grid
from ptydesign.units import wavelength_a

LAMBDA = wavelength_a(80)
CANVAS = (15, 18)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def small(
    slices: int = 1, background: float = 0.0, electrons: float = 500.0, seed: int = 0, mtf: float = 1.0, modes: int = 1
):
    """A non-square window on a non-square periodic canvas, fractional positions, a defocused probe."""
    grid = Grid((10, 12), (0.7, 0.65))
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(0, 15, 2.5), np.arange(0, 18, 2.25), indexing="ij")
    positions = np.stack([y.ravel(), x.ravel()], axis=-1) + rng.uniform(-0.3, 0.3, (y.size, 2))
    spectrum = waves.probe_spectrum(grid, LAMBDA, 18e-3, defocus_a=60)
    steps = None
    if slices > 1:
        one = np.asarray(waves.propagator(grid.frequencies(), LAMBDA, 30.0))
        steps = np.repeat(one[None], slices - 1, axis=0)
    ky, kx = grid.frequencies()
    factors = np.stack([np.exp(-2j * np.pi * 0.4 * n * (ky + kx)) / np.sqrt(modes) for n in range(modes)])
    coherence = factors if modes > 1 else None
    imaging = limits.make_imaging(
        grid, positions, electrons, np.abs(spectrum) > 0, background, steps, mtf, np.float64, coherence
    )
    phase = jnp.asarray(0.4 * rng.standard_normal((slices, *CANVAS)))
    return Unknowns(phase, limits.probe_unknowns(spectrum, np.float64)), imaging


def patterns(unknowns: Unknowns, imaging) -> jax.Array:
    """All mean patterns."""
    places = imaging.positions_px, imaging.electrons
    return jax.vmap(lambda *place: limits.expected_counts(unknowns, *place, imaging))(*places)


def dense(unknowns: Unknowns, imaging, probe_known: bool) -> np.ndarray:
    """F as a matrix, from the whole Jacobian."""

    def counts_of(values: Unknowns) -> jax.Array:
        full = values if values.probe is not None else values._replace(probe=unknowns.probe)
        return patterns(full, imaging)

    at = unknowns if not probe_known else unknowns._replace(probe=None)
    jacobian = jax.jit(jax.jacfwd(counts_of))(at)
    count = len(imaging.positions_px) * imaging.aperture.size
    columns = [np.asarray(leaf).reshape(count, -1) for leaf in jax.tree.leaves(jacobian)]
    matrix = np.concatenate(columns, axis=1)
    mean = np.maximum(np.asarray(counts_of(at)).ravel(), limits.DARK * float(imaging.electrons[0]))
    return matrix.T @ (matrix / mean[:, None])


@pytest.mark.parametrize(
    "slices, background, probe_known, mtf, modes",
    [
        (1, 0.0, True, 1.0, 1),
        (2, 0.3, True, 1.0, 1),
        (2, 0.1, False, 1.0, 1),
        (1, 0.1, False, 0.3, 1),
        (2, 0.1, False, 1.0, 3),
    ],
)
def test_product_is_that_of_the_dense_matrix(slices, background, probe_known, mtf, modes):
    unknowns, imaging = small(slices, background, mtf=mtf, modes=modes)
    assert (imaging.mtf is None) == (mtf == 1)
    matrix = dense(unknowns, imaging, probe_known)
    rng = np.random.default_rng(1)
    probe = None if probe_known else jnp.asarray(rng.standard_normal(unknowns.probe.shape))
    vector = Unknowns(jnp.asarray(rng.standard_normal(unknowns.phase.shape)), probe)
    product = limits.fisher_product(unknowns, imaging, vector)
    flat = np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(vector)])
    found = np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(product)])
    np.testing.assert_allclose(found, matrix @ flat, rtol=1e-9, atol=1e-9 * np.abs(found).max())


def test_patterns_of_incoherent_probes_add_up():
    unknowns, imaging = small(2, modes=3)
    _, plain = small(2)
    spectrum = np.asarray(unknowns.probe[0] + 1j * unknowns.probe[1])
    probes = [limits.probe_unknowns(spectrum * np.asarray(one), np.float64) for one in imaging.coherence]
    wanted = sum(patterns(unknowns._replace(probe=probe), plain) for probe in probes)
    np.testing.assert_allclose(patterns(unknowns, imaging), wanted, rtol=1e-9)


def test_information_of_vectors():
    unknowns, imaging = small(2, 0.2)
    matrix = dense(unknowns, imaging, True)
    vectors = np.random.default_rng(2).standard_normal((3, *unknowns.phase.shape))
    found = limits.information(unknowns, imaging, jnp.asarray(vectors))
    flat = vectors.reshape(3, -1)
    np.testing.assert_allclose(found, np.einsum("mi,ij,mj->m", flat, matrix, flat), rtol=1e-9)


@pytest.mark.parametrize("probe_known", [True, False])
def test_gauges_are_invisible(probe_known):
    """A constant is seen by nothing. Ramp and shift need the probe's answer: then F has them in its null space."""
    unknowns, imaging = small(1, 0.1)
    matrix = dense(unknowns, imaging, probe_known)
    values, vectors = np.linalg.eigh(matrix)
    null = vectors[:, values < 1e-9 * values[-1]]
    constant = np.zeros(len(matrix))
    constant[: unknowns.phase.size] = 1
    inside = np.linalg.norm(null.T @ constant) / np.linalg.norm(constant)
    assert inside == pytest.approx(1, abs=1e-6)


def schur(matrix: np.ndarray, size: int) -> np.ndarray:
    """Information of the first `size` unknowns when the others are unknown too."""
    a, b, c = matrix[:size, :size], matrix[:size, size:], matrix[size:, size:]
    return a - b @ np.linalg.pinv(c, rcond=1e-12, hermitian=True) @ b.T


@pytest.mark.parametrize("probe_known", [True, False])
def test_least_variance_is_the_schur_complements(probe_known):
    unknowns, imaging = small(1, 0.2)
    matrix = dense(unknowns, imaging, probe_known)
    object_ = schur(matrix, unknowns.phase.size) if not probe_known else matrix
    inverse = np.linalg.pinv(object_, rcond=1e-10, hermitian=True)
    window = np.outer(np.hanning(CANVAS[0] + 2)[1:-1], np.hanning(CANVAS[1] + 2)[1:-1])
    phase = np.asarray(unknowns.phase)
    for frequency in ((0.1, 0.05), (0.2, -0.15)):
        mode = limits.windowed_mode(phase, window, frequency, 0.3)
        if not probe_known:  # on a periodic canvas a ramp and a shift are no exact gauges: any vector will do
            mode = mode - mode.mean()
        modes = np.stack([mode, np.roll(mode, 1, axis=-1)])  # solved side by side
        (bound, _), _ = limits.least_variance(unknowns, imaging, modes, probe_known, iterations=2000)
        assert bound == pytest.approx(mode.ravel() @ inverse @ mode.ravel(), rel=2e-3)


def least(unknowns: Unknowns, imaging, mode: np.ndarray, probe_known: bool, iterations: int) -> float:
    return float(limits.least_variance(unknowns, imaging, mode[None], probe_known, iterations)[0][0])


def test_unknown_probe_costs_precision_and_dose_gives_it():
    unknowns, imaging = small(1, 0.0)
    window = np.outer(np.hanning(CANVAS[0] + 2)[1:-1], np.hanning(CANVAS[1] + 2)[1:-1])
    mode = limits.windowed_mode(np.asarray(unknowns.phase), window, (0.1, 0.1), 0.0)
    known = least(unknowns, imaging, mode, True, 500)
    unknown = least(unknowns, imaging, mode, False, 500)
    assert unknown > known * 1.01
    more = least(unknowns, imaging._replace(electrons=4 * imaging.electrons), mode, True, 500)
    assert more == pytest.approx(known / 4, rel=1e-3)
    dirty = least(unknowns, imaging._replace(background=jnp.asarray(2.0)), mode, True, 500)
    assert dirty > known * 1.05


def test_filling_positions_count_nothing():
    unknowns, imaging = small(1, 0.0)
    vectors = jnp.asarray(np.random.default_rng(2).standard_normal((2, *unknowns.phase.shape)))
    filled = imaging._replace(
        positions_px=jnp.concatenate([imaging.positions_px, imaging.positions_px[:5]]),
        electrons=jnp.concatenate([imaging.electrons, jnp.zeros(5)]),
    )
    np.testing.assert_allclose(
        limits.information(unknowns, filled, vectors), limits.information(unknowns, imaging, vectors), rtol=1e-12
    )


def test_stopping_early_stays_below():
    unknowns, imaging = small(1, 0.1)
    window = np.outer(np.hanning(CANVAS[0] + 2)[1:-1], np.hanning(CANVAS[1] + 2)[1:-1])
    mode = limits.windowed_mode(np.asarray(unknowns.phase), window, (0.2, 0.1), 0.0)
    bounds = [least(unknowns, imaging, mode, True, n) for n in (2, 5, 20, 500)]
    assert bounds == sorted(bounds)


def lens_area(radius: float, distance: float) -> float:
    """Area that two disks of equal radius share."""
    if distance >= 2 * radius:
        return 0.0
    return 2 * radius**2 * np.arccos(distance / 2 / radius) - distance / 2 * np.sqrt(4 * radius**2 - distance**2)


@pytest.mark.parametrize("step", [10, 18, 28])
def test_weak_phase_in_focus_has_the_closed_form(step):
    """Of a weak phase wave a cos(2 pi q r + shift), an in-focus probe and a background that hides the dark field:
    F = n M (A2 / A) / 2 with M positions, A the aperture's area and A2 that part of the bright-field disk that overlaps
    with one of the two disks moved by q, but not with both (there the two sidebands cancel). From
    dI = 2 Re psi0* (i/2)(A(k-q) e^-it + A(k+q) e^it), (dI)^2/I averaged over the scan; cf. Rodenburg, McCallum &
    Nellist, Ultramicroscopy 48:304 (1993)."""
    size, pixel = 128, 0.2
    grid = Grid((size, size), (pixel, pixel))
    radius = 20.3  # reciprocal pixels
    ky, kx = grid.frequencies()
    disk = np.hypot(ky, kx) * size * pixel < radius  # a hard edge, as in the formula
    spectrum = disk / np.sqrt(disk.sum()) + 0j
    y, x = np.meshgrid(np.arange(0, size, 32), np.arange(0, size, 8), indexing="ij")
    positions = np.stack([y.ravel(), x.ravel()], axis=-1)
    electrons = 1e4
    imaging = limits.make_imaging(grid, positions, electrons, np.abs(spectrum) > 0, 1e-3, precision=np.float64)
    unknowns = Unknowns(jnp.zeros((1, size, size)), limits.probe_unknowns(spectrum, np.float64))
    wave = np.cos(2 * np.pi * step * np.arange(size) / size + 0.2)[None, None, :] * np.ones((1, size, size))
    found = float(limits.information(unknowns, imaging, jnp.asarray(wave[None]))[0])
    # both moved disks and the bright-field disk: the part that all three share is a lens of the outer two, if they meet
    triple = lens_area(radius, 2 * step)
    fraction = 2 * (lens_area(radius, step) - triple) / (np.pi * radius**2)
    assert found == pytest.approx(electrons * len(positions) * fraction / 2, rel=0.04)


@pytest.mark.parametrize("electrons", [200, 2000])
def test_maximum_likelihood_scatters_as_the_bound_says(electrons):
    """Estimates of maximum likelihood from fresh noise, by Fisher scoring from the truth: the variance of combinations
    over draws is that of the bound. Ratio bound / variance: 0.9 to 1.1 within the scatter of 80 draws x 6 modes."""
    unknowns, imaging = small(1, 0.05, electrons)
    matrix = dense(unknowns, imaging, True)
    inverse = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True)
    window = np.outer(np.hanning(CANVAS[0] + 2)[1:-1], np.hanning(CANVAS[1] + 2)[1:-1])
    phase = np.asarray(unknowns.phase)
    modes = np.stack(
        [
            limits.windowed_mode(phase, window, f, s).ravel()
            for f in ((0.07, 0), (0, 0.1), (0.15, 0.1))
            for s in (0, 1.6)
        ]
    )

    @jax.jit
    def model(phase):
        return patterns(unknowns._replace(phase=phase), imaging)

    @jax.jit
    def gradient(phase, counts):
        return jax.grad(lambda p: jnp.sum(model(p) - counts * jnp.log(model(p))))(phase)

    rng = np.random.default_rng(5)
    mean = np.asarray(model(unknowns.phase))
    found = []
    for _ in range(80):
        counts = jnp.asarray(rng.poisson(mean).astype(float))
        estimate = unknowns.phase
        for _ in range(8):
            step = inverse @ np.asarray(gradient(estimate, counts)).ravel()
            estimate = estimate - jnp.asarray(step.reshape(estimate.shape))
        found.append(modes @ np.asarray(estimate - unknowns.phase).ravel())
    variance = np.mean(np.square(found), axis=0)
    bound = np.einsum("mi,ij,mj->m", modes, inverse, modes)
    ratio = float(np.mean(bound / variance))
    assert ratio == pytest.approx({200: 0.95, 2000: 1.0}[electrons], abs=0.13), ratio
