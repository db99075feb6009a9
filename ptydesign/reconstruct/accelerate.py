"""Momentum from sweep to sweep, for every engine whose sweep brings object and probe nearer to where it leads.

A weak probe mode grows along a flat valley of the loss, where plain sweeps creep: the first mode mimics much of it.
With x_k after sweep k, sweep k + 1 starts from x_k + b (x_k - x_(k-1)), b = age / (age + 3) up to a limit (Nesterov,
Sov. Math. Dokl. 27:372, 1983). The momentum starts anew where the sweep went against it or where the loss rose by
more than the order of groups can make (O'Donoghue & Candes, Found. Comput. Math. 15:715, 2015).
Maiden, Johnson & Li, Optica 4:736 (2017) do likewise for PIE, without restarts.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex

from ptydesign.reconstruct.context import Options
from ptydesign.reconstruct.costs import scanned_area_px
from ptydesign.reconstruct.engine import Memory
from ptydesign.reconstruct.regularise import turned
from ptydesign.reconstruct.shapes import Canvas, Probe, Scalar
from ptydesign.types import ReconState

RISE = 0.01  # of the loss from one sweep to the next, which the order of the groups may make


class Accelerated(NamedTuple):
    """own: the engine's memory. object, probe: those of the sweep before the last. age: sweeps since the start of the
    momentum. loss: of the last sweep."""

    own: Memory
    object: Canvas
    probe: Probe
    age: Scalar
    loss: Scalar


def init(own: Memory, state: ReconState, options: Options) -> Memory:
    """The engine's memory, and what the momentum needs if there is one."""
    if not options.accelerated:
        return own
    real = state.positions_px.dtype
    # copies: a sweep takes the state's buffers and the memory's
    start = jnp.array(state.object, copy=True), jnp.array(state.probe, copy=True)
    return Accelerated(own, *start, jnp.zeros((), real), jnp.full((), jnp.inf, real))


def momentum(age: Scalar, largest: Scalar) -> Scalar:
    """b of the module's text."""
    return jnp.minimum(age / (age + 3), largest)


def ahead(state: ReconState, memory: Accelerated, largest: Scalar) -> ReconState:
    """Where the sweep starts from."""
    b = momentum(memory.age, largest)
    probe = _alike(memory.probe, state.probe)
    return state.replace(
        object=state.object + b * (state.object - memory.object), probe=state.probe + b * (state.probe - probe)
    )


def after(
    before: ReconState, start: ReconState, end: ReconState, own: Memory, memory: Accelerated, loss: Scalar
) -> Accelerated:
    """Memory after a sweep from `start`, which momentum put ahead of `before`, to `end`."""
    scale2 = jnp.sum(jnp.abs(end.probe) ** 2) / scanned_area_px(end)  # weighs both by their curvatures
    probes = _alike(before.probe, end.probe), _alike(start.probe, end.probe)

    def dot(a: Complex[Array, "*axes"], b: Complex[Array, "*axes"]) -> Scalar:
        return jnp.sum((jnp.conj(a) * b).real)

    along = dot(end.object - start.object, end.object - before.object)
    along = along + dot(end.probe - probes[1], end.probe - probes[0]) / scale2
    held = (along > 0) & (loss <= (1 + RISE) * memory.loss)
    return Accelerated(own, before.object, before.probe, jnp.where(held, memory.age + 1, 0.0), loss)


def _alike(old: Probe, new: Probe) -> Probe:
    """Modes turned to be nearest to others: a rotation among them is no motion."""
    return jnp.einsum("...mn,...nyx->...myx", turned(old, new), old) if old.shape[-3] > 1 else old
