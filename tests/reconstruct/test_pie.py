"""One update of ePIE, rPIE and 3PIE against the papers' equations, written out in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from ptydesign.config import build
from ptydesign.reconstruct.context import Context, Group
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.run import make_problem
from ptydesign.reconstruct.start import start_state


def divisor(intensity, alpha):
    return (1 - alpha) * intensity + alpha * intensity.max()


def visit_in_numpy(object_, probe, position, pattern, distance_a, pixel_a, steps, alphas):
    """Maiden, Humphry & Rodenburg (2012), eqs. 5-12, with rPIE's divisors; object and probe are changed in place."""
    ny, nx = probe.shape[-2:]
    fy, fx = np.fft.fftfreq(ny)[:, None], np.fft.fftfreq(nx)[None]
    fresnel = np.exp(-1j * np.pi * toy.WAVELENGTH_A * distance_a * (fy**2 + fx**2) / pixel_a**2)
    whole = np.round(position).astype(int)
    ramp = np.exp(-2j * np.pi * (fy * (position - whole)[0] + fx * (position - whole)[1]))
    window = np.s_[whole[0] - ny // 2 : whole[0] - ny // 2 + ny, whole[1] - nx // 2 : whole[1] - nx // 2 + nx]
    seen = np.fft.ifft2(np.fft.fft2(probe) * ramp)
    incident = [seen]
    for layer in object_[:-1]:
        incident.append(np.fft.ifft2(np.fft.fft2(incident[-1] * layer[window]) * fresnel))
    far = np.fft.fft2(incident[-1] * object_[-1][window], norm="ortho")
    projected = far * np.sqrt(pattern / np.sum(np.abs(far) ** 2, axis=0))
    change = np.fft.ifft2(projected - far, norm="ortho")
    for layer, wave in zip(object_[::-1], incident[::-1], strict=True):
        before = layer[window].copy()
        brightness = np.sum(np.abs(wave) ** 2, axis=0)
        layer[window] += steps[0] * np.sum(np.conj(wave) * change, axis=0) / divisor(brightness, alphas[0])
        if wave is seen:
            d_probe = np.conj(before) * change / divisor(np.abs(before) ** 2, alphas[1])
            probe += steps[1] * np.fft.ifft2(np.fft.fft2(d_probe) * np.conj(ramp))
        else:
            change = np.conj(before) * change / np.max(np.abs(before) ** 2)
            change = np.fft.ifft2(np.fft.fft2(change) * np.conj(fresnel))


@pytest.mark.parametrize("engine,slices", [("epie", 1), ("rpie", 1), ("epie", 3), ("rpie", 3)])
def test_a_group_is_the_papers_equations_position_by_position(engine, slices):
    dataset, _ = toy.experiment(slices=slices, modes=((0.7, 0), (0.3, 1)), noisy=False)
    own = {"object_alpha": 0.2, "probe_alpha": 0.6} if engine == "rpie" else {}
    plan = build(
        Plan,
        {
            "object": {"slices": slices, "slice_thickness_a": 40.0 if slices > 1 else 0.0},
            "probe": {"mode_powers": [0.3]},
            "engines": [{"engine": engine, "object_step": 0.9, "probe_step": 0.4, "offset": 1e-13, **own}],
        },
        "plan",
    )
    settings = plan.engines[0]
    rng = np.random.default_rng(2)
    members = [5, 6, 30]
    with jax.enable_x64(True):
        state = jax.tree.map(jnp.asarray, start_state(dataset, plan))
        # transmissions that absorb, so that no divisor is one by chance
        rough = rng.uniform(0.6, 1.0, state.object.shape) * np.exp(1j * rng.normal(0, 0.2, state.object.shape))
        state = state.replace(object=jnp.asarray(rough))
        object_, probe = rough.copy(), np.array(state.probe)
        problem = make_problem(dataset, settings, len(dataset.patterns), np.float64)
        group = Group(jnp.asarray([*members, 0], jnp.int32), jnp.asarray(3, jnp.int32))
        parameters = {**settings.parameters(), "probe_on": 1.0}
        context = Context(problem, parameters, settings.options()).at(state)
        updated, _, loss = ENGINES[engine].group(state, ENGINES[engine].init(state, context.options), group, context)
        assert loss > 0
    positions = np.asarray(state.positions_px)
    alphas = (own.get("object_alpha", 1.0), own.get("probe_alpha", 1.0))
    for j in members:
        visit_in_numpy(object_, probe, positions[j], dataset.patterns[j], 40.0, 0.3, (0.9, 0.4), alphas)
    np.testing.assert_allclose(np.asarray(updated.object), object_, atol=1e-6)
    np.testing.assert_allclose(np.asarray(updated.probe), probe, atol=1e-6 * np.abs(probe).max())
    assert np.abs(object_ - rough).max() > 0.01
