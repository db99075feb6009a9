"""How well a finished reconstruction predicts patterns that it has not seen: the misfit of held-out patterns.

A pattern's own position and intensity are nuisances that no other pattern can tell; they are fitted to it, with object
and probe fixed, for every plan alike. What remains is the misfit of object and probe.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ptydesign.reconstruct import fisher, refine
from ptydesign.reconstruct.context import Context, Group
from ptydesign.reconstruct.engines import ENGINES
from ptydesign.reconstruct.forward import exit_waves, probes_of, take, views
from ptydesign.reconstruct.run import make_problem
from ptydesign.reconstruct.shapes import Index, Scalar
from ptydesign.types import Dataset, ReconState
from ptydesign.waves import fft2, ifft2

ROUNDS = 8  # Fisher steps of each held-out pattern's position and intensity
CLIP_PX = 0.3
NOISE = "anscombe"


def heldout_misfit(state: ReconState, nominal_a: Float[np.ndarray, "position 2"], heldout: Dataset) -> float:
    """Mean over the pixels of held-out patterns of (2 sqrt(y + 3/8) - 2 sqrt(I + 3/8))^2: about 1 for a perfect model
    and many counts (Anscombe, Biometrika 35:246, 1948), less where counts are few.

    state: a finished reconstruction (NumPy, without padding). nominal_a: (position, 2) nominal positions of what it was
    reconstructed from: the affine map from these to the found ones says where held-out positions start.
    """
    real = np.asarray(state.positions_px).dtype.type
    found = np.asarray(state.positions_px)
    nominal = (np.asarray(nominal_a) - state.origin_a) / state.pixel_a
    basis = np.column_stack([np.ones(len(nominal)), nominal])
    affine = np.linalg.lstsq(basis, found, rcond=None)[0]
    wanted = (heldout.positions_a - state.origin_a) / state.pixel_a
    positions = np.column_stack([np.ones(len(wanted)), wanted]) @ affine
    settings = ENGINES["lsqml"].config(refine_positions=True, refine_intensity=True, noise=NOISE)
    problem = make_problem(heldout, settings, len(positions), real)
    start = state.replace(positions_px=positions.astype(real), intensity=np.ones(len(positions), real))
    if state.opr_weights is not None:  # a probe that varies over the scan is that of the nearest position
        nearest = np.argmin(np.linalg.norm(wanted[:, None] - nominal[None], axis=-1), axis=1)
        start = start.replace(opr_weights=np.asarray(state.opr_weights)[nearest])
    start = jax.tree.map(jnp.asarray, start)
    return float(_misfit(start, Context(problem, {}, settings.options())))


@jax.jit
def _misfit(state: ReconState, context: Context) -> Scalar:
    context = context.at(state)
    problem, o = context.problem, context.optical
    shape = state.probe.shape[-2:]
    members = Group(jnp.arange(len(state.positions_px), dtype=jnp.int32), problem.positions)

    def step(_: Index, state: ReconState) -> ReconState:
        g, h = refine.position_scores(state, members, context)
        steps = fisher.steps_of(g[:, :3], h[:, :3, :3], members.count)
        moved = state.positions_px + jnp.clip(steps[:, :2], -CLIP_PX, CLIP_PX)
        factor = jnp.exp(jnp.clip(steps[:, 2], -0.1, 0.1))
        return state.replace(positions_px=refine.inside(moved, state), intensity=state.intensity * factor)

    state = jax.lax.fori_loop(0, ROUNDS, step, state)
    seen = views(state.positions_px, shape, o)
    probes = probes_of(state)

    def one(slot: Index) -> Scalar:
        wave = exit_waves(
            ifft2(probes.at(slot) * seen.shift(slot)), take(state.object, seen.first[slot], shape), o.propagators
        )
        far = fft2(wave)
        expected = problem.expected(far, state.intensity[slot])
        difference = 2 * jnp.sqrt(problem.patterns[slot] + 0.375) - 2 * jnp.sqrt(expected + 0.375)
        return jnp.sum(problem.mask * difference**2)

    return jnp.sum(jax.lax.map(one, members.indices)) / (len(members.indices) * jnp.sum(problem.mask))
