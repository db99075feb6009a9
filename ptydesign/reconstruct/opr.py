"""Orthogonal probe relaxation: a first probe mode that varies over the scan, for every engine that compares patterns.

Odstrcil, Baksh, Boden, Card, Chad, Frey & Brocklesby, Opt. Express 24:8360 (2016). The probe of position j is

    P_j = P_0 + sum_k a_jk V_k,

with few basis modes V_k and real weights a_jk: drifts of focus, astigmatism and shift move a probe along one line each.

Deviations from the paper, which updates every position's probe and truncates a singular value decomposition: the
weights take a step of Fisher scoring of their own pattern (`refine`, together with position and intensity), the basis
the step of its least-squares problem, sum_j a_jk a_jl dV_l = sum_j a_jk d_j, where d_j is the adjoint of the model
applied to the wave step of position j. Both together are subspace iteration on what the probes' updates have in common,
and need no memory of all probes. The basis starts from the probe's derivatives with respect to focus, astigmatism,
shift and coma; it leaves them where the data say so.

Gauge, after each sweep: weights have mean zero (the mean belongs to P_0), basis modes have no part along P_0 (that is
intensity, or a phase nobody sees), are orthogonal as real vectors, have the power of P_0, and are in order of variance.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex

from ptydesign.grids import Grid
from ptydesign.reconstruct.context import Context, Group
from ptydesign.reconstruct.forward import (
    Problem,
    chunk_size,
    compare_with_data,
    exit_waves,
    exit_waves_and_adjoint,
    over_chunks,
    probes_of,
    take,
    views,
)
from ptydesign.reconstruct.shapes import Basis, Index, Indices, Members, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

DAMPING = 0.1  # of the basis's least-squares system, relative to its mean diagonal


def start_basis(probe: Complex[np.ndarray, "ny nx"], grid: Grid, number: int) -> Complex[np.ndarray, "{number} ny nx"]:
    """(number, ny, nx): derivatives of a probe (ny, nx), centred, with respect to low-order aberrations, made
    orthogonal to it and to each other as real vectors, with its power."""
    spectrum = np.fft.fft2(np.fft.ifftshift(probe))
    ky, kx = grid.frequencies()
    weight = np.abs(spectrum) ** 2
    scale = np.sqrt(np.sum(weight * (ky**2 + kx**2)) / np.sum(weight))
    y, x = np.broadcast_arrays(ky / scale, kx / scale)
    orders = sorted(((i, j) for i in range(number + 3) for j in range(number + 3)), key=lambda o: (sum(o), o))
    # focus and astigmatism before shifts, which are the positions' business
    shapes = [y**2 + x**2, y**2 - x**2, y * x, y, x] + [y**i * x**j for i, j in orders if i + j > 2]
    basis: list[np.ndarray] = []
    for shape in shapes[:number]:
        candidate = 1j * shape * spectrum
        candidate = candidate - spectrum * np.vdot(spectrum, candidate) / np.sum(weight)
        for other in basis:
            candidate = candidate - other * np.vdot(other, candidate).real / np.vdot(other, other).real
        basis.append(candidate * np.sqrt(np.sum(weight)) / np.linalg.norm(candidate))
    return np.fft.fftshift(np.fft.ifft2(np.stack(basis)), axes=(-2, -1))


def group(state: ReconState, members: Group, context: Context) -> ReconState:
    """The basis after the share of a group's members in its least-squares step."""
    if state.opr_modes is None:
        return state

    def stepped(state: ReconState) -> ReconState:
        sums = basis_direction(state, members, context)
        weights = state.opr_weights
        # of the whole scan: the groups' shares add up to one step a sweep
        gram = weights.T @ weights
        level = jnp.trace(gram) / len(gram) + jnp.finfo(gram.dtype).tiny
        solved = jnp.linalg.solve(gram / level + DAMPING * jnp.eye(len(gram), dtype=gram.dtype), jnp.eye(len(gram)))
        step = jnp.einsum("kl,lyx->kyx", solved / level, sums)
        return state.replace(opr_modes=state.opr_modes + step.astype(state.opr_modes.dtype))

    return jax.lax.cond(context.parameters["opr_on"] > 0, stepped, lambda state: state, state)


def basis_direction(state: ReconState, members: Group, context: Context) -> Basis:
    """(k, ny, nx) sum over the group of a_jk d_j."""
    problem, o, noise = context.problem, context.optical, context.options.noise
    shape = state.probe.shape[-2:]
    probes = probes_of(state)
    size = members.indices.shape[0]
    seen = views(state.positions_px[members.indices], shape, o)

    def one(slot: Index, weight: Scalar) -> Basis:
        index, first, factor = members.indices[slot], seen.first[slot], seen.shift(slot)
        probe, patch = ifft2(probes.at(index) * factor), take(state.object, first, shape)
        first_wave, adjoint = exit_waves_and_adjoint(probe[:1], patch, o.propagators)
        wave = (
            jnp.concatenate([first_wave, exit_waves(probe[1:], patch, o.propagators)]) if len(probe) > 1 else first_wave
        )
        step, _ = compare_with_data(wave, problem.pattern(index), state.intensity[index], problem, noise)
        d_probe, _ = adjoint(step[:1])
        spectrum = fft2(d_probe[0]) * jnp.conj(factor)
        return (weight * state.opr_weights[index])[:, None, None] * spectrum

    def body(carry: Basis, slots: Indices, weight: Members) -> Basis:
        return carry + jnp.sum(jax.vmap(one)(slots, weight.astype(state.positions_px.dtype)), axis=0)

    zero = jnp.zeros_like(state.opr_modes)
    return ifft2(over_chunks(members.count, size, chunk_size(shape, state.probe.shape[0] + 1, size), body, zero))


def sweep(state: ReconState, problem: Problem) -> ReconState:
    """The gauge of the module's text. Positions that only fill arrays have weight zero."""
    if state.opr_modes is None:
        return state
    member = problem.members().astype(state.opr_weights.dtype)[:, None]
    mean = jnp.sum(member * state.opr_weights, axis=0) / problem.positions
    weights = member * (state.opr_weights - mean)
    first = state.probe[0] + jnp.einsum("k,kyx->yx", mean, state.opr_modes).astype(state.probe.dtype)
    power = jnp.sum(first.real**2 + first.imag**2)
    along = jnp.einsum("yx,kyx->k", jnp.conj(first), state.opr_modes) / power
    modes = state.opr_modes - along[:, None, None] * first
    # singular values of weights times modes, without forming the product
    tiny = jnp.finfo(weights.dtype).tiny
    gram = jnp.einsum("kyx,lyx->kl", jnp.conj(modes), modes).real / power
    values, vectors = jnp.linalg.eigh(gram)
    root = jnp.sqrt(jnp.maximum(values, 1e-12 * values[-1] + tiny))
    unit = jnp.einsum("lk,lyx->kyx", vectors / root, modes)
    weights = weights @ (vectors * root)
    variance, turn = jnp.linalg.eigh(weights.T @ weights)
    del variance
    turn = turn[:, ::-1]
    turn = turn * jnp.where(jnp.diagonal(turn) < 0, -1.0, 1.0)
    modes = jnp.einsum("lk,lyx->kyx", turn, unit).astype(state.opr_modes.dtype)
    return state.replace(probe=state.probe.at[0].set(first), opr_modes=modes, opr_weights=weights @ turn)
