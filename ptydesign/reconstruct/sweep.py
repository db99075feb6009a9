"""One sweep over all groups: one compiled call, or one for each chunk of groups where patterns stay on the host.

Both are the same three steps: where the sweep starts from, the groups, the end of the sweep.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ptydesign.reconstruct import accelerate, cores, opr, propagation, refine
from ptydesign.reconstruct.engine import Engine, Group, Memory, Parameters, Static
from ptydesign.reconstruct.feed import Host
from ptydesign.reconstruct.forward import Problem, optical
from ptydesign.reconstruct.regularise import clamp, constrain, orthogonal_modes
from ptydesign.types import ReconState

Swept = tuple[ReconState, Memory, jax.Array]  # and the summed loss


@functools.partial(jax.jit, static_argnames=("engine", "static"), donate_argnums=(0, 1))
def one_sweep(
    state: ReconState,
    memory: Memory,
    problem: Problem,
    groups: Group,
    number: jax.Array,
    parameters: Parameters,
    engine: Engine,
    static: Static,
) -> Swept:
    """All groups of a sweep (the first `number` rows), then the engine's end of a sweep. Returns the summed loss."""

    def run(state, memory, problem, groups, number, parameters):
        before, own = _start(static, state, memory, parameters)
        nothing, members = jnp.zeros((), state.positions_px.dtype), jnp.sum(groups.count)
        swept = _groups(engine, static, before, own, nothing, problem, groups, number, members, parameters)
        return _end(engine, static, state, memory, before, *swept, problem, groups, parameters)

    return cores.on_all(run, cores_of(engine))(state, memory, problem, groups, number, parameters)


def sweep_in_chunks(
    state: ReconState,
    memory: Memory,
    problem: Problem,
    indices: np.ndarray,
    counts: np.ndarray,
    parameters: Parameters,
    engine: Engine,
    static: Static,
    host: Host,
) -> Swept:
    """`one_sweep` with patterns on the host; problem: without them. indices (n, m), counts (n,): NumPy.

    Keeps one more copy of state and memory meanwhile: what momentum and refinements compare the end with.
    """
    before, own = start(state, memory, parameters, engine, static)
    # what is given away is placed as each call leaves it, so that none compiles anew
    swept: Swept = cores.placed((*_copied((before, own)), jnp.zeros((), state.positions_px.dtype)), cores_of(engine))
    members, waiting = jnp.asarray(counts.sum(), jnp.int32), None
    for first in range(0, np.count_nonzero(counts), host.groups):
        part = np.zeros((host.groups, indices.shape[1]), np.int32), np.zeros(host.groups, np.int32)
        for whole, chunk in zip((indices, counts), part, strict=True):
            here = whole[first : first + host.groups]
            chunk[: len(here)] = here
        sent = host.put(problem, *part)
        if waiting is not None:
            waiting.block_until_ready()  # no more than two chunks at once
        number = jnp.asarray(np.count_nonzero(part[1]), jnp.int32)
        groups = Group(*map(jnp.asarray, part))
        swept = some_groups(*swept, sent, groups, number, members, parameters, engine, static)
        waiting = swept[2]
    last = max(engine.looks_back(static, *indices.shape), propagation.looks_back(static, *indices.shape))
    if last:
        problem = host.put(problem, indices[:, :last], np.minimum(counts, last))
    groups = Group(jnp.asarray(indices), jnp.asarray(counts))
    return end(state, memory, before, *swept, problem, groups, parameters, engine, static)


@functools.partial(jax.jit, static_argnames=("engine", "static"))
def start(state: ReconState, memory: Memory, parameters: Parameters, engine: Engine, static: Static) -> Any:
    """What the first group of a sweep finds: the state and the engine's memory."""
    run = functools.partial(_start, static)
    return cores.on_all(run, cores_of(engine))(state, memory, parameters)


@functools.partial(jax.jit, static_argnames=("engine", "static"), donate_argnums=(0, 1))
def some_groups(
    state: ReconState,
    memory: Memory,
    loss: jax.Array,
    problem: Problem,
    groups: Group,
    number: jax.Array,
    members: jax.Array,
    parameters: Parameters,
    engine: Engine,
    static: Static,
) -> Swept:
    """State, memory and summed loss after the first `number` of these groups; members: of all groups of the sweep."""
    run = functools.partial(_groups, engine, static)
    arguments = state, memory, loss, problem, groups, number, members, parameters
    return cores.on_all(run, cores_of(engine))(*arguments)


@functools.partial(jax.jit, static_argnames=("engine", "static"), donate_argnums=(3, 4))
def end(
    last: ReconState,
    memory: Memory,
    before: ReconState,
    state: ReconState,
    own: Memory,
    loss: jax.Array,
    problem: Problem,
    groups: Group,
    parameters: Parameters,
    engine: Engine,
    static: Static,
) -> Swept:
    """The end of a sweep. last, memory: as the sweep before left them; before: where this one started; own: the
    engine's part of the memory."""
    run = functools.partial(_end, engine, static)
    arguments = last, memory, before, state, own, loss, problem, groups, parameters
    return cores.on_all(run, cores_of(engine))(*arguments)


def cores_of(engine: Engine) -> Mesh | None:
    """The cores that share the engine's work."""
    return cores.mesh() if engine.shares else None


def _copied(tree: Any) -> Any:
    """Arrays that may be given away."""
    return jax.tree.map(lambda a: jnp.array(a, copy=True), tree)


def _start(static: Static, state: ReconState, memory: Memory, parameters: Parameters) -> tuple[ReconState, Memory]:
    if not dict(static)["accelerated"]:
        return state, memory
    return accelerate.ahead(state, memory, parameters["acceleration"]), memory.own


def _groups(engine: Engine, static: Static, state, memory, loss, problem, groups, number, members, parameters) -> Swept:
    options, derived = dict(static), optical(state, state.probe.shape[-2:])

    def body(i, carry):
        state, memory, total = carry
        group = Group(groups.indices[i], groups.count[i])
        state = refine.group(state, group.indices, group.count, problem, derived, parameters, static, members)
        state = opr.group(state, group.indices, group.count, problem, derived, parameters, options["noise"])
        state, memory, loss = engine.group(state, memory, group, problem, derived, parameters, static)
        state = clamp(state, parameters["max_amplitude"])
        return constrain(state, options["constraints"], "group", parameters), memory, total + loss

    return jax.lax.fori_loop(0, number, body, (state, memory, loss))


def _end(engine: Engine, static: Static, last, memory, before, state, own, loss, problem, groups, parameters) -> Swept:
    options = dict(static)
    derived = optical(before, before.probe.shape[-2:])
    state, own = engine.sweep(state, own, groups, problem, derived, parameters, static)
    state = opr.sweep(state, jnp.sum(groups.count))
    state = refine.sweep(state, before, (groups.indices, groups.count), problem, parameters, static)
    state = constrain(clamp(state, parameters["max_amplitude"]), options["constraints"], "sweep", parameters)
    state = orthogonal_modes(state)
    return state, accelerate.after(last, before, state, own, memory, loss) if options["accelerated"] else own, loss
