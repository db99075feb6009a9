"""The shift of each further scan against the first, refined once a sweep from a sample of all positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ptydesign.reconstruct import propagation, refine
from ptydesign.reconstruct.context import Context, Group, Groups, Options
from ptydesign.reconstruct.engine import EngineConfig
from ptydesign.reconstruct.fisher import steps_of
from ptydesign.types import ReconState

MEASURED = 64  # positions of a sweep that measure the shift, for each scan
LARGEST_PX = 0.5  # step of a sweep


def sweep(state: ReconState, groups: Groups, context: Context) -> ReconState:
    """The positions of further scans after one step of their shifts. The first scan stays: it holds the object."""
    if state.scan is None or not context.options.refine_shift:
        return state
    members = propagation.sample_of(groups, MEASURED * len(state.probe))
    step = shift_steps(state, members, context).at[0].set(0.0)
    moved = state.positions_px + jnp.clip(step, -LARGEST_PX, LARGEST_PX)[state.scan]
    return state.replace(positions_px=refine.inside(moved, state))


def shift_steps(state: ReconState, members: Group, context: Context) -> Float[Array, "scan 2"]:
    """(scan, 2) px: the damped Fisher step (y, x) of a shift of each scan that a group's members ask for."""
    only = Options(noise=context.options.noise, refine_positions=True)
    g, h = refine.position_scores(state, members, context.replace(options=only))
    number, whose = len(state.probe), state.scan[members.indices]
    sums = (jnp.zeros((number, *a.shape[1:]), a.dtype).at[whose].add(a) for a in (g, h))
    return jax.vmap(lambda slope, bend: steps_of(slope[None], bend[None], 1)[0])(*sums)


def transforms(settings: EngineConfig, count: int, state: ReconState) -> float:
    """Fourier transforms of one probe mode in a sweep: three forward models of each position that measures."""
    if state.scan is None or not settings.refine_shift:
        return 0
    return min(count, MEASURED * len(state.probe)) * 3 * 2 * state.object.shape[0]


def looks_back(scans: int, options: Options, groups: int, members: int) -> int:
    """How many first members of each group the end of a sweep looks at the patterns of."""
    return propagation.of_each(groups, members, MEASURED * scans) if scans > 1 and options.refine_shift else 0
