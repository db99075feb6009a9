"""Difference map and RAAR against the papers' equations, written out in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.reconstruct import forward
from ptydesign.reconstruct.context import Context, Options
from ptydesign.reconstruct.engines import projections
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import reconstruct
from ptydesign.reconstruct.start import start_state


def plan_of(engine, sweeps, **settings):
    fixed = {"group": 16, "probe_start": 0, "max_amplitude": 1e6, "offset": 1e-3}
    section = {"engine": engine, "sweeps": sweeps, **fixed, **settings}
    return build(Plan, {"precision": "double", "engines": [section]}, "plan")


def sweeps_in_numpy(engine, state, patterns, sweeps, beta, inertia):
    """Object and probe (one mode) after some sweeps with hard projections, up to the noise model's offset."""
    object_, probe = state.object[0].copy(), state.probe[0].copy()
    ny, nx = probe.shape
    fy, fx = np.fft.fftfreq(ny)[:, None], np.fft.fftfreq(nx)[None]
    whole = np.round(state.positions_px).astype(int)
    windows = [np.s_[y - ny // 2 : y - ny // 2 + ny, x - nx // 2 : x - nx // 2 + nx] for y, x in whole]
    ramps = [np.exp(-2j * np.pi * (fy * f[0] + fx * f[1])) for f in state.positions_px - whole]

    def seen():
        return [np.fft.ifft2(np.fft.fft2(probe) * ramp) for ramp in ramps]

    def constrained(wave, pattern):
        far = np.fft.fft2(wave, norm="ortho")
        return np.fft.ifft2(far * np.sqrt((pattern + offset) / (np.abs(far) ** 2 + offset)), norm="ortho")

    offset = 1e-3 * patterns.mean()
    waves = [p * object_[w] for p, w in zip(seen(), windows, strict=True)]
    for number in range(sweeps):
        fitted, probes = [], seen()
        for j, pattern in enumerate(patterns):
            model = probes[j] * object_[windows[j]]
            if engine == "raar":
                b = beta if number else 0.0
                waves[j] = b * (waves[j] + model) + (1 - 2 * b) * constrained(waves[j], pattern)
                fitted.append(2 * constrained(waves[j], pattern) - waves[j])
            else:
                waves[j] = waves[j] + beta * (constrained(2 * model - waves[j], pattern) - model)
                fitted.append(waves[j])
        lit = np.zeros(object_.shape)
        total = np.zeros(object_.shape, complex)
        for j, window in enumerate(windows):
            lit[window] += np.abs(probes[j]) ** 2
            total[window] += np.conj(probes[j]) * fitted[j]
        object_ = (total + inertia * lit.max() * object_) / (lit + inertia * lit.max())
        spectra = [np.fft.fft2(np.conj(object_[w]) * f) for w, f in zip(windows, fitted, strict=True)]
        weight = sum(np.abs(object_[w]) ** 2 for w in windows)
        probe = np.fft.ifft2(sum(s * np.conj(r) for s, r in zip(spectra, ramps, strict=True))) / weight
    return object_, probe


@pytest.mark.parametrize("engine", ["difference_map", "raar"])
def test_sweeps_are_the_papers_equations(engine):
    dataset, _ = toy.experiment(steps=(4, 5))
    plan = plan_of(engine, sweeps=3, beta=0.7, inertia=0.03, least=0.0, most=1.0)
    state, _, _ = reconstruct(dataset, plan)
    object_, probe = sweeps_in_numpy(engine, start_state(dataset, plan), dataset.patterns, 3, 0.7, 0.03)
    np.testing.assert_allclose(state.object[0], object_, atol=1e-5)
    np.testing.assert_allclose(state.probe[0], probe, atol=1e-5 * np.abs(probe).max())


def test_constraint_stays_between_its_bounds():
    """Amplitudes far from, near, and above the data's, for each noise model: part of the way, never beyond."""
    pattern = jnp.full((1, 4, 6), 9.0)
    far = jnp.linspace(0.05, 8.0, 24).reshape(1, 4, 6) * jnp.exp(0.3j)
    one = jnp.asarray(1.0)
    problem = forward.Problem(pattern, jnp.ones((4, 6)), jnp.zeros((4, 6)), jnp.asarray(1e-6), one)
    for noise in ("amplitude", "poisson", "gaussian", "anscombe"):
        context = Context(problem, {"least": 0.5, "most": 0.9}, Options(noise))
        new = projections.constrained(far, jnp.asarray(0), one, context)
        way = (np.abs(new) - np.abs(far)) / (3.0 - np.abs(far))
        assert way.min() > 0.5 - 1e-3
        assert way.max() < 0.9 + 1e-3
        np.testing.assert_allclose(np.angle(new), 0.3, atol=1e-5)


def test_waves_follow_their_probe_and_modes_that_turn():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        ky, kx = np.fft.fftfreq(12)[:, None], np.fft.fftfreq(14)[None]
        grid = forward.Optical(jnp.asarray(ky), jnp.asarray(kx), None)
        wave = rng.normal(size=(12, 14))
        carried = np.fft.fft2(wave) * projections.moved(jnp.asarray([-0.25, 0.5]), jnp.asarray([0.75, -1.5]), grid)
        np.testing.assert_allclose(np.fft.ifft2(carried), np.roll(wave, (1, -2), axis=(0, 1)), atol=1e-12)

        modes = rng.normal(size=(3, 8, 10)) + 1j * rng.normal(size=(3, 8, 10))
        unitary = np.linalg.qr(rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)))[0]
        turn = projections.turned(jnp.asarray(modes), jnp.asarray(np.tensordot(unitary, modes, 1)))
        np.testing.assert_allclose(turn, unitary, atol=1e-12)
