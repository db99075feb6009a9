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

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ptydesign.reconstruct import cores
from ptydesign.reconstruct.engine import EngineConfig
from ptydesign.reconstruct.feed import Host
from ptydesign.reconstruct.forward import (
    Optical,
    Problem,
    chunk_size,
    compare_far,
    exit_waves,
    optical,
    over_chunks,
    probes_of,
    take,
    views,
)
from ptydesign.reconstruct.refine import affine, half_likelihood, inside
from ptydesign.reconstruct.refinements import Refinements
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

RINGS = 4  # points between the middle of the disc and its edge
HALVINGS = 3  # finer steps around the best point: the last is radius / 32
NEIGHBOURS = 12  # whose median displacement says where a position ought to be
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
    state: ReconState,
    problem: Problem,
    count: int,
    worst: int,
    parameters: dict[str, jax.Array],
    noise: str,
    over: Mesh | None = None,
    host: Host | None = None,
) -> ReconState:
    """The state with those of the `worst` fitting of its first `count` positions moved that fit better elsewhere.

    parameters: search_radius_a, position_error_a (the prior of `refine` counts in the misfit). over: the cores that
    share the work. host: where the problem has no patterns, those of the host.
    """
    call = functools.partial(_compiled, noise=noise, over=over)
    total, looking = jnp.asarray(count, jnp.int32), jnp.asarray(worst, jnp.int32)
    if host is None:
        return call(_search, state, problem, total, looking, parameters)
    room = len(state.positions_px)

    def for_all(part, indices: np.ndarray, *more: np.ndarray) -> list[np.ndarray]:
        """What a part finds for indices (n,), chunk by chunk; zero up to the room for positions."""
        size, found = host.groups * host.members, []
        for first in range(0, len(indices), size):
            here = [array[first : first + size] for array in (indices.astype(np.int32), *more)]
            number = len(here[0])
            chunk, *others = (np.pad(a, [(0, size - number)] + [(0, 0)] * (a.ndim - 1)) for a in here)
            sent = host.put(problem, chunk[None], np.asarray([number]))
            own = jnp.asarray(number, jnp.int32)
            values = call(part, state, jnp.asarray(chunk), *map(jnp.asarray, others), own, total, sent, parameters)
            found.append([np.asarray(value)[:number] for value in values])
        joined = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return [np.pad(a, [(0, room - len(a))] + [(0, 0)] * (a.ndim - 1)) for a in joined]

    present = jnp.asarray(for_all(_present, np.arange(count))[0])
    order, expected, margin = call(_ranked, state, present, problem, total, looking)
    best = for_all(_tried, np.asarray(order)[:worst], np.asarray(expected)[:worst])
    return call(_moved, state, present, order, margin, total, looking, tuple(map(jnp.asarray, best)))


@functools.partial(jax.jit, static_argnames=("part", "noise", "over"))
def _compiled(part, *arguments, noise: str, over: Mesh | None):
    return cores.on_all(functools.partial(part, noise), over)(*arguments)


def _search(noise: str, state: ReconState, problem: Problem, count, worst, parameters) -> ReconState:
    everyone = jnp.arange(len(state.positions_px), dtype=jnp.int32)
    (present,) = _present(noise, state, everyone, count, count, problem, parameters)
    order, expected, margin = _ranked(noise, state, present, problem, count, worst)
    best = _tried(noise, state, order, expected, worst, count, problem, parameters)
    return _moved(noise, state, present, order, margin, count, worst, best)


def _penalty(noise: str, state: ReconState, problem: Problem, count, parameters):
    """Function of points (..., 2) px and the indices whose they are: the prior's part of a misfit."""
    member = (jnp.arange(len(state.positions_px)) < count).astype(state.positions_px.dtype)[:, None]
    middle = affine(_nominal_px(state, problem), state.positions_px, member)
    spread = parameters["position_error_a"] / state.pixel_a
    weight = jnp.where(spread > 0, half_likelihood(noise) / jnp.where(spread > 0, spread, 1.0) ** 2, 0.0)
    return lambda points_px, index: jnp.sum(weight * (points_px - middle[index]) ** 2, axis=-1) / 2


def _nominal_px(state: ReconState, problem: Problem) -> jax.Array:
    return (problem.nominal_a - state.origin_a) / state.pixel_a


def _present(noise: str, state: ReconState, indices, number, count, problem: Problem, parameters) -> tuple[jax.Array]:
    """((n,),) misfit of the first `number` of indices (n,) where they are."""
    here = state.positions_px[indices]
    o = optical(state, state.probe.shape[-2:])
    found = misfits(state, indices, here[:, None], number, problem, o, noise)[:, 0]
    return (found + _penalty(noise, state, problem, count, parameters)(here, indices),)


def _ranked(noise: str, state: ReconState, present, problem: Problem, count, worst):
    """All positions (room,), the worst first; where their neighbours put these (room, 2); what a move must gain."""
    member = jnp.arange(len(present)) < count
    margin = MARGIN * median_of(jnp.abs(present - median_of(present, member)), member)
    order = jnp.argsort(jnp.where(member, -present, jnp.inf), stable=True).astype(jnp.int32)
    nominal = _nominal_px(state, problem)

    def expect(slot, points):
        return points.at[slot].set(expected_position(state.positions_px, nominal, member, order[slot]))

    return order, jax.lax.fori_loop(0, worst, expect, state.positions_px[order]), margin


def _tried(noise: str, state: ReconState, indices, expected, number, count, problem: Problem, parameters):
    """Best point (n, 2) and its misfit (n,) of the first `number` of indices (n,), around expected (n, 2)."""
    real = state.positions_px.dtype
    o = optical(state, state.probe.shape[-2:])
    penalty = _penalty(noise, state, problem, count, parameters)
    step = parameters["search_radius_a"] / state.pixel_a / RINGS

    def tried(best, points_px):
        """Best points and misfits after trying points (n, k, 2) too."""
        points_px = inside(points_px, state)
        values = misfits(state, indices, points_px, number, problem, o, noise)
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


def _moved(noise: str, state: ReconState, present, order, margin, count, worst, best) -> ReconState:
    member = (jnp.arange(len(order)) < count)[:, None]
    moves = (jnp.arange(len(order)) < worst) & (best[1] < present[order] - margin)
    there = jnp.where(moves[:, None], best[0], state.positions_px[order])
    moved = state.positions_px.at[order].set(there)
    # as in `refine.sweep`: nothing holds a common shift but this
    drift = jnp.sum(jnp.where(member, moved - state.positions_px, 0.0), axis=0) / count
    return state.replace(positions_px=inside(jnp.where(member, moved - drift, moved), state))


def misfits(state: ReconState, indices, points_px, count, problem: Problem, o: Optical, noise: str) -> jax.Array:
    """(n, k) negative log-likelihood of patterns `indices` (n,) at points (n, k, 2) px; zero beyond `count`."""
    shape = state.probe.shape[-2:]
    probes = probes_of(state)
    size, number = points_px.shape[:2]
    real = state.positions_px.dtype

    def one(slot: jax.Array, weight: jax.Array) -> jax.Array:
        index = indices[slot]
        seen = views(points_px[slot], shape, o)
        spectrum = probes.at(index)

        def at(k: jax.Array) -> jax.Array:
            patch = take(state.object, seen.first[k], shape)
            far = fft2(exit_waves(ifft2(spectrum * seen.shift(k)), patch, o.propagators))
            return jnp.sum(compare_far(far, problem.pattern(index), state.intensity[index], problem, noise)[1])

        return weight * jax.lax.map(at, jnp.arange(number))

    def body(carry, slots, weight):
        return carry.at[slots].add(jax.vmap(one)(slots, weight.astype(real)))

    chunk = chunk_size(shape, state.probe.shape[0], size)
    return over_chunks(count, size, chunk, body, jnp.zeros((size, number), real))


def expected_position(positions_px, nominal_px, member, index) -> jax.Array:
    """(2,) px: where the median displacement of its nearest nominal neighbours puts a position."""
    apart = jnp.sum((nominal_px - nominal_px[index]) ** 2, axis=1)
    apart = jnp.where(member, apart, jnp.inf).at[index].set(jnp.inf)
    number = min(NEIGHBOURS, len(nominal_px))
    far, nearest = jax.lax.top_k(-apart, number)
    displaced = (positions_px - nominal_px)[nearest]
    known = jnp.isfinite(far)
    middle = jnp.stack([median_of(displaced[:, axis], known) for axis in range(2)])
    return nominal_px[index] + jnp.where(jnp.any(known), middle, 0.0)


def median_of(values: jax.Array, member: jax.Array) -> jax.Array:
    """The (upper) median of the values (n,) of members."""
    ordered = jnp.sort(jnp.where(member, values, jnp.inf))
    return ordered[jnp.sum(member) // 2]
