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


def searched(settings: Refinements, count: int) -> int:
    """How many of so many positions look elsewhere."""
    return int(np.ceil(settings.search_part * count))


def transforms(settings: Refinements, count: int, state: ReconState, sweep: int) -> float:
    """Fourier transforms of one probe mode that a search takes before a sweep: a forward model of every position, and
    one of every point that is tried."""
    if not due(settings, sweep):
        return 0
    return (count + searched(settings, count) * TRIED) * 2 * state.object.shape[0] + 1


@functools.partial(jax.jit, static_argnames=("noise", "over"))
def search(
    state: ReconState,
    problem: Problem,
    count: jax.Array,
    worst: jax.Array,
    parameters: dict[str, jax.Array],
    noise: str,
    over: Mesh | None = None,
) -> ReconState:
    """The state with those of the `worst` fitting of its first `count` positions moved that fit better elsewhere.

    parameters: search_radius_a, position_error_a (the prior of `refine` counts in the misfit). over: the cores that
    share the work.
    """
    return cores.on_all(functools.partial(_search, noise), over)(state, problem, count, worst, parameters)


def _search(noise: str, state: ReconState, problem: Problem, count, worst, parameters) -> ReconState:
    o = optical(state, state.probe.shape[-2:])
    room = len(state.positions_px)
    real = state.positions_px.dtype
    member = jnp.arange(room) < count
    nominal = (problem.nominal_a - state.origin_a) / state.pixel_a
    middle = affine(nominal, state.positions_px, member.astype(real)[:, None])
    spread = parameters["position_error_a"] / state.pixel_a
    weight = jnp.where(spread > 0, half_likelihood(noise) / jnp.where(spread > 0, spread, 1.0) ** 2, 0.0)

    def penalised(misfit, positions_px, index):
        return misfit + jnp.sum(weight * (positions_px - middle[index]) ** 2, axis=-1) / 2

    everyone = jnp.arange(room, dtype=jnp.int32)
    found = misfits(state, everyone, state.positions_px[:, None], count, problem, o, noise)[:, 0]
    present = penalised(found, state.positions_px, everyone)
    typical = median_of(present, member)
    margin = MARGIN * median_of(jnp.abs(present - typical), member)
    order = jnp.argsort(jnp.where(member, -present, jnp.inf), stable=True)

    def expect(slot, points):
        return points.at[slot].set(expected_position(state.positions_px, nominal, member, order[slot]))

    expected = jax.lax.fori_loop(0, worst, expect, state.positions_px[order])
    step = parameters["search_radius_a"] / state.pixel_a / RINGS

    def tried(best, points_px):
        """Best positions and misfits (room, ...) of `order` after trying points (room, k, 2) too."""
        points_px = inside(points_px, state)
        values = misfits(state, order, points_px, worst, problem, o, noise)
        values = penalised(values, points_px, order[:, None])
        least = jnp.argmin(values, axis=1)
        value = jnp.take_along_axis(values, least[:, None], axis=1)[:, 0]
        point = jnp.take_along_axis(points_px, least[:, None, None], axis=1)[:, 0]
        better = value < best[1]
        return jnp.where(better[:, None], point, best[0]), jnp.where(better, value, best[1])

    best = tried((expected, jnp.full(room, jnp.inf, real)), expected[:, None] + jnp.asarray(DISC, real) * step)
    for halving in range(1, HALVINGS + 1):
        best = tried(best, best[0][:, None] + jnp.asarray(AROUND, real) * step / 2**halving)
    moves = (jnp.arange(room) < worst) & (best[1] < present[order] - margin)
    there = jnp.where(moves[:, None], best[0], state.positions_px[order])
    return state.replace(positions_px=state.positions_px.at[order].set(there))


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
            return jnp.sum(compare_far(far, problem.patterns[index], state.intensity[index], problem, noise)[1])

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
