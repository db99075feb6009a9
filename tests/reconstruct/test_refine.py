"""Refined positions, intensity factors, tilt and thickness: derivatives, recovery, and what must not change."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.mtf import mtf
from ptydesign.reconstruct import fisher, forward, propagation, refine, refinements
from ptydesign.reconstruct.context import Context, Group, Options
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import one_sweep, reconstruct
from ptydesign.types import ReconState

SHAPE = (12, 10)
position_scores = jax.jit(refine.position_scores)


def plan_of(engine="lsqml", sweeps=5, slices=1, thickness_a=40.0, **settings):
    return build(
        Plan,
        {
            "object": {"slices": slices, "slice_thickness_a": thickness_a if slices > 1 else 0.0},
            "engines": [{"engine": engine, "sweeps": sweeps, "group": 32, **settings}],
        },
        "plan",
    )


def some_state(slices=3, modes=2, seed=0) -> tuple[ReconState, forward.Problem]:
    """A random multislice state and counts that do not fit it, float64."""
    rng = np.random.default_rng(seed)

    def wave(*shape):
        return jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))

    state = ReconState(
        object=jnp.exp(0.2j * wave(slices, 30, 33).real),
        probe=2 * wave(modes, *SHAPE),
        positions_px=jnp.asarray(rng.uniform(8, 20, (4, 2))),
        intensity=jnp.asarray([1.0, 0.8, 1.3, 1.0]),
        tilt_rad=jnp.asarray([0.004, -0.007]),
        thickness_a=jnp.asarray(rng.uniform(20, 60, slices)),
        pixel_a=jnp.asarray([0.2, 0.3]),
        origin_a=jnp.zeros(2),
        wavelength_a=jnp.asarray(toy.WAVELENGTH_A),
    )
    counts = jnp.asarray(rng.poisson(4.0, (4, *SHAPE)).astype(float))
    mask = jnp.asarray(rng.integers(0, 2, SHAPE).astype(float))
    return state, forward.Problem(counts, mask, jnp.full(SHAPE, 0.2), jnp.asarray(1e-3), jnp.asarray(1.0))


def exit_waves_of(state) -> list[jax.Array]:
    """Exit waves (mode, y, x) of every position."""
    o = forward.optical(state, SHAPE)
    seen = forward.views(state.positions_px, SHAPE, o)
    spectrum = forward.fft2(state.probe)
    return [
        forward.exit_waves(
            forward.ifft2(spectrum * seen.shift(j)), forward.take(state.object, seen.first[j], SHAPE), o.propagators
        )
        for j in range(len(state.positions_px))
    ]


def expected_patterns(state, problem) -> jax.Array:
    """(position, ky, kx) expected counts."""
    sums = [jnp.sum(jnp.abs(forward.fft2(wave)) ** 2, axis=0) for wave in exit_waves_of(state)]
    return state.intensity[:, None, None] * jnp.stack(sums) + problem.background


ALL = Group(np.arange(4), np.asarray(4))


def both(state, problem, noise) -> Context:
    """Positions and intensities are refined."""
    return Context(problem, {}, Options(noise, refine_positions=True, refine_intensity=True)).at(state)


@functools.partial(jax.jit, static_argnames="noise")
def losses_of(state, problem, noise) -> jax.Array:
    """(position,) negative log-likelihood."""
    waves = exit_waves_of(state)
    data = zip(waves, problem.patterns, state.intensity, strict=True)
    return jnp.asarray([jnp.sum(forward.compare_with_data(w, p, i, problem, noise)[1]) for w, p, i in data])


def slopes(state, problem, noise, changed, step) -> np.ndarray:
    """Central differences of every position's loss; changed(state, t) is the state at t."""
    up, down = (losses_of(changed(state, t), problem, noise) for t in (step, -step))
    return np.asarray(up - down) / (2 * step)


@pytest.mark.parametrize("at_nyquist", [1.0, 0.4])
@pytest.mark.parametrize("noise,slices", [("amplitude", 1), ("anscombe", 3), ("poisson", 3)])
def test_position_and_intensity_derivatives_against_finite_differences(noise, slices, at_nyquist):
    """float64, non-square, masked; the Gaussian model's variance is held fixed, so it has no such likelihood."""
    with jax.enable_x64(True):
        state, problem = some_state(slices)
        problem = problem._replace(transfer=mtf(SHAPE, at_nyquist))
        g, h = position_scores(state, ALL, both(state, problem, noise))
        for k, axis in enumerate(np.eye(2)):
            numeric = slopes(
                state, problem, noise, lambda s, t, a=axis: s.replace(positions_px=s.positions_px + t * a), 1e-5
            )
            np.testing.assert_allclose(g[:, k], numeric, rtol=1e-6)
        numeric = slopes(state, problem, noise, lambda s, t: s.replace(intensity=s.intensity * jnp.exp(t)), 1e-5)
        np.testing.assert_allclose(g[:, 2], numeric, rtol=1e-6)
        assert np.all(np.linalg.eigvalsh(h) > 0)


@pytest.mark.parametrize("noise", ["poisson", "gaussian"])
def test_curvature_is_the_second_derivative_where_the_data_fit(noise):
    """H is exact where the counts are the expected ones: differences of g give the same."""
    with jax.enable_x64(True):
        state, problem = some_state()
        problem = problem._replace(patterns=expected_patterns(state, problem))

        def g_of(t):
            moved = state.replace(positions_px=state.positions_px + jnp.asarray([0.0, t]))
            return position_scores(moved, ALL, both(state, problem, noise))[0]

        _, h = position_scores(state, ALL, both(state, problem, noise))
        numeric = (g_of(1e-6) - g_of(-1e-6)) / 2e-6
        np.testing.assert_allclose(h[:, 1], numeric, rtol=1e-4, atol=1e-4 * float(jnp.abs(h).max()))


def test_members_beyond_the_count_have_no_part():
    with jax.enable_x64(True):
        state, problem = some_state()
        context = Context(problem, {}, Options(refine_positions=True)).at(state)
        g, h = position_scores(state, Group(jnp.asarray([2, 1, 0, 0]), jnp.asarray(2)), context)
        assert np.all(np.asarray(g[:2]) != 0)
        assert np.all(np.asarray(g[2:]) == 0)
        steps = fisher.steps_of(g, h, jnp.asarray(2))
        assert np.all(np.isfinite(steps))
        assert np.all(np.asarray(steps[2:]) == 0)


def test_affine_map_of_positions_is_found():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        nominal = jnp.asarray(rng.uniform(0, 90, (40, 2)))
        found = nominal @ jnp.asarray([[1.01, 0.02], [-0.01, 0.99]]) + jnp.asarray([3.0, -1.0])
        dirty = found.at[35:].set(1e3)
        member = jnp.asarray(np.arange(40) < 35, float)[:, None]
        np.testing.assert_allclose(refine.affine(nominal, dirty, member)[:35], found[:35], atol=1e-3)


def misplaced(dataset, jitter_a=0.5, scale=0.01, rotation_deg=0.5, seed=5):
    """The dataset with wrong positions."""
    rng = np.random.default_rng(seed)
    centre, angle = dataset.positions_a.mean(axis=0), np.deg2rad(rotation_deg)
    turn = (1 + scale) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wrong = (dataset.positions_a - centre) @ turn.T + centre + rng.normal(0, jitter_a, dataset.positions_a.shape)
    return dataclasses.replace(dataset, positions_a=wrong)


def misplacement_a(found_a, true_a) -> float:
    """Rms distance between positions (n, 2) up to a common shift."""
    apart = found_a - true_a
    return float(np.sqrt(np.mean(np.sum((apart - apart.mean(axis=0)) ** 2, axis=1))))


@pytest.mark.parametrize("engine,slices,sweeps", [("lsqml", 1, 60), ("gradient", 1, 60), ("gradient", 2, 80)])
def test_wrong_positions_are_recovered(engine, slices, sweeps):
    """From jitter of 0.5 A rms per axis, 1 % scale and 0.5 deg rotation to less than 0.05 A rms, nothing taken out."""
    true, _ = toy.experiment(shape=(48, 56), steps=(16, 16), slices=slices)
    wrong = misplaced(true)
    assert misplacement_a(wrong.positions_a, true.positions_a) > 0.65
    quick = {"object_step": 1.0} if engine == "lsqml" else {}  # the scale needs more sweeps with the default
    state, _, _ = reconstruct(wrong, plan_of(engine, sweeps=sweeps, slices=slices, refine_positions=True, **quick))
    assert misplacement_a(state.positions_a, true.positions_a) < 0.05
    assert np.abs(np.mean(state.positions_a - wrong.positions_a, axis=0)).max() < 1e-3


def test_a_prior_keeps_noise_out_of_positions():
    """1,400 electrons per pattern say less about a position than its expected error of 0.1 A does."""
    true, _ = toy.experiment(shape=(48, 56), steps=(12, 12), dose=1e3)
    wrong = misplaced(true, jitter_a=0.1, scale=0.0, rotation_deg=0.0)
    before = misplacement_a(wrong.positions_a, true.positions_a)
    after = []
    for expected in (0.0, 0.1):
        plan = plan_of(sweeps=20, refine_positions=True, position_error_a=expected)
        after.append(misplacement_a(reconstruct(wrong, plan)[0].positions_a, true.positions_a))
    assert after[0] > 1.3 * before > 1.3 * after[1]


def test_an_affine_error_alone_is_followed_by_an_affine_map():
    true, _ = toy.experiment(shape=(48, 56), steps=(10, 10))
    wrong = misplaced(true, jitter_a=0.0, scale=0.03, rotation_deg=2.0)
    before = misplacement_a(wrong.positions_a, true.positions_a)
    state, _, _ = reconstruct(wrong, plan_of(sweeps=25, refine_positions=True, position_affine=1.0))
    assert misplacement_a(state.positions_a, true.positions_a) < 0.4 * before
    basis = np.c_[np.ones(len(wrong.positions_a)), wrong.positions_a]
    fit = basis @ np.linalg.lstsq(basis, state.positions_a, rcond=None)[0]
    np.testing.assert_allclose(state.positions_a, fit, atol=2e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_refines_on_the_canvas_and_compiles_once(engine):
    """However wrong, no window leaves the object (an index outside would silently be moved inside)."""
    true, _ = toy.experiment()
    wrong = misplaced(true, jitter_a=3.0)
    on = {"refine_positions": True, "refine_intensity": True}
    thick = ENGINES[engine].config.multislice
    if thick:
        on |= {"slices": 2, "refine_tilt": True, "refine_thickness": "each"}
    reconstruct(wrong, plan_of(engine, sweeps=1, **on))
    compiled = one_sweep._cache_size()
    other = {"positions_start": 0, "position_clip_px": 5.0, "position_step": 0.9, "position_affine": 0.01}
    other |= {"position_error_a": 3.0}
    other |= {"propagation_start": 1, "propagation_step": 0.9, "slices_alike": 0.1}
    state, _, _ = reconstruct(wrong, plan_of(engine, sweeps=6, intensity_start=1, **on, **other))
    assert one_sweep._cache_size() == compiled
    half = np.asarray(state.probe.shape[-2:]) // 2
    assert np.all(state.positions_px >= half)
    assert np.all(state.positions_px <= np.asarray(state.object.shape[-2:]) - half - 1)
    assert np.std(state.positions_a - wrong.positions_a) > 0.1
    assert np.std(state.intensity) > 1e-4
    if thick:
        assert np.all(state.tilt_rad != 0)
        assert state.thickness_a[0] != 40
        assert state.thickness_a[1] == 40  # nothing depends on the last slice's


def test_intensity_factors_are_recovered():
    true, _ = toy.experiment()
    factors = np.random.default_rng(1).uniform(0.8, 1.2, len(true.patterns))
    factors /= factors.mean()
    bright = dataclasses.replace(true, patterns=true.patterns * factors[:, None, None])
    state, _, _ = reconstruct(bright, plan_of(sweeps=20, refine_intensity=True, intensity_start=1))
    assert np.std(state.intensity / factors) < 0.01
    assert state.intensity.mean() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("noise", ["amplitude", "poisson"])
@pytest.mark.parametrize("thickness", ["total", "each"])
def test_tilt_and_thickness_derivatives_against_finite_differences(noise, thickness):
    """float64, non-square, masked, three slices of unequal thickness."""
    with jax.enable_x64(True):
        state, problem = some_state(3)
        context = Context(problem, {}, Options(noise, refine_tilt=True, refine_thickness=thickness))
        g, h = jax.jit(propagation.propagation_scores)(state, Group(jnp.arange(4), jnp.asarray(3)), context)

        def numeric(changed, step):
            return slopes(state, problem, noise, changed, step)[:3].sum()

        for k, axis in enumerate(np.eye(2)):
            tilted = numeric(lambda s, t, a=axis: s.replace(tilt_rad=s.tilt_rad + t * a), 1e-7)
            assert float(g[k]) == pytest.approx(tilted, rel=1e-6)
        stretched = [np.ones(3)] if thickness == "total" else list(np.eye(3)[:2])
        assert len(g) == 2 + len(stretched)
        for k, which in enumerate(stretched):
            found = numeric(lambda s, t, w=which: s.replace(thickness_a=s.thickness_a * jnp.exp(t * w)), 1e-5)
            assert float(g[2 + k]) == pytest.approx(found, rel=1e-6)
        assert np.all(np.linalg.eigvalsh(h) > 0)


def crystal(tilt_rad, slices, thickness_a, pixel_a=0.3):
    """Function of a canvas (y, x): phases (slice, y, x) of straight columns of unequal weight that lean by a tilt."""

    def phases(canvas):
        rng = np.random.default_rng(3)
        y, x = (np.arange(n) * pixel_a for n in canvas)
        values = np.zeros((slices, *canvas))
        for row, column in np.ndindex(round(y[-1] / 2.7) + 4, round(x[-1] / 3.1) + 4):
            site = np.array([(row - 2 + column % 2 / 2) * 2.7, (column - 2) * 3.1])
            weight = 0.25 * rng.uniform(0.5, 1)
            for s in range(slices):
                at = site + s * thickness_a * np.tan(tilt_rad)
                values[s] += weight * np.outer(np.exp(-((y - at[0]) ** 2) / 0.25), np.exp(-((x - at[1]) ** 2) / 0.25))
        return values

    return phases


def test_shear_of_the_object_and_tilt_of_the_propagators_are_the_same():
    tilt, slices, thickness = np.array([8e-3, -5e-3]), 3, 50.0
    leaning = np.exp(1j * crystal(tilt, slices, thickness)((96, 108)))
    probe = 30 * toy.probe_of((48, 56), 0.3, 0.02, 60.0)
    with jax.enable_x64(True):
        state = ReconState(
            object=jnp.asarray(leaning),
            probe=jnp.asarray(probe)[None],
            positions_px=jnp.asarray([[47.3, 52.6]]),
            intensity=jnp.ones(1),
            tilt_rad=jnp.zeros(2),
            thickness_a=jnp.full(slices, thickness),
            pixel_a=jnp.full(2, 0.3),
            origin_a=jnp.zeros(2),
            wavelength_a=jnp.asarray(toy.WAVELENGTH_A),
        )

        def pattern(s):
            o = forward.optical(s, (48, 56))
            seen = forward.views(s.positions_px, (48, 56), o)
            shifted = forward.ifft2(forward.fft2(s.probe) * seen.shift(0))
            wave = forward.exit_waves(shifted, forward.take(s.object, seen.first[0], (48, 56)), o.propagators)
            return np.abs(np.asarray(forward.fft2(wave))[0]) ** 2

        straight = jax.jit(lambda s: functools.reduce(lambda s, _: propagation.straightened(s), range(25), s))(state)
        np.testing.assert_allclose(straight.tilt_rad, tilt, atol=0.5e-3)
        same, upright = pattern(straight), pattern(straight.replace(tilt_rad=jnp.zeros(2)))
        scale = np.linalg.norm(pattern(state))
        assert np.linalg.norm(same - pattern(state)) < 0.02 * scale
        assert np.linalg.norm(upright - pattern(state)) > 0.06 * scale


@pytest.mark.parametrize("engine,settings", [("lsqml", {}), ("gradient", {"slices_alike": 1.0})])
def test_the_tilt_of_a_crystal_is_found(engine, settings):
    """15 nm of columns that lean by 3.6 mrad, from tilt 0, to within 0.5 mrad."""
    tilt = np.array([3e-3, -2e-3])
    true, _ = toy.experiment(
        shape=(40, 48), slices=6, thickness_a=25.0, step_a=1.0, steps=(9, 10), phases=crystal(tilt, 6, 25.0)
    )
    plan = plan_of(engine, sweeps=40, slices=6, thickness_a=25.0, refine_tilt=True, propagation_start=1, **settings)
    state, _, _ = reconstruct(true, plan)
    assert np.abs(state.tilt_rad - tilt).max() < 0.5e-3


@pytest.mark.parametrize("engine,settings", [("lsqml", {"object_step": 1.0}), ("gradient", {"object_rate": 0.005})])
def test_the_thickness_of_slices_is_found(engine, settings):
    """From a start that is 20 % thin to within 4 %; with steps of factor one it takes twice the sweeps."""
    true, _ = toy.experiment(shape=(40, 48), slices=3, thickness_a=50.0, phases=crystal(np.zeros(2), 3, 50.0))
    plan = plan_of(
        engine, sweeps=40, slices=3, refine_thickness="total", propagation_start=1, propagation_step=3.0, **settings
    )
    state, _, _ = reconstruct(true, plan)
    np.testing.assert_allclose(state.thickness_a, 50.0, atol=2.0)


def test_settings_that_are_off_leave_a_plan_as_it_was():
    """Trials are stored under a hash of the plan."""
    assert not refinements.Refinements.quiet & set(plan_of().model_dump()["engines"][0])
    dumped = plan_of(refine_positions=True, position_affine=0.5).model_dump(mode="json")["engines"][0]
    assert dumped["refine_positions"] is True
    assert dumped["position_affine"] == 0.5
    assert set(refinements.Refinements.model_fields) == refinements.Refinements.quiet
