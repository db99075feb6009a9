"""One sweep over all groups: one compiled call, or one for each chunk of groups where patterns stay on the host.

Both are the same three steps: where the sweep starts from, the groups, the end of the sweep.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from ptydesign.reconstruct import accelerate, cores, opr, refine, shifts
from ptydesign.reconstruct.context import Context, Groups, Options, Parameters
from ptydesign.reconstruct.engine import Engine, Memory
from ptydesign.reconstruct.feed import Host
from ptydesign.reconstruct.forward import Problem
from ptydesign.reconstruct.regularise import clamp, constrain, orthogonal_modes
from ptydesign.reconstruct.shapes import Index, Scalar
from ptydesign.types import ReconState

Last = tuple[ReconState, Memory]  # as the sweep before left them


class Swept(NamedTuple):
    """What a sweep, or a part of it, leaves. memory: the engine's own within a sweep, with what momentum remembers
    between sweeps; loss: summed over the groups so far."""

    state: ReconState
    memory: Memory
    loss: Scalar


@functools.partial(jax.jit, static_argnames="engine", donate_argnums=(0, 1))
def one_sweep(state: ReconState, memory: Memory, groups: Groups, context: Context, engine: Engine) -> Swept:
    """All groups of a sweep, then the engine's end of a sweep."""
    run = functools.partial(_whole, engine)
    return cores.on_all(run, engine.cores())(state, memory, groups, context)


@functools.partial(jax.jit, static_argnames=("options", "engine"), donate_argnums=(0, 1))
def sweeps_together(
    state: ReconState,
    memory: Memory,
    groups: Groups,
    problem: Problem,
    parameters: Parameters,
    options: Options,
    engine: Engine,
) -> Swept:
    """`one_sweep` of several reconstructions. All arrays have one axis more, the first: the reconstruction."""

    def one(state: ReconState, memory: Memory, groups: Groups, problem: Problem, parameters: Parameters) -> Swept:
        return _whole(engine, state, memory, groups, Context(problem, parameters, options))

    return jax.vmap(one)(state, memory, groups, problem, parameters)


def _whole(engine: Engine, state: ReconState, memory: Memory, groups: Groups, context: Context) -> Swept:
    before = _start(state, memory, context)
    swept = _groups(engine, before, groups, context)
    return _end(engine, (state, memory), before.state, swept, groups, context)


def sweep_in_chunks(
    state: ReconState,
    memory: Memory,
    indices: Int[np.ndarray, "group slot"],
    counts: Int[np.ndarray, " group"],
    context: Context,
    engine: Engine,
    host: Host,
) -> Swept:
    """`one_sweep` with patterns on the host; the context's problem is without them.

    Keeps one more copy of state and memory meanwhile: what momentum and refinements compare the end with.
    """
    before = start(state, memory, context, engine)
    # what is given away is placed as each call leaves it, so that none compiles anew
    swept: Swept = cores.placed(_copied(before), engine.cores())
    for first in range(0, np.count_nonzero(counts), host.groups):
        part = np.zeros((host.groups, indices.shape[1]), np.int32), np.zeros(host.groups, np.int32)
        for whole, chunk in zip((indices, counts), part, strict=True):
            here = whole[first : first + host.groups]
            chunk[: len(here)] = here
        sent = context.replace(problem=host.put(context.problem, *part))
        swept.loss.block_until_ready()  # no more than two chunks at once
        swept = some_groups(swept, Groups(*map(jnp.asarray, part)), sent, engine)
    if host.last:
        looked_at = host.put(context.problem, indices[:, : host.last], np.minimum(counts, host.last))
        context = context.replace(problem=looked_at)
    groups = Groups(jnp.asarray(indices), jnp.asarray(counts))
    return end((state, memory), before.state, swept, groups, context, engine)


@functools.partial(jax.jit, static_argnames="engine")
def start(state: ReconState, memory: Memory, context: Context, engine: Engine) -> Swept:
    """What the first group of a sweep finds."""
    return cores.on_all(_start, engine.cores())(state, memory, context)


@functools.partial(jax.jit, static_argnames="engine", donate_argnums=0)
def some_groups(swept: Swept, groups: Groups, context: Context, engine: Engine) -> Swept:
    """After these groups, too."""
    return cores.on_all(functools.partial(_groups, engine), engine.cores())(swept, groups, context)


@functools.partial(jax.jit, static_argnames="engine", donate_argnums=2)
def end(last: Last, before: ReconState, swept: Swept, groups: Groups, context: Context, engine: Engine) -> Swept:
    """The end of a sweep. before: where it started."""
    return cores.on_all(functools.partial(_end, engine), engine.cores())(last, before, swept, groups, context)


def _copied(tree: Any) -> Any:
    """Arrays that may be given away."""
    return jax.tree.map(lambda a: jnp.array(a, copy=True), tree)


def _start(state: ReconState, memory: Memory, context: Context) -> Swept:
    nothing = jnp.zeros((), state.positions_px.dtype)
    if not context.options.accelerated:
        return Swept(state, memory, nothing)
    return Swept(accelerate.ahead(state, memory, context.parameters["acceleration"]), memory.own, nothing)


def _groups(engine: Engine, swept: Swept, groups: Groups, context: Context) -> Swept:
    options, parameters, context = context.options, context.parameters, context.at(swept.state)

    def body(i: Index, swept: Swept) -> Swept:
        members = groups.row(i)
        state = refine.group(swept.state, members, context)
        state = opr.group(state, members, context)
        state, memory, loss = engine.group(state, swept.memory, members, context)
        state = constrain(clamp(state, parameters["max_amplitude"]), options.constraints, "group", parameters)
        return Swept(state, memory, swept.loss + loss)

    return jax.lax.fori_loop(0, groups.number, body, swept)


def _end(engine: Engine, last: Last, before: ReconState, swept: Swept, groups: Groups, context: Context) -> Swept:
    options, parameters, context = context.options, context.parameters, context.at(before)
    state, own = engine.sweep(swept.state, swept.memory, groups, context)
    state = opr.sweep(state, context.problem)
    state = refine.sweep(state, before, groups, context)
    state = shifts.sweep(state, groups, context)
    state = constrain(clamp(state, parameters["max_amplitude"]), options.constraints, "sweep", parameters)
    state = orthogonal_modes(state)
    if options.accelerated:
        own = accelerate.after(last[0], before, state, own, last[1], swept.loss)
    return Swept(state, own, swept.loss)
