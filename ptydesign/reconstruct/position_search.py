"""A search for scan positions that descent cannot reach, for every engine alike.

The misfit of a pattern has several minima in its position: one that starts further away than the nearest of them ends
in a wrong one, and damages the object around it. So every few sweeps the patterns that fit worst look elsewhere. Each
tries the points of a disc around the place where its neighbours put it, then finer and finer steps around the best of
these, and moves there if it fits clearly better than where it is. Object and probe stay as they are.

That trial positions leave wrong minima is the idea of annealing: Maiden, Humphry, Sarahan, Kraus & Rodenburg,
Ultramicroscopy 120:64 (2012). They draw them at random, for every position in every iteration; here they are the same
ones each time, so that nothing depends on chance, and descent does the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from ptydesign.reconstruct import cores
from ptydesign.reconstruct.context import Context, Group, Options
from ptydesign.reconstruct.engine import EngineConfig
from ptydesign.reconstruct.feed import Host
from ptydesign.reconstruct.forward import chunk_size, compare_far, exit_waves, over_chunks, probes_of, take, views
from ptydesign.reconstruct.refine import inside, mapped, prior_weight
from ptydesign.reconstruct.refinements import Refinements
from ptydesign.reconstruct.shapes import Index, Indices, Members, Points, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

RINGS = 4  # points between the middle of the disc and its edge
HALVINGS = 3  # finer steps around the best point: the last is radius / 32
NEIGHBOURS = 12  # whose median displacement says where a position ought to be
Misfits = Float[Array, " slot"]
Places = Float[Array, "slot 2"]
Best = tuple[Places, Misfits]
MARGIN = 1.0  # a move must better the misfit by this many median deviations of all patterns' misfits

DISC = np.array(
    [(y, x) for y in range(-RINGS, RINGS + 1) for x in range(-RINGS, RINGS + 1) if y * y + x * x <= RINGS**2]
)
AROUND = np.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x])
TRIED = len(DISC) + HALVINGS * len(AROUND)


def due(settings: Refinements, sweep: int) -> bool:
    """Whether positions are searched before one of an engine's sweeps (0, 1, ...)."""
    since = sweep - settings.positions_start
    return settings.refine_positions and settings.search_every > 0 < since and since % settings.search_every == 0


def searched(settings: EngineConfig, count: int, sweep: int) -> int:
    """How many of so many positions look elsewhere before a sweep."""
    return int(np.ceil(settings.parameters_at(sweep)["search_part"] * count))


def transforms(settings: EngineConfig, count: int, state: ReconState, sweep: int) -> float:
    """Fourier transforms of one probe mode that a search takes before a sweep: a forward model of every position, and
    one of every point that is tried."""
    if not due(settings, sweep):
        return 0
    return (count + searched(settings, count, sweep) * TRIED) * 2 * state.object.shape[0] + 1


def search(
    state: ReconState, context: Context, worst: int, over: Mesh | None = None, host: Host | None = None
) -> ReconState:
    """The state with those of the `worst` fitting of its positions moved that fit better elsewhere.

    context: of the problem, noise model, search_radius_a and position_error_a (the prior of `refine` counts in the
    misfit). over: the cores that share the work. host: where the problem has no patterns, those of the host.
    """
    # only what a search needs: another engine's settings must not compile it anew
    parameters = {name: context.parameters[name] for name in ("search_radius_a", "position_error_a")}
    context = Context(context.problem, parameters, Options(noise=context.options.noise))
    call = functools.partial(_compiled, over=over)
    looking = jnp.asarray(worst, jnp.int32)
    if host is None:
        return call(_search, state, context, looking)
    room, count = len(state.positions_px), int(context.problem.positions)

    def for_all(part: Callable[..., Any], indices: np.ndarray, *more: np.ndarray) -> list[np.ndarray]:
        """What a part finds for indices (n,), chunk by chunk; zero up to the room for positions."""
        size, found = host.groups * host.members, []
        for first in range(0, len(indices), size):
            here = [array[first : first + size] for array in (indices.astype(np.int32), *more)]
            number = len(here[0])
            chunk, *others = (np.pad(a, [(0, size - number)] + [(0, 0)] * (a.ndim - 1)) for a in here)
            sent = context.replace(problem=host.put(context.problem, chunk[None], np.asarray([number], np.int32)))
            members = Group(jnp.asarray(chunk), jnp.asarray(number, jnp.int32))
            values = call(part, state, members, sent, *map(jnp.asarray, others))
            found.append([np.asarray(value)[:number] for value in values])
        joined = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return [np.pad(a, [(0, room - len(a))] + [(0, 0)] * (a.ndim - 1)) for a in joined]

    present = jnp.asarray(for_all(_present, np.arange(count))[0])
    order, expected, margin = call(_ranked, state, present, context, looking)
    best = for_all(_tried, np.asarray(order)[:worst], np.asarray(expected)[:worst])
    return call(_moved, state, present, order, margin, context, looking, tuple(map(jnp.asarray, best)))


@functools.partial(jax.jit, static_argnames=("part", "over"))
def _compiled(part: Callable[..., Any], *arguments: Any, over: Mesh | None) -> Any:
    return cores.on_all(part, over)(*arguments)


def _search(state: ReconState, context: Context, worst: Index) -> ReconState:
    everyone = jnp.arange(len(state.positions_px), dtype=jnp.int32)
    (present,) = _present(state, Group(everyone, context.problem.positions), context)
    order, expected, margin = _ranked(state, present, context, worst)
    best = _tried(state, Group(order, worst), context, expected)
    return _moved(state, present, order, margin, context, worst, best)


def _penalty(state: ReconState, context: Context) -> Callable[[Array, Array], Array]:
    """Function of points (..., 2) px and the indices whose they are: the prior's part of a misfit."""
    middle = mapped(state.positions_px, state, context.problem)
    weight = prior_weight(state, context)
    return lambda points_px, index: jnp.sum(weight * (points_px - middle[index]) ** 2, axis=-1) / 2


def _present(state: ReconState, members: Group, context: Context) -> tuple[Misfits]:
    """((n,),) misfit of a group's members where they are."""
    here = state.positions_px[members.indices]
    found = misfits(state, members, here[:, None], context.at(state))[:, 0]
    return (found + _penalty(state, context)(here, members.indices),)


def _ranked(state: ReconState, present: Misfits, context: Context, worst: Index) -> tuple[Indices, Places, Scalar]:
    """All positions (room,), the worst first; where their neighbours put these (room, 2); what a move must gain."""
    member = context.problem.members()
    margin = MARGIN * median_of(jnp.abs(present - median_of(present, member)), member)
    order = jnp.argsort(jnp.where(member, -present, jnp.inf), stable=True).astype(jnp.int32)
    nominal = context.problem.nominal_px(state)

    def expect(slot: Index, points: Places) -> Places:
        index = order[slot]
        alike = member if state.scan is None else member & (state.scan == state.scan[index])
        return points.at[slot].set(expected_position(state.positions_px, nominal, alike, index))

    return order, jax.lax.fori_loop(0, worst, expect, state.positions_px[order]), margin


def _tried(state: ReconState, members: Group, context: Context, expected: Places) -> Best:
    """Best point (n, 2) and its misfit (n,) of a group's members, around expected (n, 2)."""
    real, indices = state.positions_px.dtype, members.indices
    penalty = _penalty(state, context)
    step = context.parameters["search_radius_a"] / state.pixel_a / RINGS
    context = context.at(state)

    def tried(best: Best, points_px: Float[Array, "slot tried 2"]) -> Best:
        """Best points and misfits after trying points (n, k, 2) too."""
        points_px = inside(points_px, state)
        values = misfits(state, members, points_px, context)
        values = values + penalty(points_px, indices[:, None])
        least = jnp.argmin(values, axis=1)
        value = jnp.take_along_axis(values, least[:, None], axis=1)[:, 0]
        point = jnp.take_along_axis(points_px, least[:, None, None], axis=1)[:, 0]
        better = value < best[1]
        return jnp.where(better[:, None], point, best[0]), jnp.where(better, value, best[1])

    best = expected, jnp.full(len(indices), jnp.inf, real)
    best = tried(best, expected[:, None] + jnp.asarray(DISC, real) * step)
    for halving in range(1, HALVINGS + 1):
        best = tried(best, best[0][:, None] + jnp.asarray(AROUND, real) * step / 2**halving)
    return best


def _moved(
    state: ReconState, present: Misfits, order: Indices, margin: Scalar, context: Context, worst: Index, best: Best
) -> ReconState:
    member = context.problem.members()[:, None]
    moves = (jnp.arange(len(order)) < worst) & (best[1] < present[order] - margin)
    there = jnp.where(moves[:, None], best[0], state.positions_px[order])
    moved = state.positions_px.at[order].set(there)
    # as in `refine.sweep`: nothing holds a common shift but this
    drift = jnp.sum(jnp.where(member, moved - state.positions_px, 0.0), axis=0) / context.problem.positions
    return state.replace(positions_px=inside(jnp.where(member, moved - drift, moved), state))


def misfits(
    state: ReconState, members: Group, points_px: Float[Array, "slot tried 2"], context: Context
) -> Float[Array, "slot tried"]:
    """(n, k) negative log-likelihood of a group's patterns at points (n, k, 2) px; zero beyond its members."""
    problem, o, noise = context.problem, context.optical, context.options.noise
    shape = state.probe.shape[-2:]
    probes = probes_of(state)
    size, number = points_px.shape[:2]
    real = state.positions_px.dtype

    def one(slot: Index, weight: Scalar) -> Float[Array, " tried"]:
        index = members.indices[slot]
        seen = views(points_px[slot], shape, o)
        spectrum = probes.at(index)

        def at(k: Index) -> Scalar:
            patch = take(state.object, seen.first[k], shape)
            far = fft2(exit_waves(ifft2(spectrum * seen.shift(k)), patch, o.propagators))
            return jnp.sum(
                compare_far(far, problem.pattern(index), state.intensity[index], problem.of(index), noise)[1]
            )

        return weight * jax.lax.map(at, jnp.arange(number))

    def body(carry: Array, slots: Indices, weight: Members) -> Array:
        return carry.at[slots].add(jax.vmap(one)(slots, weight.astype(real)))

    chunk = chunk_size(shape, state.probe.shape[-3], size)
    return over_chunks(members.count, size, chunk, body, jnp.zeros((size, number), real))


def expected_position(
    positions_px: Points, nominal_px: Points, member: Bool[Array, " position"], index: Index
) -> Float[Array, " 2"]:
    """(2,) px: where the median displacement of its nearest nominal neighbours puts a position."""
    apart = jnp.sum((nominal_px - nominal_px[index]) ** 2, axis=1)
    apart = jnp.where(member, apart, jnp.inf).at[index].set(jnp.inf)
    number = min(NEIGHBOURS, len(nominal_px))
    far, nearest = jax.lax.top_k(-apart, number)
    displaced = (positions_px - nominal_px)[nearest]
    known = jnp.isfinite(far)
    middle = jnp.stack([median_of(displaced[:, axis], known) for axis in range(2)])
    return nominal_px[index] + jnp.where(jnp.any(known), middle, 0.0)


def median_of(values: Float[Array, " n"], member: Bool[Array, " n"]) -> Scalar:
    """The (upper) median of the values (n,) of members."""
    ordered = jnp.sort(jnp.where(member, values, jnp.inf))
    return ordered[jnp.sum(member) // 2]
