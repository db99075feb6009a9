"""Rules of the gradient engine whose step length is measured instead of given: L-BFGS and Polyak's step, by optax.

Nocedal, Math. Comp. 35:773 (1980); Polyak, Introduction to Optimization (1987), sec. 5.3; Loizou et al.,
AISTATS (2021).

Object and probe are one vector of unknowns (O, P / s). s^2, the probe's power on an object pixel of the scan, makes the
curvatures of both alike, so that neither lags behind.

L-BFGS wants the same function in each step: a group is the whole scan. Its step length is the minimum of the quadratic
model along the direction (Fisher information of the patterns, second derivative of the costs): one more pass over the
positions, where a line search by trial takes an unknown number, so that a work budget stays exact.

Polyak's step is (loss - floor) / |gradient|^2, for the group; `floor` is the loss that noise leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Complex

from ptydesign.reconstruct.context import Context, Group
from ptydesign.reconstruct.costs import scanned_area_px
from ptydesign.reconstruct.directions import Direction
from ptydesign.reconstruct.fisher import change_of_pattern, scores
from ptydesign.reconstruct.forward import chunk_size, exit_waves, over_chunks, probes_of, take, views
from ptydesign.reconstruct.regularise import cost_of, turned
from ptydesign.reconstruct.shapes import Canvas, Index, Indices, Members, Probe, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

LBFGS_PAIRS = 8
ROUNDING = 4.0  # units in the last place of a loss per electron
RULES = {"lbfgs": lambda: optax.scale_by_lbfgs(LBFGS_PAIRS), "polyak": optax.scale_by_polyak}


class Memory(NamedTuple):
    """rule: optax's own. scale: s, see the module's text. probe (mode, y, x): as the last step left it."""

    rule: optax.OptState
    scale: Scalar
    probe: Probe


def init(state: ReconState, rule: str) -> Memory:
    """Nothing learnt yet."""
    scale = jnp.sqrt(jnp.sum(jnp.abs(state.probe) ** 2) / scanned_area_px(state))
    start = Memory(RULES[rule]().init((state.object, state.probe / scale)), scale, state.probe)
    return jax.tree.map(lambda a: jnp.array(a, copy=True), start)  # the state's buffers are given away


def step(
    state: ReconState, memory: Memory, down: Direction, members: Group, context: Context
) -> tuple[ReconState, Memory]:
    """One step of object and probe. down: negative gradients with respect to their conjugates and the loss, summed over
    the members, costs included."""
    problem, parameters, options = context.problem, context.parameters, context.options
    scale, on = memory.scale, parameters["probe_on"]
    electrons = jnp.maximum(members.count, 1) * problem.counts
    gradient = -down.object / electrons, -on * scale * down.probe / electrons
    if options.rule == "polyak":
        # of a real function the slope along z is 2 Re <gradient, z>
        twice = jax.tree.map(lambda g: 2 * g, gradient)
        costs = cost_of(state, options.costs, parameters, problem.counts)
        # what rounding leaves of a loss per electron is no distance from the minimum
        floor = jnp.maximum(parameters["floor"], ROUNDING * jnp.finfo(scale.dtype).eps)
        rule = optax.scale_by_polyak(floor, jnp.inf, variant="sps+")
        value = down.loss / electrons + costs
        found, kept = rule.update(twice, memory.rule, value=value)
        length = parameters["step"]
    else:
        known = with_modes_turned(memory.rule, turned(memory.probe, state.probe))
        found, kept = RULES["lbfgs"]().update(gradient, known, (state.object, state.probe / scale))
        direction = -found[0], -on * scale * found[1]
        length = parameters["step"] * minimum_along(state, *direction, members, context)
    probe = state.probe - length * on * scale * found[1]
    return state.replace(object=state.object - length * found[0], probe=probe), Memory(kept, scale, probe)


def with_modes_turned(
    rule: optax.ScaleByLBFGSState, turn: Complex[Array, "*scan mode mode"]
) -> optax.ScaleByLBFGSState:
    """L-BFGS's pairs for probe modes that were rotated by a unitary matrix (mode, mode) since they were measured, as
    orthogonalisation does: no pattern noticed it."""

    def both(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        return pair[0], jnp.einsum("...mn,...nyx->...myx", turn, pair[1])

    names = ("params", "updates", "diff_params_memory", "diff_updates_memory")
    return rule._replace(**{name: both(getattr(rule, name)) for name in names})


def minimum_along(state: ReconState, d_object: Canvas, d_probe: Probe, members: Group, context: Context) -> Scalar:
    """The step t to the minimum of the quadratic model of loss and costs at (O, P) + t (d_object, d_probe)."""
    counts, kinds = context.problem.counts, context.options.costs
    g, h = patterns_along(state, d_object, d_probe, members, context)
    if kinds:

        def costs(t: Scalar) -> Scalar:
            moved = state.replace(object=state.object + t * d_object, probe=state.probe + t * d_probe)
            return cost_of(moved, kinds, context.parameters, counts)

        zero, one = jnp.zeros((), g.dtype), jnp.ones((), g.dtype)
        slope, bend = jax.jvp(lambda t: jax.jvp(costs, (t,), (one,))[1], (zero,), (one,))
        share = members.count * counts
        # a cost may be concave here and there; the model must not be
        g, h = g + share * slope, h + share * jnp.maximum(bend, 0.0)
    return -g / (h + jnp.finfo(h.dtype).tiny)


def patterns_along(
    state: ReconState, d_object: Canvas, d_probe: Probe, members: Group, context: Context
) -> tuple[Scalar, Scalar]:
    """Slope and Fisher information of the group's loss along a change of object and probe."""
    problem, o, noise = context.problem, context.optical, context.options.noise
    shape = state.probe.shape[-2:]
    probes, d_spectrum = probes_of(state), fft2(d_probe)
    size = members.indices.shape[0]
    seen = views(state.positions_px[members.indices], shape, o)

    def one(slot: Index, weight: Scalar) -> tuple[Scalar, Scalar]:
        index, first, factor = members.indices[slot], seen.first[slot], seen.shift(slot)
        here = ifft2(probes.at(index) * factor), take(state.object, first, shape)
        along = ifft2(probes.of(d_spectrum, index) * factor), take(d_object, first, shape)
        far, d_far = jax.jvp(lambda p, q: fft2(exit_waves(p, q, o.propagators)), here, along)
        scale = state.intensity[index]
        change = change_of_pattern(far, d_far, scale)[None]
        g, h = scores(far, change, problem.pattern(index), scale, problem.of(index), noise)
        return weight * g[0], weight * h[0, 0]

    def body(carry: tuple[Scalar, Scalar], slots: Indices, weight: Members) -> tuple[Scalar, Scalar]:
        g, h = jax.vmap(one)(slots, weight.astype(state.positions_px.dtype))
        return carry[0] + jnp.sum(g), carry[1] + jnp.sum(h)

    zero = jnp.zeros((), state.positions_px.dtype)
    return over_chunks(members.count, size, chunk_size(shape, 2 * state.probe.shape[-3], size), body, (zero, zero))
