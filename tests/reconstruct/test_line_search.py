"""L-BFGS and Polyak's step: rules that measure their step."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct import line_search
from ptydesign.reconstruct.context import Context, Group
from ptydesign.reconstruct.forward import exit_waves, fft2, ifft2, optical, take, views
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.regularise import cost_of
from ptydesign.reconstruct.run import make_problem, reconstruct
from ptydesign.reconstruct.start import start_state


def plan_of(slices=1, mode_powers=(), **settings):
    return build(
        Plan,
        {
            "object": {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0},
            "probe": {"mode_powers": mode_powers},
            "engines": [{"engine": "gradient", "group": 16, **settings}],
        },
        "plan",
    )


@pytest.fixture(scope="module")
def data():
    return toy.experiment()


@pytest.fixture(scope="module")
def mixed():
    return toy.experiment(slices=2, modes=((0.8, 0), (0.2, 1)))


def test_lbfgs_needs_fewer_sweeps_than_steepest_descent(mixed):
    """One step a sweep. A step of fixed length along the gradient needs many times as many."""
    settings = {"slices": 2, "mode_powers": (0.2,)}
    quick, history, outcome = reconstruct(mixed[0], plan_of(rule="lbfgs", sweeps=30, **settings))
    assert outcome.status == "all_sweeps_done", outcome.reason
    assert history.loss[-1] < 0.14 * history.loss[0]
    assert np.mean(np.diff(history.loss) < 0) > 0.85
    slow = plan_of(rule="sgd", group=10**6, sweeps=30, object_rate=0.5, probe_rate=0.5, **settings)
    assert history.loss[-1] < 0.5 * reconstruct(mixed[0], slow)[1].loss[-1]
    assert toy.phase_error(quick, mixed[1], mixed[0]) < 0.025


def test_lbfgs_falls_in_every_sweep_with_four_modes_and_in_either_precision():
    """Equal powers at the start: orthogonalisation may turn such modes by any angle, and the pairs must follow."""
    dataset, _ = toy.experiment(modes=((0.5, 0), (0.25, 1), (0.15, 2), (0.1, 3)), steps=(8, 8))
    dataset = dataclasses.replace(dataset, probe_guess=dataset.probe_guess[:1])
    plan = plan_of(mode_powers=(0.05,) * 3, rule="lbfgs", sweeps=15)
    single, double = (
        reconstruct(dataset, plan.model_copy(update={"precision": p}))[1].loss for p in ("single", "double")
    )
    assert np.all(np.diff(single) < 0)
    assert single[-1] < 0.1 * single[0]
    np.testing.assert_allclose(single, double, rtol=1e-3)


def test_a_group_of_lbfgs_is_the_whole_scan(data):
    """Whatever group is asked for: one update a sweep, so that the batches' order has no effect but rounding."""
    first, second = (reconstruct(data[0], plan_of(rule="lbfgs", sweeps=4, group=g), seed=g)[0] for g in (8, 500))
    np.testing.assert_allclose(first.object, second.object, atol=1e-4)


@pytest.mark.parametrize("noise", NOISE_MODELS)
def test_the_measured_step_is_the_minimum_of_the_quadratic_model(noise):
    """Its slope by finite differences of loss and cost; for small errors of the model also its minimum."""
    dataset, _ = toy.experiment(shape=(16, 20), steps=(3, 4), slices=2, modes=((0.7, 0), (0.3, 1)), noisy=False)
    plan = plan_of(2, (0.3,), noise=noise, costs=[{"kind": "object_l2", "weight": 0.1}])
    rng = np.random.default_rng(0)

    def bumps(shape, size):
        return size * (rng.normal(size=shape) + 1j * rng.normal(size=shape))

    with jax.enable_x64(True):
        state = start_state(dataset, plan)
        state = state.replace(object=np.exp(1j * rng.normal(0, 0.05, state.object.shape)))
        d_object, d_probe = bumps(state.object.shape, 1e-2), bumps(state.probe.shape, 1e-2 * np.abs(state.probe).max())
        state = jax.tree.map(jnp.asarray, state)
        count = len(dataset.positions_a)
        problem = make_problem(dataset, plan.engines[0], count, np.float64)
        o, members = optical(state, (16, 20)), Group(jnp.arange(count), jnp.asarray(count))
        parameters = {"costs.0.weight": jnp.asarray(0.1)}

        @jax.jit
        def patterns_and_cost(t):
            moved = state.replace(object=state.object + t * d_object, probe=state.probe + t * d_probe)
            seen = views(moved.positions_px, (16, 20), o)

            def one(j):
                probe = ifft2(fft2(moved.probe) * seen.shift(j))
                far = fft2(exit_waves(probe, take(moved.object, seen.first[j], (16, 20)), o.propagators))
                return jnp.sum(jnp.abs(far) ** 2, axis=0)

            return jax.vmap(one)(jnp.arange(count)), cost_of(moved, ("object_l2",), parameters, problem.counts)

        def loss(t):
            expected, cost = patterns_and_cost(t)
            value = jnp.sum(NOISE_MODELS[noise].nll(expected, measured, problem.offset))
            return float(value + count * problem.counts * cost)

        true = 0.3  # the direction leads to the data's own minimum, which lies there
        measured = patterns_and_cost(true)[0]
        problem = problem._replace(patterns=measured)
        context = Context(problem, parameters, plan.engines[0].options()).at(state)
        g, h = line_search.patterns_along(state, d_object, d_probe, members, context)
        length = float(line_search.minimum_along(state, d_object, d_probe, members, context))
        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        losses = [loss(t) for t in (0.0, length, true)]
        cost_slope = count * problem.counts * (patterns_and_cost(1e-5)[1] - patterns_and_cost(-1e-5)[1]) / 2e-5
    # the gaussian model's variance follows the expected mean: its slope is taken at a fixed variance
    rel = 1e-6 if noise != "gaussian" else 0.05
    assert float(g + cost_slope) == pytest.approx(slope, rel=rel)
    assert float(h) > 0
    assert 0 < length < 2 * true
    # most of the way down; the gaussian model's is a coarse one, since its variance moves
    assert losses[1] - losses[2] < (0.3 if noise != "gaussian" else 0.7) * (losses[0] - losses[2])


@pytest.mark.parametrize("noise", ["amplitude", "poisson"])
def test_polyaks_step_finds_the_object_without_a_rate(noise, data):
    dataset, transmission = data
    state, history, outcome = reconstruct(dataset, plan_of(rule="polyak", noise=noise, sweeps=25))
    assert outcome.status == "all_sweeps_done", outcome.reason
    assert history.loss[-1] < 0.3 * history.loss[0]
    assert toy.phase_error(state, transmission, dataset) < 0.1 * np.std(np.angle(transmission))


def test_polyaks_step_ends_at_the_floor(data):
    """Nothing moves where the loss is what noise leaves; a factor of the step is a factor of the first change."""
    still = reconstruct(data[0], plan_of(rule="polyak", sweeps=2, floor=1.0))[0]
    np.testing.assert_array_equal(still.object, 1)
    whole, half = (
        reconstruct(data[0], plan_of(rule="polyak", sweeps=1, group=10**6, step=s))[0].object - 1 for s in (1.0, 0.5)
    )
    np.testing.assert_allclose(half, whole / 2, atol=1e-6)
    assert np.abs(whole).max() > 1e-2


@pytest.mark.parametrize(
    "settings,words",
    [
        ({"rule": "lbfgs", "object_rate": 0.1}, "engines.0.object_rate: has no meaning for the rule lbfgs"),
        ({"rule": "lbfgs", "floor": 0.1}, "floor"),
        ({"rule": "polyak", "probe_rate": {"schedule": "constant", "start": 0.1}}, "probe_rate"),
        ({"rule": "adam", "step": 0.5}, "step"),
        ({"rule": "lbgfs"}, "mean 'lbfgs'"),
    ],
)
def test_settings_of_other_rules_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        plan_of(**settings)
