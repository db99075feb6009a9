"""The search for positions that descent cannot reach: what it finds, what it leaves alone, what it costs."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.reconstruct import position_search
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.context import Context, Options
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import capacity, make_problem, reconstruct
from ptydesign.reconstruct.start import start_state

WRONG = {18: (1.1, -0.8), 45: (-1.2, 0.5)}  # position -> by how many angstrom


def plan_of(engine="lsqml", slices=1, sweeps=4, **settings):
    content = {"engine": engine, "sweeps": sweeps, "group": 16, "refine_positions": True, **settings}
    start = {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0}
    return build(Plan, {"object": start, "engines": [content]}, "plan")


def searched_case(noise="amplitude", slices=1, modes=((1.0, 0),), mask=None, dirt=0.0, wrong=WRONG, room=None, **more):
    """(positions after one search, true ones, which were wrong), px, of the true object and probe; 72 non-square
    patterns. dirt: counts in the masked pixels; more: settings of the search."""
    dataset, transmission = toy.experiment(slices=slices, modes=modes)
    mask = np.ones(dataset.grid.shape) if mask is None else mask
    patterns = np.where(mask > 0, dataset.patterns, dirt)
    dataset = dataclasses.replace(dataset, mask=mask, patterns=patterns)
    plan = plan_of(slices=slices, noise=noise, **more)
    narrow = plan_of(slices=slices, refine_positions=False)  # a canvas within the toy's
    state = toy.true_state(start_state(dataset, narrow), dataset, transmission)
    powers = np.sum(np.abs(dataset.probe_guess) ** 2, axis=(-2, -1), keepdims=True)
    counts = 1e5 * 1.2**2
    state = state.replace(probe=dataset.probe_guess / np.sqrt(powers.sum() / counts))
    true = np.asarray(state.positions_px)
    start = true.copy()
    for index, off in wrong.items():
        start[index] += np.asarray(off) / dataset.grid.pixel_a
    room = capacity(len(true)) if room is None else room
    padded = np.concatenate([start, np.repeat(start[:1], room - len(start), axis=0)])
    state = state.replace(positions_px=padded, intensity=np.ones(room))
    state = jax.tree.map(lambda a: jnp.asarray(a, jnp.complex64 if np.iscomplexobj(a) else jnp.float32), state)
    settings = plan.engines[0]
    problem = make_problem(dataset, settings, room, np.float32)
    problem = problem._replace(nominal_a=state.positions_px * state.pixel_a + state.origin_a)
    parameters = {n: jnp.asarray(v, jnp.float32) for n, v in settings.parameters().items()}
    count, worst = len(true), position_search.searched(settings, len(true), 0)
    found = position_search.search(state, Context(problem, parameters, Options(noise)), worst).positions_px
    return np.asarray(found)[:count], true, start


def off_a(found, true):
    return np.linalg.norm(found - true, axis=1) * 0.3


@pytest.mark.parametrize("noise", NOISE_MODELS)
@pytest.mark.parametrize("slices,modes", [(1, ((1.0, 0),)), (2, ((0.7, 0), (0.3, 1)))])
def test_a_position_far_off_is_found_and_the_others_stay(noise, slices, modes):
    found, true, start = searched_case(noise, slices, modes)
    assert off_a(start, true)[[*WRONG]].min() > 1.2
    assert off_a(found, true)[[*WRONG]].max() < 0.08
    right = np.setdiff1d(np.arange(len(true)), [*WRONG])
    moved = found[right] - true[right]  # all together: the mean of all positions stays
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-4)
    np.testing.assert_allclose(found.mean(axis=0), start.mean(axis=0), atol=1e-3)


def test_masked_pixels_and_padding_have_no_effect():
    mask = np.ones((32, 40))
    mask[3:6, 2:9] = 0
    clean, true, _ = searched_case(mask=mask)
    dirty, _, _ = searched_case(mask=mask, dirt=1e4)
    wide, _, _ = searched_case(mask=mask, room=192)
    np.testing.assert_array_equal(clean, dirty)
    np.testing.assert_allclose(clean, wide, atol=1e-4)
    assert off_a(clean, true).max() < 0.08


def test_only_the_worst_and_only_within_the_radius():
    """One of 72 is the worse of two; a position that is further off than the radius finds nothing better there."""
    found, true, _ = searched_case(search_part=0.01)
    assert sorted(off_a(found, true) > 0.1) == [False] * 71 + [True]
    found, true, _ = searched_case(search_radius_a=0.4)
    assert off_a(found, true)[[*WRONG]].min() > 0.5


def test_a_prior_keeps_a_position_near_its_neighbours():
    """An expected error far below the distance forbids it."""
    found, _, start = searched_case(position_error_a=1e-3)
    np.testing.assert_allclose(found, start, atol=1e-4)


def test_continuous_settings_compile_nothing():
    searched_case()
    compiled = position_search._compiled._cache_size()
    searched_case(search_radius_a=1.2, search_part=0.2, position_error_a=2.0)
    assert position_search._compiled._cache_size() == compiled


def test_when_it_is_due_and_what_it_costs():
    settings = plan_of(search_every=4, positions_start=2, search_part=0.1).engines[0]
    assert [s for s in range(12) if position_search.due(settings, s)] == [6, 10]
    state = start_state(toy.experiment()[0], plan_of())
    models = 72 + 8 * position_search.TRIED
    assert position_search.transforms(settings, 72, state, 6) == 2 * models + 1
    assert position_search.transforms(settings, 72, state, 7) == 0
    for off in ({"search_every": 0}, {"refine_positions": False}):
        assert not any(position_search.due(plan_of(**off).engines[0], s) for s in range(40))
    dataset = toy.experiment(steps=(4, 4))[0]
    work = [
        np.diff(reconstruct(dataset, plan_of(search_every=n, positions_start=0))[1].work_gflop, prepend=0)
        for n in (2, 0)
    ]
    more = work[0] - work[1]
    assert np.nonzero(more > 1e-9)[0].tolist() == [2]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_searches(engine):
    """Two positions start further away than descent could go in so few sweeps."""
    true, _ = toy.experiment()
    wrong = true.positions_a.copy()
    wrong[[*WRONG]] += [[1.7, -1.6], [-1.9, 1.5]]
    data = dataclasses.replace(true, positions_a=wrong)
    plan = plan_of(engine, sweeps=11, search_every=6, search_radius_a=3.0, noise="poisson")
    apart = reconstruct(data, plan)[0].positions_a - true.positions_a
    assert np.linalg.norm(apart - np.median(apart, axis=0), axis=1)[[*WRONG]].max() < 0.2


def test_a_run_that_searches_resumes_identically(tmp_path):
    true, _ = toy.experiment(steps=(6, 6))
    rng = np.random.default_rng(2)
    data = dataclasses.replace(true, positions_a=true.positions_a + rng.normal(0, 0.6, true.positions_a.shape))
    plan, path = plan_of(sweeps=8, search_every=2, search_part=0.5, positions_start=1), tmp_path / "run.h5"
    whole, history, _ = reconstruct(data, plan)

    def stop(sweep, loss, state):
        if sweep == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(data, plan, observers=[stop], checkpoints=Checkpoints(path, every=2))
    state, again, _ = reconstruct(data, plan, resume=path)
    np.testing.assert_array_equal(again.loss, history.loss)
    np.testing.assert_array_equal(state.positions_px, whole.positions_px)
