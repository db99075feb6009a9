"""A window of twice the detector's: pixels that integrate, and probes that are wider than the detector's window."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign import api
from ptydesign.grids import Grid
from ptydesign.reconstruct import pixels
from ptydesign.reconstruct.forward import Problem, compare_far
from ptydesign.reconstruct.misfit import misfit
from ptydesign.reconstruct.run import reconstruct

SHAPE = (24, 30)
FINER = 5  # samples of the simulation along an axis of a pixel


@pytest.mark.parametrize(("per_pixel", "error"), [(0.25, 0.003), (0.5, 0.031)])
def test_a_pixel_integrates_what_it_covers(per_pixel, error):
    samples = np.arange(64) / 2  # in pixels
    wave = jnp.asarray(np.cos(2 * np.pi * per_pixel * samples))[None] * jnp.ones((2, 1))
    found = pixels.summed(wave, (2, 32))[0, 0] / 2
    assert abs(found - np.sinc(per_pixel)) < error < 1 - np.sinc(per_pixel)


def test_counts_and_adjoint():
    rng = np.random.default_rng(0)
    fine, coarse = jnp.asarray(rng.random((12, 20))), jnp.asarray(rng.random((6, 10)))
    back = pixels.spread(coarse, (12, 20), adjoint=True)
    assert float(jnp.vdot(pixels.summed(fine, (6, 10)), coarse)) == pytest.approx(float(jnp.vdot(fine, back)), rel=1e-5)
    np.testing.assert_allclose(pixels.summed(jnp.ones((12, 20)), (6, 10)), 4.0, rtol=1e-6)
    np.testing.assert_allclose(pixels.spread(jnp.ones((6, 10)), (12, 20), adjoint=False), 1.0)
    assert pixels.summed(fine, (12, 20)) is fine


def test_the_step_is_the_losss_gradient():
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        far = jnp.asarray(rng.normal(size=(2, 12, 16)) + 1j * rng.normal(size=(2, 12, 16)))
        counts = jnp.asarray(rng.poisson(4.0, (6, 8)) * 1.0)
        mask = jnp.asarray((rng.random((6, 8)) > 0.1) * 1.0)
        transfer = jnp.asarray(rng.uniform(0.3, 1, (6, 5)))
        transfer = transfer.at[4:, 0].set(transfer[2:0:-1, 0]).at[4:, -1].set(transfer[2:0:-1, -1])
        problem = Problem(None, mask, jnp.full((6, 8), 0.1), jnp.asarray(1e-3), jnp.asarray(1.0), transfer=transfer)
        weight = jnp.asarray(0.9)

        def loss(far):
            return jnp.sum(compare_far(far, counts, weight, problem, "poisson")[1])

        step, _ = compare_far(far, counts, weight, problem, "poisson", gradient=True)
        np.testing.assert_allclose(step, -jnp.conj(jax.grad(loss)(far)) / 2, rtol=1e-9)


def integrated(defocus_a, dose=1e6):
    """(dataset of a detector whose pixels sum a pattern that is computed finely, its object)."""
    wide = tuple(n * FINER for n in SHAPE)
    dataset, object_ = toy.experiment(shape=wide, steps=(6, 5), defocus_a=defocus_a, dose=dose, noisy=False)
    moved = np.roll(dataset.patterns, FINER // 2, axis=(-2, -1))
    sums = moved.reshape(len(moved), SHAPE[0], FINER, SHAPE[1], FINER).sum(axis=(2, 4))
    counts = np.random.default_rng(1).poisson(sums).astype(np.float32)
    grid = Grid(SHAPE, dataset.grid.pixel_a)
    return dataclasses.replace(dataset, patterns=counts, grid=grid, mask=np.ones(SHAPE), probe_guess=None), object_


ENGINES = [
    {"engine": "lsqml", "sweeps": 20, "group": 8},
    {"engine": "lsqml", "sweeps": 12, "batches": "compact"},
    {"engine": "gradient", "rule": "lbfgs", "sweeps": 12},
    {"engine": "epie", "sweeps": 12},
    {"engine": "difference_map", "sweeps": 20},
]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: "-".join(map(str, engine.values())))
def test_a_wide_probe_gives_the_object_back(engine):
    """10 A of probe, in windows of 7.2 and 9 A that the detector's pixels allow."""
    dataset, object_ = integrated(defocus_a=200.0)
    losses, errors = {}, {}
    for window in (1, 2):
        plan = api.make_plan(engines=[engine | {"noise": "poisson"}], probe={"window": window})
        state = reconstruct(dataset, plan)[0]
        assert state.probe.shape[-2:] == (window * SHAPE[0], window * SHAPE[1])
        losses[window] = misfit(state, dataset, "poisson", 1e-3)
        errors[window] = toy.phase_error(state, object_, dataset)
    assert losses[2] < 0.5 * losses[1]
    assert errors[2] < 0.5 * errors[1]
