"""Noise models, batches, forward model and its adjoint, against closed forms and plain NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.mtf import mtf
from ptydesign.reconstruct import forward
from ptydesign.reconstruct.batches import BATCHES, padded_groups
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.regularise import orthogonal_modes
from ptydesign.reconstruct.run import capacity, make_problem, reconstruct
from ptydesign.reconstruct.start import start_state


@pytest.mark.parametrize("name", NOISE_MODELS)
def test_slope_is_the_derivative_of_the_likelihood(name):
    model = NOISE_MODELS[name]
    rng = np.random.default_rng(1)
    expected, counts, offset = rng.uniform(0.1, 9, (3, 4)), rng.poisson(3, (3, 4)).astype(float), 1e-3
    with jax.enable_x64(True):
        step = 1e-6
        for index in np.ndindex(expected.shape):
            # the Gaussian model's variance is the mean of the expected counts: hold it fixed while differentiating
            up, down = expected.copy(), expected.copy()
            up[index] += step
            down[index] -= step
            if name == "gaussian":
                variance = expected.mean() + offset
                numeric = ((up - counts) ** 2 - (down - counts) ** 2)[index] / (4 * step * variance)
            else:
                numeric = float((model.nll(up, counts, offset) - model.nll(down, counts, offset))[index]) / (2 * step)
            assert float(model.slope(jnp.asarray(expected), counts, offset)[index]) == pytest.approx(
                float(numeric), rel=1e-5, abs=1e-8
            )


@pytest.mark.parametrize("name", NOISE_MODELS)
def test_noise_models_are_finite_in_the_dark_and_zero_at_the_data(name):
    model = NOISE_MODELS[name]
    zero = jnp.zeros((2, 2))
    for counts in (zero, zero + 3.0):
        assert np.all(np.isfinite(model.nll(zero, counts, 1e-4)))
        assert np.all(np.isfinite(model.slope(zero, counts, 1e-4)))
    same = jnp.asarray([[1.0, 5.0], [0.0, 2.0]])
    np.testing.assert_allclose(model.nll(same, same, 1e-4), 0, atol=1e-6)
    np.testing.assert_allclose(model.slope(same, same, 1e-4), 0, atol=1e-6)


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("count,groups", [(7, 7), (50, 6), (64, 8), (65, 8), (3, 1)])
def test_batches_are_balanced_and_drop_nothing(kind, count, groups):
    positions = np.random.default_rng(0).uniform(0, 10, (count, 2))
    made = BATCHES[kind](positions, groups, np.random.default_rng(5))
    sizes = [len(g) for g in made]
    assert len(made) == groups
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(made)) == list(range(count))
    again = BATCHES[kind](positions, groups, np.random.default_rng(5))
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))


def test_compact_is_closer_together_than_sparse():
    positions = np.stack(np.meshgrid(np.arange(12.0), np.arange(9.0)), -1).reshape(-1, 2)

    def nearest_neighbour(kind):
        groups = BATCHES[kind](positions, 12, np.random.default_rng(0))
        gaps = []
        for g in groups:
            d = np.linalg.norm(positions[g][:, None] - positions[g][None], axis=-1) + 1e9 * np.eye(len(g))
            gaps.append(d.min(axis=1).mean())
        return np.mean(gaps)

    assert nearest_neighbour("compact") < 1.2 < nearest_neighbour("random") + 0.2 < nearest_neighbour("sparse")


def test_padded_groups_hold_every_position_once():
    positions = np.random.default_rng(0).uniform(0, 10, (37, 2))
    indices, counts = padded_groups(positions, 8, "sparse", np.random.default_rng(1), (6, 8))
    assert counts.sum() == 37
    assert sorted(np.concatenate([row[:n] for row, n in zip(indices, counts, strict=True)])) == list(range(37))


@pytest.mark.parametrize("slices", [1, 3])
def test_forward_matches_numpy(slices):
    dataset, transmission = toy.experiment(slices=slices, modes=((0.7, 0), (0.3, 1)), noisy=False)
    plan = build(
        Plan,
        {
            "object": {"slices": slices, "slice_thickness_a": 40.0},
            "probe": {"mode_powers": [0.3]},
            "engines": [{"engine": "lsqml"}],
        },
        "plan",
    )
    with jax.enable_x64(True):
        state = start_state(dataset, plan)
        pixel = dataset.grid.pixel_a[0]
        # put the true object onto the canvas: move the canvas to a whole pixel of the specimen
        origin = np.round(np.asarray(state.origin_a) / pixel).astype(int)
        canvas = np.ones(state.object.shape, complex)
        low = np.maximum(origin, 0)
        part = transmission[:, low[0] : origin[0] + canvas.shape[1], low[1] : origin[1] + canvas.shape[2]]
        top = low - origin
        canvas[:, top[0] : top[0] + part.shape[1], top[1] : top[1] + part.shape[2]] = part
        positions = dataset.positions_a / pixel - origin
        state = jax.tree.map(jnp.asarray, state.replace(object=canvas, positions_px=positions))
        o = forward.optical(state, dataset.grid.shape)
        seen = forward.views(state.positions_px, dataset.grid.shape, o)
        for j in (0, 17, len(positions) - 1):
            probe = forward.ifft2(forward.fft2(state.probe) * seen.shift(j))
            patch = forward.take(state.object, seen.first[j], dataset.grid.shape)
            far = forward.fft2(forward.exit_waves(probe, patch, o.propagators))
            expected = np.sum(np.abs(far) ** 2, axis=0)
            np.testing.assert_allclose(expected, dataset.patterns[j], rtol=1e-9, atol=1e-9 * dataset.patterns.max())


@pytest.mark.parametrize("slices,modes", [(1, 1), (1, 3), (4, 2)])
def test_adjoint_dot_product(slices, modes):
    """<J d, w> = <d, J^H w> for probe and object changes d and a wave w, float64, non-square."""
    rng = np.random.default_rng(0)

    def noise(*shape):
        return jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))

    with jax.enable_x64(True):
        probe, d_probe = noise(modes, 12, 10), noise(modes, 12, 10)
        patch, d_patch = noise(slices, 12, 10), noise(slices, 12, 10)
        propagators = jnp.exp(1j * jnp.asarray(rng.uniform(0, 6, (slices - 1, 12, 10))))
        wave = noise(modes, 12, 10)
        _, along = jax.jvp(lambda p, q: forward.exit_waves(p, q, propagators), (probe, patch), (d_probe, d_patch))
        to_probe, to_patch = forward.exit_waves_and_adjoint(probe, patch, propagators)[1](wave)
        left = np.vdot(along, wave)
        right = np.vdot(d_probe, to_probe) + np.vdot(d_patch, to_patch)
        assert abs(left - right) < 1e-12 * abs(left)


@pytest.mark.parametrize("at_nyquist", [1.0, 0.4])
@pytest.mark.parametrize("name", ["amplitude", "poisson", "anscombe"])
def test_wave_gradient_against_finite_differences(name, at_nyquist):
    rng = np.random.default_rng(3)
    shape = (6, 8)
    with jax.enable_x64(True):
        wave = jnp.asarray(rng.normal(size=(2, *shape)) + 1j * rng.normal(size=(2, *shape)))
        direction = jnp.asarray(rng.normal(size=(2, *shape)) + 1j * rng.normal(size=(2, *shape)))
        problem = forward.Problem(
            jnp.zeros((1, *shape)),
            jnp.asarray(rng.integers(0, 2, shape).astype(float)),
            jnp.full(shape, 0.2),
            jnp.asarray(1e-3),
            jnp.asarray(1.0),
            transfer=mtf(shape, at_nyquist),
        )
        pattern = jnp.asarray(rng.poisson(2.0, shape).astype(float))

        def loss(t):
            return float(jnp.sum(forward.compare_with_data(wave + t * direction, pattern, 1.3, problem, name)[1]))

        step, _ = forward.compare_with_data(wave, pattern, 1.3, problem, name, gradient=True)
        numeric = (loss(1e-5) - loss(-1e-5)) / 2e-5
        # d loss = 2 Re <gradient with respect to conj(wave), d wave>; `step` is the negative gradient
        assert -2 * np.vdot(step, direction).real == pytest.approx(numeric, rel=1e-6)


def test_start_powers_are_what_was_asked():
    dataset, _ = toy.experiment()
    plan = build(Plan, {"probe": {"mode_powers": [0.2, 0.1]}, "engines": [{"engine": "lsqml"}]}, "plan")
    probe = np.asarray(start_state(dataset, plan).probe)
    powers = np.sum(np.abs(probe) ** 2, axis=(1, 2))
    counts = dataset.patterns.sum(axis=(1, 2)).mean()
    np.testing.assert_allclose(powers / counts, [0.7, 0.2, 0.1], rtol=1e-10)


def test_orthogonal_modes_keep_the_intensity():
    dataset, _ = toy.experiment()
    plan = build(Plan, {"probe": {"mode_powers": [0.2, 0.1]}, "engines": [{"engine": "lsqml"}]}, "plan")
    with jax.enable_x64(True):
        state = jax.tree.map(jnp.asarray, start_state(dataset, plan))
        mixed = state.replace(probe=jnp.tensordot(jnp.asarray([[1, 1, 0], [0, 1, 2], [1, 0, 1.0]]), state.probe, 1))
        rotated = orthogonal_modes(mixed)
        np.testing.assert_allclose(
            np.sum(np.abs(rotated.probe) ** 2, axis=0), np.sum(np.abs(mixed.probe) ** 2, axis=0), rtol=1e-8, atol=1e-8
        )
        gram = np.einsum("ayx,byx->ab", np.asarray(rotated.probe), np.conj(rotated.probe))
        powers = np.diag(gram).real
        assert np.abs(gram - np.diag(powers)).max() < 1e-8 * powers.max()
        assert np.all(np.diff(powers) <= 0)


def test_capacity_is_enough_and_never_wasteful():
    sizes = [capacity(n) for n in range(1, 3000)]
    assert all(s >= n for n, s in enumerate(sizes, start=1))
    assert len(set(sizes)) < 16
    assert max(s / n for n, s in enumerate(sizes, start=1) if n > 32) <= 1.5


@pytest.mark.parametrize(
    "plan,words",
    [
        ({"engines": []}, "engines"),
        ({"engines": [{"engine": "lsqlm"}]}, "lsqml"),
        ({"engines": [{"engine": "lsqml", "sweps": 3}]}, "sweeps"),
        ({"engines": [{"engine": "lsqml", "delta": -1}]}, "delta"),
        ({"object": {"slices": 3}, "engines": [{"engine": "lsqml"}]}, "slice_thickness_a"),
        ({"probe": {"mode_powers": [0.7, 0.4]}, "engines": [{"engine": "lsqml"}]}, "mode_powers"),
    ],
)
def test_bad_plans_are_refused_by_name(plan, words):
    with pytest.raises(InputError, match=words):
        build(Plan, plan, "plan.yaml")


def test_bad_datasets_are_refused():
    dataset, _ = toy.experiment()
    plan = build(Plan, {"engines": [{"engine": "lsqml"}]}, "plan")
    for change, words in [
        ({"patterns": dataset.patterns - 5}, "patterns"),
        ({"patterns": np.where(dataset.patterns > 50, np.nan, dataset.patterns)}, "patterns"),
        ({"positions_a": dataset.positions_a[:-1]}, "positions_a"),
        ({"mask": dataset.mask[:-1]}, "pixels"),
    ]:
        with pytest.raises(InputError, match=words):
            type(dataset)(**{**vars(dataset), **change})
    blind = type(dataset)(**{**vars(dataset), "optics": None, "probe_guess": None})
    with pytest.raises(InputError, match="optics"):
        reconstruct(blind, plan)
    empty = type(dataset)(**{**vars(dataset), "patterns": dataset.patterns * 0})
    with pytest.raises(InputError, match="count"):
        make_problem(empty, plan.engines[0], 96, np.float32)
