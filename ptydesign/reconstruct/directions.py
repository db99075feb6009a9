"""Steepest-descent directions and least-squares steps of a group: what the engines share.

Odstrcil, Menzel & Guizar-Sicairos, Opt. Express 26:3108 (2018); multislice: Tsai et al., Opt. Express 24:29089 (2016).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ptydesign import accelerator
from ptydesign.reconstruct.context import Context, Group
from ptydesign.reconstruct.forward import (
    add_patches,
    chunk_size,
    compare_with_data,
    exit_waves,
    exit_waves_and_adjoint,
    over_chunks,
    probes_of,
    seen_by,
    take,
    views,
)
from ptydesign.reconstruct.shapes import Canvas, Index, Indices, Members, Modes, Patch, Probe, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2


class Direction(NamedTuple):
    """Sums over a group. object (slice, y, x); probe (mode, y, x), or (scan, mode, y, x): adjoint of the model applied
    to the wave steps; loss: summed negative log-likelihood; illumination (y, x): sum of the probe's intensity, None
    where nobody asks."""

    object: Canvas
    probe: Probe
    loss: Scalar
    illumination: Float[Array, "y x"] | None


def no_direction(state: ReconState, illumination: bool = True) -> Direction:
    """Zero sums with the shapes of a state."""
    real = state.positions_px.dtype
    lit = jnp.zeros(state.object.shape[-2:], real) if illumination else None
    return Direction(jnp.zeros_like(state.object), jnp.zeros_like(state.probe), jnp.zeros((), real), lit)


def directions(
    state: ReconState,
    groups: Sequence[Group],
    context: Context,
    modes: str = "all",
    gradient: bool = False,
) -> list[Direction]:
    """The sums over each of the groups, of which each begins with the members of the one before. modes: which of them
    contribute to the object's direction and to the illumination, all or first; gradient: as in `compare_with_data`, and
    without illumination."""
    indices, stops = groups[-1].indices, [group.count for group in groups]
    problem, o, noise = context.problem, context.optical, context.options.noise
    shape = state.probe.shape[-2:]
    probes = probes_of(state)
    size = indices.shape[0]
    chunk = chunk_size(shape, state.probe.shape[-3], size)
    seen = views(state.positions_px[indices], shape, o)
    lighting = state.probe if modes == "all" else state.probe[..., :1, :, :]
    intensity = jnp.sum(lighting.real**2 + lighting.imag**2, axis=-3)

    def one(slot: Index, weight: Scalar) -> tuple[Modes, Patch, Array, Array]:
        index, first, factor = indices[slot], seen.first[slot], seen.shift(slot)
        probe = ifft2(probes.at(index) * factor)
        wave, adjoint = exit_waves_and_adjoint(probe, take(state.object, first, shape), o.propagators, modes)
        step, loss = compare_with_data(
            wave, problem.pattern(index), state.intensity[index], problem.of(index), noise, gradient
        )
        d_probe, d_patch = adjoint(step * weight)
        return fft2(d_probe) * jnp.conj(factor), d_patch, first, loss * weight

    zero = no_direction(state, illumination=not gradient)
    dark = problem.no_loss()

    def found(slots: Indices, weight: Members) -> tuple[Array, ...]:
        return *jax.vmap(one)(slots, weight.astype(state.positions_px.dtype)), weight, indices[slots]

    def added(
        sums: Direction, d_probe: Array, d_patch: Array, first: Array, losses: Array, weight: Array, whose: Array
    ) -> Direction:
        lit = None
        if not gradient:
            more = (probes.of(intensity, whose) * weight[:, None, None]).astype(sums.illumination.dtype)
            lit = add_patches(sums.illumination[None], more[:, None], first)[0]
        object_ = add_patches(sums.object, d_patch, first)
        probe = probes.added(sums.probe, d_probe, whose)
        return Direction(object_, probe, sums.loss + jnp.sum(losses, axis=0), lit)

    def body(sums: Direction, slots: Indices, weight: Members) -> Direction:
        return added(sums, *found(slots, weight))

    def plus(sums: Direction, more: Direction) -> Direction:
        return jax.tree.map(jnp.add, sums, more._replace(probe=ifft2(more.probe), loss=jnp.sum(more.loss)))

    def part(sums: Direction, limits: tuple[Index, Index]) -> tuple[Direction, Direction]:
        more = over_chunks(limits[1], size, chunk, body, zero._replace(loss=dark), first=limits[0])
        return (sums := plus(sums, more)), sums

    if accelerator.used() and chunk >= size:  # all members at once, of which each group then takes its part
        every, sums = found(jnp.arange(size), jnp.arange(size) < stops[-1]), [zero]
        ends = [0, *(len(group.indices) for group in groups)]
        for begin, end in itertools.pairwise(ends):
            more = added(zero._replace(loss=dark), *(a[begin:end] for a in every))
            sums.append(plus(sums[-1], more))
        return sums[1:]
    if len(stops) == 1:
        return [part(zero, (0, stops[0]))[0]]
    limits = jnp.stack([jnp.zeros_like(stops[0]), *stops[:-1]]), jnp.stack(stops)
    _, sums = jax.lax.scan(part, zero, limits)  # a scan: the loop over positions is compiled once
    return [jax.tree.map(lambda a, i=i: a[i], sums) for i in range(len(stops))]


class Normal(NamedTuple):
    """Normal equations of a group's step along two directions: <oo>, <op>, <pp>, <o,step>, <p,step>, real."""

    oo: Scalar
    op: Scalar
    pp: Scalar
    o: Scalar
    p: Scalar


def real_dot(a: Complex[Array, "*axes"], b: Complex[Array, "*axes"]) -> Scalar:
    """Re <a, b>."""
    return jnp.sum(a.real * b.real + a.imag * b.imag)


def normal_equations(
    state: ReconState,
    direction: Direction,
    d_object: Canvas,
    d_probe: Probe,
    members: Group,
    context: Context,
) -> Normal:
    """Sums over a group's members for min || step - a A_O - b A_P ||^2, where A_O and A_P are the changes of the exit
    wave; the object's counts in the modes that update it.

    A_O and A_P are Jacobian-vector products of the forward model, exact for any number of slices. Their products with
    the step need no data: <A_O, step> = <d_object, adjoint of step>, whose sum over the same positions is `direction`.
    """
    o, modes = context.optical, context.options.object_modes
    shape = state.probe.shape[-2:]
    probes, d_spectrum = probes_of(state), fft2(d_probe)
    size = members.indices.shape[0]
    chunk = chunk_size(shape, state.probe.shape[-3], size)
    seen = views(state.positions_px[members.indices], shape, o)

    def one(slot: Index, weight: Scalar) -> tuple[Scalar, ...]:
        index, first, factor = members.indices[slot], seen.first[slot], seen.shift(slot)
        probe, patch = ifft2(probes.at(index) * factor), take(state.object, first, shape)

        def model(p: Modes, q: Patch) -> Modes:
            return exit_waves(*seen_by(p, q, modes), o.propagators)

        _, along_o = jax.jvp(lambda q: model(probe, q), (patch,), (take(d_object, first, shape),))
        along_p = model(ifft2(probes.of(d_spectrum, index) * factor), patch)
        values = real_dot(along_o, along_o), real_dot(along_o, along_p), real_dot(along_p, along_p)
        return tuple(weight * v for v in values)

    def body(carry: tuple[Scalar, ...], slots: Indices, weight: Members) -> tuple[Scalar, ...]:
        sums = jax.vmap(one)(slots, weight.astype(state.positions_px.dtype))
        return jax.tree.map(lambda total, new: total + jnp.sum(new), carry, sums)

    zero = jnp.zeros((), state.positions_px.dtype)
    measured = over_chunks(members.count, size, chunk, body, (zero, zero, zero))
    return Normal(*measured, real_dot(d_object, direction.object), real_dot(d_probe, direction.probe))


def solve_joint(normal: Normal, damping: Scalar) -> tuple[Scalar, Scalar]:
    """(a, b) of the damped 2 x 2 system; zero along a direction that does nothing."""
    tiny = jnp.finfo(normal.oo.dtype).tiny
    oo, pp = normal.oo * (1 + damping) + tiny, normal.pp * (1 + damping) + tiny
    # scaled to a unit diagonal, so that the determinant does not depend on the counts
    cross = normal.op / jnp.sqrt(oo) / jnp.sqrt(pp)
    u, v = normal.o / jnp.sqrt(oo), normal.p / jnp.sqrt(pp)
    determinant = jnp.maximum(1 - cross**2, 1e-6)
    return (u - cross * v) / determinant / jnp.sqrt(oo), (v - cross * u) / determinant / jnp.sqrt(pp)


def solve_one(along: Scalar, step: Scalar, damping: Scalar) -> Scalar:
    """Least-squares step along a single direction."""
    return step / (along * (1 + damping) + jnp.finfo(along.dtype).tiny)


def preconditioned(direction: Direction, delta: Scalar) -> Canvas:
    """The object's direction over sqrt(W^2 + (delta max W)^2), shape (slice, y, x)."""
    w = direction.illumination
    return direction.object * (1 / jnp.sqrt(w**2 + (delta * jnp.max(w)) ** 2))
