"""Between engines: the state on another pixel, with other slices, other modes, describes the same experiment."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.reconstruct import resample
from ptydesign.reconstruct.forward import exit_waves, fft2, ifft2, optical, take, views
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.start import start_state


def plan_of(*engines, modes=()):
    return build(Plan, {"probe": {"mode_powers": modes}, "engines": [{"group": 16, **e} for e in engines]}, "plan")


def intensities(state):
    """(position, ky, kx) of a state, float64."""

    @jax.jit
    def all_of(state):
        shape = state.probe.shape[-2:]
        o = optical(state, shape)
        seen = views(state.positions_px, shape, o)

        def one(j):
            probe = ifft2(fft2(state.probe) * seen.shift(j))
            far = fft2(exit_waves(probe, take(state.object, seen.first[j], shape), o.propagators))
            return jnp.sum(jnp.abs(far) ** 2, axis=0)

        return jax.vmap(one)(jnp.arange(len(state.positions_px)))

    with jax.enable_x64(True):
        return np.asarray(all_of(jax.tree.map(jnp.asarray, state)))


def true_state(modes=((1.0, 0),)):
    """(noiseless dataset, state of the truth on a canvas), float64."""
    dataset, transmission = toy.experiment(shape=(24, 32), steps=(6, 7), noisy=False, modes=modes)
    plan = plan_of({"engine": "gradient"}, modes=tuple(p for p, _ in modes[1:]))
    return dataset, toy.true_state(start_state(dataset, plan), dataset, transmission)


@pytest.mark.parametrize("pixels", [(36, 40), (30, 33), (20, 26)])
def test_another_pixel_describes_the_same_experiment(pixels):
    dataset, state = true_state()
    # a specimen without frequencies that the coarser pixel can't hold
    fine = resample.resample_state(state, resample.Resample(pixels=pixels))
    assert fine.probe.shape == (1, *pixels)
    assert np.all(np.asarray(fine.object.shape[-2:]) % resample.CANVAS_MULTIPLE == 0)
    np.testing.assert_allclose(fine.positions_a, state.positions_a, atol=1e-9)
    np.testing.assert_allclose(np.asarray(pixels) * fine.pixel_a, np.asarray((24, 32)) * state.pixel_a)
    data = resample.resample_dataset(dataset, pixels)
    expected = intensities(fine)
    good = data.mask > 0
    assert good.sum() == min(24, pixels[0]) * min(32, pixels[1])
    error = np.linalg.norm((expected - data.patterns)[:, good]) / np.linalg.norm(data.patterns)
    assert error < (0.02 if min(np.subtract(pixels, (24, 32))) >= 0 else 0.06)


def test_padding_and_cropping_patterns_undo_each_other():
    data = toy.experiment(shape=(24, 32), steps=(6, 7))
    wide = resample.resample_dataset(data[0], (30, 39))
    back = resample.resample_dataset(wide, (24, 32))
    np.testing.assert_array_equal(back.patterns, data[0].patterns)
    np.testing.assert_array_equal(back.mask, data[0].mask)
    np.testing.assert_allclose(back.grid.pixel_a, data[0].grid.pixel_a)
    assert wide.patterns.sum() == data[0].patterns.sum()
    assert wide.mask.sum() == data[0].mask.sum()


def test_splitting_and_merging_slices_keeps_the_projection():
    _, state = true_state()
    split = resample.change_slices(state, 4, 10.0)
    np.testing.assert_allclose(split.thickness_a, [10.0] * 4)
    np.testing.assert_allclose(split.object.prod(axis=0), state.object[0], rtol=1e-12)
    np.testing.assert_allclose(split.object[0], split.object[3])
    merged = resample.change_slices(split, 1, None)
    np.testing.assert_allclose(merged.object, state.object, rtol=1e-12)
    np.testing.assert_allclose(merged.probe, state.probe, atol=1e-9 * np.abs(state.probe).max())
    assert merged.thickness_a == [40.0]
    # three slices of 20, 10 and 30 A into two of 30 A: the middle of a slice is not cut
    uneven = state.replace(object=split.object[:3], thickness_a=np.array([20.0, 10.0, 30.0]))
    two = resample.change_slices(uneven, 2, None)
    np.testing.assert_array_equal(two.object[0], uneven.object[0] * uneven.object[1])
    np.testing.assert_array_equal(two.object[1], uneven.object[2])


def test_thin_slices_describe_the_same_experiment():
    """A split of a thin specimen hardly changes the patterns, if the probe follows; 30 A x4 without it would."""
    dataset, state = true_state()
    split = resample.change_slices(state, 3, 4.0)
    error = np.linalg.norm(intensities(split) - intensities(state)) / np.linalg.norm(dataset.patterns)
    still = split.replace(probe=state.probe)
    without = np.linalg.norm(intensities(still) - intensities(state)) / np.linalg.norm(dataset.patterns)
    assert error < 0.3 * without


def test_modes_are_added_with_the_power_asked_and_dropped_by_power():
    _, state = true_state(modes=((0.7, 0), (0.3, 1)))
    total = np.sum(np.abs(state.probe) ** 2)
    four = resample.change_modes(state.probe, 4, 0.05)
    powers = np.sum(np.abs(four) ** 2, axis=(1, 2)) / total
    np.testing.assert_allclose(powers, [0.9 * 0.7, 0.9 * 0.3, 0.05, 0.05], rtol=1e-9)
    gram = np.einsum("ayx,byx->ab", four, np.conj(four))
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-9 * total
    back = resample.change_modes(four[::-1], 2, 0.05)
    np.testing.assert_allclose(back, state.probe, rtol=1e-9)


def test_a_sequence_with_everything_resampled_finds_the_object():
    dataset, transmission = toy.experiment()
    first = {"engine": "lsqml", "sweeps": 12, "resample": {"pixels": [24, 30]}}
    second = {
        "engine": "gradient",
        "sweeps": 15,
        "resample": {"pixels": [32, 40], "slices": 2, "slice_thickness_a": 2.0, "modes": 2, "new_power": 0.01},
    }
    state, history, outcome = reconstruct(dataset, plan_of(first, second))
    assert outcome.status == "all_sweeps_done", outcome.reason
    assert state.object.shape[0] == state.probe.shape[0] == 2
    assert len(history.loss) == 27
    assert toy.phase_error(state, transmission, dataset) < 0.35 * np.std(np.angle(transmission))
