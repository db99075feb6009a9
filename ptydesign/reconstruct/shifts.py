"""The shifts of several scans against each other, refined once a sweep from a sample of all positions."""

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
    """Positions after one step of the scans' shifts, and the canvas moved so that the first scan stays in its place."""
    if state.scan is None or not context.options.refine_shift:
        return state
    members = propagation.sample_of(groups, MEASURED * len(state.probe))
    step = jnp.clip(shift_steps(state, members, context), -LARGEST_PX, LARGEST_PX)
    moved = refine.inside(state.positions_px + step[state.scan], state)
    return state.replace(positions_px=moved, origin_a=state.origin_a - step[0] * state.pixel_a)


def shift_steps(state: ReconState, members: Group, context: Context) -> Float[Array, "scan 2"]:
    """(scan, 2) px: the damped Fisher step (y, x) of a shift of each scan that a group's members ask for.

    The object lies between where the scans see it. All of them move to it, each by its own part: were the first held on
    the canvas, the object would have to move instead, which takes many sweeps.
    """
    only = Options(noise=context.options.noise, refine_positions=True)
    g, h = refine.position_scores(state, members, context.replace(options=only))
    number, whose = len(state.probe), state.scan[members.indices]
    slopes, bends = (jnp.zeros((number, *a.shape[1:]), a.dtype).at[whose].add(a) for a in (g, h))
    steps = jax.vmap(lambda slope, bend: steps_of(slope[None], bend[None], 1)[0])(slopes, bends)
    weight = jnp.diagonal(bends, axis1=1, axis2=2) + jnp.finfo(steps.dtype).tiny
    return steps - jnp.sum(weight * steps, axis=0) / jnp.sum(weight, axis=0)


def transforms(settings: EngineConfig, count: int, state: ReconState) -> float:
    """Fourier transforms of one probe mode in a sweep: three forward models of each position that measures."""
    if state.scan is None or not settings.refine_shift:
        return 0
    return min(count, MEASURED * len(state.probe)) * 3 * 2 * state.object.shape[0]


def looks_back(scans: int, options: Options, groups: int, members: int) -> int:
    """How many first members of each group the end of a sweep looks at the patterns of."""
    return propagation.of_each(groups, members, MEASURED * scans) if scans > 1 and options.refine_shift else 0
