"""Constraints against closed forms; costs against closed forms and finite differences; both beside the data."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct.costs import COSTS
from ptydesign.reconstruct.engines.gradient import GradientConfig
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.regularise import CONSTRAINTS, blur_matrix, constrain, cost_directions
from ptydesign.reconstruct.run import one_sweep, reconstruct
from ptydesign.reconstruct.start import start_state

SETTINGS = {
    "deramp": {},
    "layer_blur": {"sigma_a": 30.0},
    "object_amplitude": {"smallest": 0.9, "largest": 1.1},
    "object_lowpass": {"qmax": 1.2},
    "orthogonal_modes": {},
    "positivity": {"floor_rad": -0.8},
    "probe_aperture": {"semiangle_mrad": 30.0},
    "probe_support": {"radius_a": 5.0},
}


@pytest.fixture(scope="module")
def state():
    """A state with random transmissions of three slices and two modes, float64, non-square."""
    dataset, _ = toy.experiment(slices=3, steps=(4, 5))
    plan = build(
        Plan,
        {
            "object": {"slices": 3, "slice_thickness_a": 40.0},
            "probe": {"mode_powers": [0.3]},
            "engines": [{"engine": "gradient"}],
        },
        "plan",
    )
    rng = np.random.default_rng(0)
    start = start_state(dataset, plan)
    shape = start.object.shape
    transmission = rng.uniform(0.8, 1.2, shape) * np.exp(1j * rng.normal(0, 0.3, shape))
    return start.replace(object=transmission, thickness_a=np.array([40.0, 20.0, 60.0]))


def applied(state, kind, **settings):
    """The constraint on the state in float64, as NumPy arrays."""
    config = CONSTRAINTS[kind].config(**settings)
    with jax.enable_x64(True):
        parameters = {f"constraints.0.{n}": jnp.asarray(v) for n, v in config if isinstance(v, float)}
        done = constrain(jax.tree.map(jnp.asarray, state), ((kind, config.every),), config.every, parameters)
        return jax.tree.map(np.asarray, done)


def value(state, kind, counts=1.0):
    with jax.enable_x64(True):
        return float(COSTS[kind](jax.tree.map(jnp.asarray, state), jnp.asarray(counts)))


def box(state):
    """(y, x) pixels of the scanned rectangle and its area."""
    return np.ptp(state.positions_px, axis=0) + 1, np.prod(np.ptp(state.positions_px, axis=0) + 1)


def test_every_constraint_has_a_case():
    assert set(SETTINGS) == set(CONSTRAINTS)


def test_a_constraint_belongs_to_groups_or_to_sweeps(state):
    parameters = {"constraints.0.smallest": 0.0, "constraints.0.largest": 0.5}
    held = constrain(state, (("object_amplitude", "group"),), "group", parameters)
    assert np.abs(held.object).max() < 0.5001
    assert constrain(state, (("object_amplitude", "group"),), "sweep", parameters) is state


def test_amplitudes_are_clamped_and_phases_stay(state):
    zero = state.object.copy()
    zero[0, 3, 4] = 0
    held = applied(state.replace(object=zero), "object_amplitude", smallest=0.9, largest=1.05).object
    np.testing.assert_allclose(np.abs(held), np.clip(np.abs(zero), 0.9, 1.05), rtol=1e-12)
    np.testing.assert_allclose(np.angle(held), np.angle(zero), atol=1e-12)


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_negative_phases_are_raised(state, strength):
    before = np.angle(state.object)
    after = applied(state, "positivity", floor_rad=-0.1, strength=strength).object
    np.testing.assert_allclose(np.angle(after), np.where(before < -0.1, before + strength * (-0.1 - before), before))
    np.testing.assert_allclose(np.abs(after), np.abs(state.object))


def test_lowpass_keeps_low_and_removes_high_frequencies(state):
    ny, nx = state.object.shape[-2:]
    y, x = np.indices((ny, nx))
    height, width = ny * state.pixel_a[0], nx * state.pixel_a[1]
    low, high = np.exp(2j * np.pi * 6 * y / ny), np.exp(2j * np.pi * (5 * y / ny - 25 * x / nx))
    qmax = 0.5 * (6 / height + np.hypot(5 / height, 25 / width))
    mixed = state.replace(object=np.stack([low + high] * 3))
    found = applied(mixed, "object_lowpass", qmax=qmax, edge=0.05).object
    np.testing.assert_allclose(found, np.stack([low] * 3), atol=1e-12)


def test_probe_support_in_real_space(state):
    y, x = (np.arange(n) - n // 2 for n in state.probe.shape[-2:])
    radius = np.hypot(y[:, None] * state.pixel_a[0], x[None] * state.pixel_a[1])
    held = applied(state, "probe_support", radius_a=3.0, edge_a=0.5).probe
    np.testing.assert_allclose(held[:, radius < 2.75], state.probe[:, radius < 2.75], rtol=1e-12)
    assert np.all(held[:, radius > 3.25] == 0)
    assert 0.1 < np.sum(np.abs(held) ** 2) / np.sum(np.abs(state.probe) ** 2) < 0.99


def test_probe_aperture_in_reciprocal_space(state):
    ky, kx = (np.fft.fftfreq(n, p) for n, p in zip(state.probe.shape[-2:], state.pixel_a, strict=True))
    mrad = 1e3 * toy.WAVELENGTH_A * np.hypot(ky[:, None], kx[None])
    found = np.fft.fft2(applied(state, "probe_aperture", semiangle_mrad=15.0, edge_mrad=2.0).probe)
    before = np.fft.fft2(state.probe)
    np.testing.assert_allclose(found[:, mrad < 14], before[:, mrad < 14], atol=1e-9)
    assert np.abs(found[:, mrad > 16]).max() < 1e-9
    # the toy's own aperture, 25 mrad, is left alone by a wider one
    kept = applied(state.replace(probe=state.probe[:1]), "probe_aperture", semiangle_mrad=27.0).probe
    np.testing.assert_allclose(kept, state.probe[:1], atol=1e-9 * np.abs(state.probe).max())


def test_layer_blur_mixes_by_depth_and_keeps_the_mean(state):
    with jax.enable_x64(True):
        matrix = np.asarray(blur_matrix(jnp.asarray([40.0, 20.0, 60.0]), jnp.asarray(25.0)))
        same = np.asarray(blur_matrix(jnp.asarray([40.0, 20.0, 60.0]), jnp.asarray(0.0)))
    np.testing.assert_allclose(same, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
    # centres at 20, 50, 90: the balancing cancels in this ratio of Gaussians
    ratio = matrix[0, 1] * matrix[1, 0] / (matrix[0, 0] * matrix[1, 1])
    assert ratio == pytest.approx(np.exp(-(30**2) / 25**2), rel=1e-9)
    blurred = applied(state, "layer_blur", sigma_a=25.0).object
    np.testing.assert_allclose(blurred, np.einsum("st,tyx->syx", matrix, state.object), rtol=1e-9)
    np.testing.assert_allclose(blurred.mean(axis=0), state.object.mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("slope", [(0.01, -0.02), (0.4, 1.2)])
def test_deramp_finds_the_ramp_and_leaves_every_pattern(state, slope):
    """A ramp goes to the probe: product of both unchanged, up to a constant phase for each position."""
    y, x = np.indices(state.object.shape[-2:])
    ramp = np.exp(1j * (slope[0] * y + slope[1] * x + 0.7))
    smooth = np.exp(0.2j * np.sin(y / 5) * np.sin(x / 7))  # no ramp of its own to speak of
    one = state.replace(object=np.stack([smooth * ramp, np.ones_like(ramp), np.ones_like(ramp)]))
    flat = applied(one, "deramp")
    low, high = (np.asarray(f(state.positions_px, axis=0)) for f in (np.min, np.max))
    inside = np.s_[int(np.ceil(low[0])) : int(high[0]) + 1, int(np.ceil(low[1])) : int(high[1]) + 1]
    phase = np.angle(flat.object.prod(axis=0))[inside]
    rows, columns = np.indices(phase.shape)
    basis = np.stack([np.ones(phase.size), rows.ravel(), columns.ravel()], axis=1)
    np.testing.assert_allclose(np.linalg.lstsq(basis, phase.ravel(), rcond=None)[0], 0, atol=1e-10)
    ny, nx = state.probe.shape[-2:]
    for first in ((0, 0), (5, 9)):
        window = np.s_[..., first[0] : first[0] + ny, first[1] : first[1] + nx]
        before = one.probe[0] * one.object[0][window]
        after = flat.probe[0] * flat.object[0][window]
        assert abs(np.vdot(before, after)) == pytest.approx(np.vdot(before, before).real, rel=1e-12)


def test_costs_in_closed_form(state):
    height, width = box(state)[0]
    area = height * width
    o, dy, dx = state.object, state.pixel_a[0], state.pixel_a[1]
    gradient2 = np.zeros(o.shape)
    gradient2[:, :-1] += np.abs(np.diff(o, axis=1) / dy) ** 2
    gradient2[:, :, :-1] += np.abs(np.diff(o, axis=2) / dx) ** 2
    expected = {
        "object_l2": np.sum(np.abs(o - 1) ** 2) / area,
        "object_l1": np.sum(np.abs(o - 1)) / area,
        "object_phase_l1": np.sum(np.abs(np.angle(o))) / area,
        "object_spectrum_l1": np.sum(np.abs(np.fft.fft2(o - 1, norm="ortho"))) / area,
        "object_tikhonov": gradient2.sum() / area,
        "object_tv": np.sqrt(gradient2).sum() / area,
        "layer_tikhonov": np.sum(np.abs(np.diff(o, axis=0)) ** 2) / area,
        "layer_tv": np.sum(np.abs(np.diff(o, axis=0))) / area,
        "probe_l2": np.sum(np.abs(state.probe) ** 2) / 500,
    }
    for kind, number in expected.items():
        assert value(state, kind, 500.0) == pytest.approx(number, rel=5e-3 if "1" in kind or "tv" in kind else 1e-10)


def test_the_phase_plate_of_a_defocused_probe():
    """Of exp(i a k^2) the steps between neighbours are a ((k+1)^2 - k^2): known sums."""
    n, a = 16, 0.03
    k = np.fft.fftfreq(n, 1 / n)
    plate = np.exp(1j * a * (k[:, None] ** 2 + k[None] ** 2)) * (np.hypot(k[:, None], k[None]) < 5)
    probe = np.fft.fftshift(np.fft.ifft2(plate, norm="ortho"))[None]
    dataset, _ = toy.experiment(shape=(n, n), steps=(3, 3))
    state = start_state(dataset, build(Plan, {"engines": [{"engine": "gradient"}]}, "plan")).replace(probe=probe)
    inside = np.abs(plate) > 0
    square = 0.0
    for axis in (0, 1):
        both = inside & np.roll(inside, -1, axis)
        step = a * (2 * k + 1) if axis == 1 else a * (2 * k + 1)[:, None]
        square += np.sum(both * step**2)
    assert value(state, "probe_phase_tikhonov", 7.0) == pytest.approx(square / 7, rel=1e-9)
    flat = state.replace(probe=np.fft.fftshift(np.fft.ifft2(np.abs(plate), norm="ortho"))[None])
    assert value(flat, "probe_phase_tikhonov") < 1e-20
    assert abs(value(flat, "probe_phase_tv")) < 1e-6
    assert value(state, "probe_phase_tv") > 1


@pytest.mark.parametrize("kind", COSTS)
def test_cost_gradients_against_finite_differences(kind, state):
    rng = np.random.default_rng(4)

    def noise(shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    d_object, d_probe = noise(state.object.shape), noise(state.probe.shape)
    with jax.enable_x64(True):
        down_object, down_probe = cost_directions(
            jax.tree.map(jnp.asarray, state), (kind,), {"costs.0.weight": jnp.asarray(2.0)}, jnp.asarray(300.0)
        )
    step = 1e-6

    def moved(t):
        return value(state.replace(object=state.object + t * d_object, probe=state.probe + t * d_probe), kind, 300.0)

    numeric = 2.0 * (moved(step) - moved(-step)) / (2 * step)
    along = np.vdot(down_object, d_object) + np.vdot(down_probe, d_probe)
    assert -2 * along.real == pytest.approx(numeric, rel=1e-5)
    assert abs(numeric) > 0


@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_costs_and_gradients_are_finite_where_they_have_kinks(kind, level, state):
    flat = state.replace(object=np.full(state.object.shape, level + 0j), probe=np.zeros_like(state.probe))
    for precision in (jnp.complex64, jnp.complex128):
        with jax.enable_x64(precision == jnp.complex128):
            one = jax.tree.map(lambda a, p=precision: jnp.asarray(a, p if np.iscomplexobj(a) else None), flat)
            parts = cost_directions(one, (kind,), {"costs.0.weight": jnp.asarray(1.0)}, jnp.asarray(1.0))
            assert all(np.all(np.isfinite(part)) for part in parts)
            assert np.isfinite(COSTS[kind](one, jnp.asarray(1.0)))


@pytest.mark.parametrize("kind", sorted(set(COSTS) - {"object_spectrum_l1"}))  # a spectrum is that of its canvas
def test_costs_of_the_object_do_not_depend_on_the_canvas(kind, state):
    smooth = np.ones_like(state.object)
    smooth[:, 10:40, 12:50] = state.object[:, 10:40, 12:50]
    wide = np.pad(smooth, ((0, 0), (0, 32), (0, 64)), constant_values=1.0)
    one = value(state.replace(object=smooth), kind, 10.0)
    assert value(state.replace(object=wide), kind, 10.0) == pytest.approx(one, rel=1e-9)


# --- in the loop ------------------------------------------------------------------------------------------------------


def plan_of(engine="gradient", slices=1, sweeps=4, **settings):
    return build(
        Plan,
        {
            "object": {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0},
            "engines": [{"engine": engine, "sweeps": sweeps, "group": 16, **settings}],
        },
        "plan",
    )


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(24, 32), steps=(6, 7))


ALL_CONSTRAINTS = [{"kind": kind, **settings} for kind, settings in SETTINGS.items()]
# gentle enough for the toy's object and probe to pass
WEAK = [{**c, "semiangle_mrad": 40.0} if c["kind"] == "probe_aperture" else c for c in ALL_CONSTRAINTS]
ALL_COSTS = [{"kind": kind, "weight": 1e-6} for kind in COSTS]


def test_the_loss_falls_with_all_regularisers_and_other_numbers_recompile_nothing(data):
    dataset, _ = data
    first = plan_of(constraints=WEAK, costs=ALL_COSTS, sweeps=8)
    _, history, outcome = reconstruct(dataset, first)
    assert outcome.status == "all_sweeps_done"
    assert history.loss[-1] < 0.6 * history.loss[0]
    compiled = one_sweep._cache_size()
    others = [{n: v * 1.1 if isinstance(v, float) else v for n, v in c.items()} | {"kind": c["kind"]} for c in WEAK]
    costs = [{**c, "weight": 3e-6} for c in ALL_COSTS]
    other, _, _ = reconstruct(dataset, plan_of(constraints=others, costs=costs, sweeps=2))
    assert one_sweep._cache_size() == compiled
    assert np.all(np.isfinite(other.object))


@pytest.mark.parametrize("precision,every", [("single", "group"), ("double", "group"), ("double", "sweep")])
def test_constraints_work_with_every_precision_and_slices(precision, every):
    """A constraint that changed the type or shape of the state would not compile."""
    dataset, _ = toy.experiment(shape=(24, 32), steps=(6, 7), slices=2)
    plan = plan_of("lsqml", slices=2, sweeps=2, constraints=[{**c, "every": every} for c in WEAK])
    _, history, _ = reconstruct(dataset, plan.model_copy(update={"precision": precision}))
    assert history.loss[-1] < history.loss[0]


def test_a_cost_lowers_what_it_measures():
    dataset, _ = toy.experiment(shape=(24, 32), steps=(6, 7), slices=2)
    strong = {
        "object_l2": 0.3,
        "object_l1": 0.1,
        "object_phase_l1": 0.1,
        "object_tikhonov": 0.03,
        "object_tv": 0.03,
        "layer_tikhonov": 0.3,
        "layer_tv": 0.1,
        "object_spectrum_l1": 0.1,
        "probe_phase_tikhonov": 0.01,
    }

    def found(only=None):
        """All with the same compiled sweep: the weights of the others are zero."""
        costs = [{"kind": kind, "weight": weight if kind == only else 0.0} for kind, weight in strong.items()]
        return reconstruct(dataset, plan_of(sweeps=10, slices=2, costs=costs))[0]

    free = found()
    counts = dataset.patterns.sum(axis=(1, 2)).mean()
    lowered = {kind: value(found(kind), kind, counts) / value(free, kind, counts) for kind in strong}
    assert max(lowered.values()) < 0.8, lowered


def test_weights_do_not_depend_on_the_scale_of_the_counts(data):
    dataset, _ = data
    plan = plan_of(costs=[{"kind": "object_tv", "weight": 0.003}, {"kind": "probe_phase_tikhonov", "weight": 0.001}])
    one = reconstruct(dataset, plan)[0]
    other = reconstruct(dataclasses.replace(dataset, patterns=dataset.patterns * 1e3), plan)[0]
    np.testing.assert_allclose(other.phase_rad, one.phase_rad, atol=2e-3)


@pytest.mark.parametrize(
    "settings,words",
    [
        ({"constraints": [{"kind": "layer_blurr", "sigma_a": 1.0}]}, "mean 'layer_blur'"),
        ({"constraints": [{"kind": "layer_blur", "sigma": 1.0}]}, "mean 'sigma_a'"),
        ({"constraints": [{"kind": "object_amplitude", "smallest": 2.0}]}, "smallest"),
        ({"costs": [{"kind": "objekt_tv", "weight": 1.0}]}, "mean 'object_tv'"),
        ({"costs": [{"kind": "object_tv", "wieght": 1.0}]}, "mean 'weight'"),
        ({"costs": [{"kind": "object_tv", "weight": -1.0}]}, "weight"),
    ],
)
def test_bad_regularisers_are_refused_by_name(settings, words):
    with pytest.raises(InputError, match=words):
        plan_of(**settings)


def test_only_the_gradient_engine_takes_costs():
    with pytest.raises(InputError, match="costs"):
        plan_of("lsqml", costs=ALL_COSTS)
    assert GradientConfig.model_fields["costs"].default == ()
