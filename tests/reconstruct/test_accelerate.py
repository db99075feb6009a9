"""Momentum from sweep to sweep."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct import accelerate
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.start import start_state


def plan_of(engine="lsqml", mode_powers=(0.05,), **settings):
    engines = [{"engine": engine, "group": 16, **settings}]
    return build(Plan, {"probe": {"mode_powers": mode_powers}, "engines": engines}, "plan")


def test_a_weak_mode_grows_to_its_power():
    """From a 5 % guess to the true 25 % within a tenth. Plain sweeps creep: the first mode mimics the second."""
    dataset, _ = toy.experiment(modes=((0.75, 0), (0.25, 1)), steps=(12, 12), step_a=0.9)
    dataset = dataclasses.replace(dataset, probe_guess=dataset.probe_guess[:1])

    def share(**settings):
        state = reconstruct(dataset, plan_of(noise="poisson", sweeps=120, **settings))[0]
        powers = np.sum(np.abs(state.probe) ** 2, axis=(1, 2))
        return powers[1] / powers.sum()

    assert share(acceleration=0.9) == pytest.approx(0.25, rel=0.1)
    assert share() < 0.2


@pytest.fixture
def state():
    dataset, _ = toy.experiment(shape=(16, 20), steps=(3, 4))
    state = start_state(dataset, plan_of(mode_powers=(0.3,)))
    return state.replace(object=jnp.asarray(state.object), probe=jnp.asarray(state.probe, np.complex64))


def memory_of(before, age=3.0, loss=1.0):
    return accelerate.Accelerated((), before.object, before.probe, jnp.asarray(age), jnp.asarray(loss))


def test_a_sweep_starts_ahead(state):
    """By age / (age + 3) of the last change, at most by the limit."""
    before = state.replace(object=state.object - 0.1, probe=state.probe * 0.9)
    found = accelerate.ahead(state, memory_of(before), 0.9)
    np.testing.assert_allclose(found.object, state.object + 0.05, rtol=1e-5)
    np.testing.assert_allclose(found.probe, state.probe * 1.05, rtol=1e-4, atol=1e-5)
    limited = accelerate.ahead(state, memory_of(before), 0.2)
    np.testing.assert_allclose(limited.object, state.object + 0.02, rtol=1e-5)
    np.testing.assert_array_equal(accelerate.ahead(state, memory_of(before, age=0.0), 0.9).object, state.object)


def test_a_rotation_of_the_modes_is_no_motion(state):
    turn = np.asarray([[0.6, 0.8j], [0.8j, 0.6]])
    before = state.replace(probe=jnp.einsum("mn,nyx->myx", turn, state.probe))
    found = accelerate.ahead(state, memory_of(before, age=9.0), 0.9).probe
    np.testing.assert_allclose(found, state.probe, atol=1e-4 * np.abs(state.probe).max())


def test_momentum_starts_anew_where_the_sweep_went_against_it_or_the_loss_rose(state):
    ahead = state.replace(object=state.object + 0.1)
    on, back = (state.replace(object=state.object + d) for d in (0.12, 0.05))
    memory = memory_of(state)

    def age(end, loss):
        return float(accelerate.after(state, ahead, end, (), memory, jnp.asarray(loss)).age)

    assert age(on, 0.9) == 4
    assert age(on, 1.005) == 4  # the order of groups
    assert age(on, 1.02) == 0
    assert age(back, 0.9) == 0


@pytest.mark.parametrize("engine", ["difference_map", "raar"])
def test_engines_that_keep_waves_refuse_it(engine):
    with pytest.raises(InputError, match=f"acceleration: is not for {engine}"):
        plan_of(engine, acceleration=0.5)


def test_lbfgs_has_its_own():
    with pytest.raises(InputError, match="acceleration"):
        plan_of("gradient", rule="lbfgs", acceleration=0.5)
