"""Steepest-descent directions and least-squares steps of a group: what the engines share.

Odstrcil, Menzel & Guizar-Sicairos, Opt. Express 26:3108 (2018); multislice: Tsai et al., Opt. Express 24:29089 (2016).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ptydesign.reconstruct.forward import (
    Optical,
    Problem,
    add_patches,
    chunk_size,
    compare_with_data,
    exit_waves,
    exit_waves_and_adjoint,
    over_chunks,
    take,
    views,
)
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2


class Direction(NamedTuple):
    """Sums over a group. object (slice, y, x); probe (mode, y, x): adjoint of the model applied to the wave steps;
    illumination (y, x): sum of the probe's intensity; loss: summed negative log-likelihood."""

    object: jax.Array
    probe: jax.Array
    illumination: jax.Array
    loss: jax.Array


def no_direction(state: ReconState) -> Direction:
    """Zero sums with the shapes of a state."""
    return Direction(
        jnp.zeros_like(state.object),
        jnp.zeros_like(state.probe),
        jnp.zeros(state.object.shape[-2:], state.positions_px.dtype),
        jnp.zeros((), state.positions_px.dtype),
    )


def directions(
    state: ReconState,
    indices: jax.Array,
    count: jax.Array,
    problem: Problem,
    o: Optical,
    noise: str,
    start: Direction,
    gradient: bool = False,
) -> Direction:
    """`start` plus the sums over the first `count` of `indices`; `gradient` as in `compare_with_data`."""
    shape = state.probe.shape[-2:]
    spectrum = fft2(state.probe)
    size = indices.shape[0]
    chunk = chunk_size(shape, state.probe.shape[0], size)
    seen = views(state.positions_px[indices], shape, o)
    intensity = jnp.sum(jnp.abs(state.probe) ** 2, axis=0)

    def one(slot: jax.Array, weight: jax.Array):
        index, first, factor = indices[slot], seen.first[slot], seen.shift(slot)
        probe = ifft2(spectrum * factor)
        patch = take(state.object, first, shape)
        scale = state.intensity[index]
        wave, adjoint = exit_waves_and_adjoint(probe, patch, o.propagators)
        step, loss = compare_with_data(wave, problem.patterns[index], scale, problem, noise, gradient)
        d_probe, d_patch = adjoint(step * weight)
        return fft2(d_probe) * jnp.conj(factor), d_patch, first, loss * weight

    def body(carry, slots, weight):
        object_, probe, illumination, loss = carry
        d_probe, d_patch, first, losses = jax.vmap(one)(slots, weight.astype(state.positions_px.dtype))
        lit = (intensity * weight[:, None, None]).astype(illumination.dtype)
        return (
            add_patches(object_, d_patch, first),
            probe + jnp.sum(d_probe, axis=0),
            add_patches(illumination[None], lit[:, None], first)[0],
            loss + jnp.sum(losses),
        )

    zero = (start.object, jnp.zeros_like(spectrum), start.illumination, start.loss)
    object_, d_spectrum, illumination, loss = over_chunks(count, size, chunk, body, zero)
    return Direction(object_, start.probe + ifft2(d_spectrum), illumination, loss)


class Normal(NamedTuple):
    """Normal equations of a group's step along two directions: <oo>, <op>, <pp>, <o,step>, <p,step>, real."""

    oo: jax.Array
    op: jax.Array
    pp: jax.Array
    o: jax.Array
    p: jax.Array


def real_dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Re <a, b>."""
    return jnp.sum(a.real * b.real + a.imag * b.imag)


def normal_equations(
    state: ReconState,
    direction: Direction,
    members: jax.Array,
    d_object: jax.Array,
    d_probe: jax.Array,
    indices: jax.Array,
    count: jax.Array,
    o: Optical,
) -> Normal:
    """Sums over positions for min || step - a A_O - b A_P ||^2, where A_O and A_P are the changes of the exit wave.

    A_O and A_P are Jacobian-vector products of the forward model, exact for any number of slices. Their products with
    the step need no data: <A_O, step> = <d_object, adjoint of step>, whose sum `direction` holds for all `members`.
    The others are measured at the first `count` of `indices`, and stand for as many positions as `members`.
    """
    shape = state.probe.shape[-2:]
    spectrum, d_spectrum = fft2(state.probe), fft2(d_probe)
    size = indices.shape[0]
    chunk = chunk_size(shape, state.probe.shape[0], size)
    seen = views(state.positions_px[indices], shape, o)

    def one(slot: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        first, factor = seen.first[slot], seen.shift(slot)
        probe, patch = ifft2(spectrum * factor), take(state.object, first, shape)

        def model(p, q):
            return exit_waves(p, q, o.propagators)

        _, along_o = jax.jvp(lambda q: model(probe, q), (patch,), (take(d_object, first, shape),))
        along_p = model(ifft2(d_spectrum * factor), patch)
        values = real_dot(along_o, along_o), real_dot(along_o, along_p), real_dot(along_p, along_p)
        return tuple(weight * v for v in values)

    def body(carry, slots, weight):
        sums = jax.vmap(one)(slots, weight.astype(state.positions_px.dtype))
        return jax.tree.map(lambda total, new: total + jnp.sum(new), carry, sums)

    zero = jnp.zeros((), state.positions_px.dtype)
    measured = over_chunks(count, size, chunk, body, (zero, zero, zero))
    share = members / jnp.maximum(count, 1).astype(state.positions_px.dtype)
    to_object, to_probe = real_dot(d_object, direction.object), real_dot(d_probe, direction.probe)
    return Normal(*(share * m for m in measured), to_object, to_probe)


def solve_joint(normal: Normal, damping: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(a, b) of the damped 2 x 2 system; zero along a direction that does nothing."""
    tiny = jnp.finfo(normal.oo.dtype).tiny
    oo, pp = normal.oo * (1 + damping) + tiny, normal.pp * (1 + damping) + tiny
    # scaled to a unit diagonal, so that the determinant does not depend on the counts
    cross = normal.op / jnp.sqrt(oo) / jnp.sqrt(pp)
    u, v = normal.o / jnp.sqrt(oo), normal.p / jnp.sqrt(pp)
    determinant = jnp.maximum(1 - cross**2, 1e-6)
    return (u - cross * v) / determinant / jnp.sqrt(oo), (v - cross * u) / determinant / jnp.sqrt(pp)


def solve_one(along: jax.Array, step: jax.Array, damping: jax.Array) -> jax.Array:
    """Least-squares step along a single direction."""
    return step / (along * (1 + damping) + jnp.finfo(along.dtype).tiny)


def illumination_of(direction: Direction, delta: jax.Array) -> jax.Array:
    """The object's preconditioner sqrt(W^2 + (delta max W)^2), shape (y, x)."""
    w = direction.illumination
    return jnp.sqrt(w**2 + (delta * jnp.max(w)) ** 2)
