"""Projection engines: difference map and RAAR. They keep the exit wave of every position.

Thibault et al., Ultramicroscopy 109:338 (2009); Luke, Inverse Problems 21:37 (2005), for ptychography Marchesini et
al., J. Appl. Cryst. 49:1245 (2016). With the data's constraint M (a wave plus the step that the noise model asks for)
and the model's S (the waves of the object and probe that fit given waves best), the waves psi become

    difference map:  psi + beta (M(2 S psi - psi) - S psi)
    RAAR:            beta psi + beta S(2 M psi - psi) + (1 - 2 beta) M psi

once a sweep, all positions together: groups and their order have no effect but on the rounding. S takes one update of
the object and then one of the probe, each exact for the other given (Thibault's eqs. 6 and 7), and repeats neither.

M goes between `least` and `most` of the way to the measured amplitude. The noise models' own steps go too far where a
wave is much weaker than the data (Poisson, Gaussian) and hardly move in the dark (Gaussian): engines that measure a
step's length heed that, but here the waves would drift apart. A hard projection (`most` = 1) is the papers', and lets
the difference map wander at low dose.

The waves follow where the probe's modes are rotated between sweeps, and move with the probe where a position is
corrected: what a pattern saw stays the same, it was seen elsewhere.

Waves are kept on the detector, where M acts and where it costs no further transform: memory of (positions, modes,
ny, nx) complex numbers, 134 MB for 1024 patterns of 128 x 128 in single precision. One slice only: for more, S has no
closed form.

The loss is that of S psi as each position was met. RAAR's first sweep is one of alternating projections (beta = 0),
since S(2 M psi - psi) is not known before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int
from pydantic import Field

from ptydesign.errors import InputError
from ptydesign.reconstruct.context import Context, Group, Groups, Options
from ptydesign.reconstruct.engine import Engine, EngineConfig
from ptydesign.reconstruct.forward import (
    Optical,
    add_patches,
    chunk_size,
    compare_far,
    exit_waves,
    optical,
    over_chunks,
    take,
    views,
)
from ptydesign.reconstruct.regularise import turned
from ptydesign.reconstruct.shapes import Canvas, Index, Indices, Lit, Members, Modes, Patch, Pattern, Scalar, Wave
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

Constraint = Callable[[Modes], Modes]
Rule = Callable[[Modes, Modes, Constraint, Scalar], Modes]


class DifferenceMapConfig(EngineConfig):
    """Difference map (Thibault et al., Ultramicroscopy 109:338, 2009); one slice only, all exit waves are kept in
    memory."""

    engine: Literal["difference_map"] = "difference_map"
    """Which engine this is; it decides which other keys there are."""
    beta: float = Field(1.0, gt=0, le=1)
    """Relaxation; 1 is the difference map, less makes smaller changes."""
    inertia: float = Field(1e-2, gt=0, le=1)
    """Weight of the old object in its update, as a fraction of the largest illumination."""
    least: float = Field(0.5, ge=0, le=1)
    """Smallest part of the way to the measured amplitude that a wave goes."""
    most: float = Field(0.9, gt=0, le=1)
    """Largest part of the way to the measured amplitude that a wave goes; 1 is a hard projection, which wanders at low
    dose."""
    multislice: ClassVar[bool] = False
    keeps_waves: ClassVar[bool] = True


class RAARConfig(EngineConfig):
    """Relaxed averaged alternating reflections (Luke, Inverse Problems 21:37, 2005); one slice only, all exit waves are
    kept."""

    engine: Literal["raar"] = "raar"
    """Which engine this is; it decides which other keys there are."""
    beta: float = Field(0.8, gt=0, le=1)
    """Relaxation; 1 is Douglas-Rachford, small is nearly the projection onto the data alone."""
    inertia: float = Field(1e-2, gt=0, le=1)
    """Weight of the old object in its update, as a fraction of the largest illumination."""
    least: float = Field(0.5, ge=0, le=1)
    """Smallest part of the way to the measured amplitude that a wave goes."""
    most: float = Field(0.9, gt=0, le=1)
    """Largest part of the way to the measured amplitude that a wave goes; 1 is a hard projection, which wanders at low
    dose."""
    multislice: ClassVar[bool] = False
    keeps_waves: ClassVar[bool] = True


class Memory(NamedTuple):
    """waves (position, mode, ky, kx): exit waves on the detector. fraction (position, 2): px by which the
    probe was off the window's centre pixel.
    probe (mode, y, x): the one whose modes the waves belong to. numerator (1, y, x), illumination (y, x): sums of the
    object's update so far. age: sweeps done."""

    waves: Complex[Array, "position mode ny nx"]
    fraction: Float[Array, "position 2"]
    probe: Modes
    numerator: Canvas
    illumination: Float[Array, "y x"]
    age: Scalar


def difference_map(waves: Modes, model: Modes, constrain: Constraint, beta: Scalar) -> Modes:
    """New waves of one position from its old waves and those of object and probe."""
    return waves + beta * (constrain(2 * model - waves) - model)


def raar(waves: Modes, model: Modes, constrain: Constraint, beta: Scalar) -> Modes:
    """New waves; `model` fits the old 2 M psi - psi."""
    return beta * (waves + model) + (1 - 2 * beta) * constrain(waves)


def init(state: ReconState, options: Options) -> Memory:
    """The start's own exit waves. Raises InputError for more than one slice."""
    if state.object.shape[0] > 1:
        raise InputError(
            "slices", "must be 1 for difference_map and raar", state.object.shape[0], "Use another engine."
        )
    return _start(state)


@jax.jit
def _start(state: ReconState) -> Memory:
    shape = state.probe.shape[-2:]
    o = optical(state, shape)
    spectrum = fft2(state.probe)
    seen = views(state.positions_px, shape, o)

    def one(j: Index) -> Modes:
        probe = ifft2(spectrum * seen.shift(j))
        return fft2(exit_waves(probe, take(state.object, seen.first[j], shape), o.propagators))

    waves = jax.lax.map(one, jnp.arange(len(state.positions_px)))
    lit = jnp.zeros(state.object.shape[-2:], state.positions_px.dtype)
    return Memory(
        waves,
        off_centre(state.positions_px),
        state.probe,
        jnp.zeros_like(state.object),
        lit,
        jnp.zeros((), state.positions_px.dtype),
    )


def off_centre(positions_px: Float[Array, "*points 2"]) -> Float[Array, "*points 2"]:
    """What `corner` leaves over of positions (..., 2)."""
    return positions_px - jnp.round(positions_px)


def moved(old: Float[Array, " 2"], new: Float[Array, " 2"], o: Optical) -> Wave:
    """(ky, kx) factor that moves a wave on the detector by new - old (2,) px, with its probe."""
    step = new - old
    return jnp.exp(-2j * jnp.pi * step[0] * o.ky) * jnp.exp(-2j * jnp.pi * step[1] * o.kx)


def put(
    stack: Inexact[Array, "position ..."],
    indices: Int[Array, " chunk"],
    rows: Inexact[Array, "chunk ..."],
    weight: Bool[Array, " chunk"],
) -> Inexact[Array, "position ..."]:
    """The stack with some rows replaced, those of weight zero left out."""
    if len(indices) == 1:  # a chunk of one is always a member: an update in place
        return jax.lax.dynamic_update_slice_in_dim(stack, rows, indices[0], 0)
    return stack.at[jnp.where(weight, indices, len(stack))].set(rows, mode="drop")


def group(
    rule: Rule, reflect: bool, state: ReconState, memory: Memory, members: Group, context: Context
) -> tuple[ReconState, Memory, Scalar]:
    """New waves of the members, and their share of the object's update; the state changes at the end of the sweep."""
    problem, o, noise = context.problem, context.optical, context.options.noise
    shape = state.probe.shape[-2:]
    size = members.indices.shape[0]
    positions = state.positions_px[members.indices]
    seen, fraction = views(positions, shape, o), off_centre(positions)
    spectrum = fft2(state.probe)
    turn = turned(memory.probe, state.probe)
    seeing = slice(None) if context.options.object_modes == "all" else slice(1)
    # RAAR's model does not fit 2 M psi - psi before the second sweep
    beta = context.parameters["beta"]
    beta = jnp.where(memory.age > 0, beta, 0.0) if reflect else beta

    def one(waves: Modes, before: Float[Array, " 2"], slot: Index) -> tuple[Modes, Patch, Lit, Array, Pattern]:
        index, first, factor = members.indices[slot], seen.first[slot], seen.shift(slot)
        weight = state.intensity[index]
        probe = ifft2(spectrum * factor)
        model = fft2(exit_waves(probe, take(state.object, first, shape), o.propagators))
        loss = compare_far(model, problem.pattern(index), weight, problem, noise)[1]

        def constrain(waves: Modes) -> Modes:
            return constrained(waves, index, weight, context)

        old = jnp.einsum("mn,nyx->myx", turn, waves) if len(waves) > 1 else waves
        new = rule(old * moved(before, fraction[slot], o), model, constrain, beta)
        fitted = ifft2(2 * constrain(new) - new if reflect else new)
        # of the probe where it stands: that of the unshifted one would not cancel in the quotient
        seen_probe = probe[seeing]
        lit = jnp.sum(seen_probe.real**2 + seen_probe.imag**2, axis=0)
        return new, jnp.sum((jnp.conj(probe) * fitted)[seeing], axis=0)[None], lit, first, loss

    chunk = chunk_size(shape, state.probe.shape[0], size)

    def body(carry: tuple[Any, ...], slots: Indices, weight: Members) -> tuple[Any, ...]:
        memory, found, total = carry
        waves = put(memory.waves, *found)  # of the last pass: see `forward` for why not at its end
        indices = members.indices[slots]
        new, patches, lit, first, losses = jax.vmap(one)(waves[indices], memory.fraction[indices], slots)
        real = weight.astype(losses.dtype)
        lit = lit * real[:, None, None]
        memory = memory._replace(
            waves=waves,
            fraction=put(memory.fraction, indices, fraction[slots], weight),
            numerator=add_patches(memory.numerator, patches * real[:, None, None, None], first),
            illumination=add_patches(memory.illumination[None], lit[:, None], first)[0],
        )
        return memory, (indices, new, weight), total + jnp.sum(losses * real[:, None, None], axis=0)

    indices = members.indices[:chunk]
    nothing = indices, memory.waves[indices], jnp.arange(chunk) < members.count
    start = memory, nothing, problem.no_loss()
    memory, found, loss = over_chunks(members.count, size, chunk, body, start)
    return state, memory._replace(waves=put(memory.waves, *found)), jnp.sum(loss)


def constrained(waves: Modes, index: Index, weight: Scalar, context: Context) -> Modes:
    """M: the noise model's step, bounded by parts of the way to the amplitude that the pattern has."""
    problem, least, most = context.problem, context.parameters["least"], context.parameters["most"]
    pattern, models = problem.pattern(index), (context.options.noise, "amplitude")
    step, whole = (compare_far(waves, pattern, weight, problem, noise)[0] for noise in models)
    length, longest = jnp.abs(step), jnp.abs(whole)
    low, high = least * whole, most * whole
    return waves + jnp.where(length > most * longest, high, jnp.where(length < least * longest, low, step))


def sweep(
    reflect: bool, state: ReconState, memory: Memory, groups: Groups, context: Context
) -> tuple[ReconState, Memory]:
    """The object that fits all waves, then the probe."""
    inertia = context.parameters["inertia"] * jnp.max(memory.illumination)
    state = state.replace(object=(memory.numerator + inertia * state.object) / (memory.illumination + inertia))
    fitted = functools.partial(_fitted_probe, reflect, state, memory, groups, context)
    probe = jax.lax.cond(context.parameters["probe_on"] > 0, fitted, lambda: state.probe)
    empty = jnp.zeros_like(memory.numerator), jnp.zeros_like(memory.illumination)
    return state.replace(probe=probe), Memory(memory.waves, memory.fraction, probe, *empty, memory.age + 1)


def _fitted_probe(reflect: bool, state: ReconState, memory: Memory, groups: Groups, context: Context) -> Modes:
    """(mode, y, x) sum conj(O) psi / sum |O|^2 over all positions, each moved back by its fraction of a pixel."""
    shape = state.probe.shape[-2:]
    size = groups.indices.shape[1]
    chunk = chunk_size(shape, state.probe.shape[0], size)

    def one_group(row: Index, carry: tuple[Modes, Lit]) -> tuple[Modes, Lit]:
        indices, count = groups.row(row)
        seen = views(state.positions_px[indices], shape, context.optical)

        def one(slot: Index, real: Scalar) -> tuple[Modes, Lit]:
            index = indices[slot]
            waves = memory.waves[index]
            if reflect:
                waves = 2 * constrained(waves, index, state.intensity[index], context) - waves
            patch = take(state.object, seen.first[slot], shape)[0]
            spectrum = fft2(jnp.conj(patch) * ifft2(waves)) * jnp.conj(seen.shift(slot))
            return spectrum * real, (patch.real**2 + patch.imag**2) * real

        def body(carry: tuple[Modes, Lit], slots: Indices, weight: Members) -> tuple[Modes, Lit]:
            more = jax.vmap(one)(slots, weight.astype(state.positions_px.dtype))
            return jax.tree.map(lambda total, new: total + jnp.sum(new, axis=0), carry, more)

        return over_chunks(count, size, chunk, body, carry)

    zero = jnp.zeros_like(state.probe), jnp.zeros(shape, state.positions_px.dtype)
    spectrum, weight = jax.lax.fori_loop(0, groups.indices.shape[0], one_group, zero)
    return ifft2(spectrum) / jnp.maximum(weight, 1e-3 * jnp.max(weight))


def transforms(settings: EngineConfig, members: int, slices: int) -> float:
    """Three for a new wave and the object's sum, two for the probe's; the group's spectrum of the probe."""
    return 5 * members + 1


DIFFERENCE_MAP = Engine(
    DifferenceMapConfig,
    init,
    functools.partial(group, difference_map, False),
    functools.partial(sweep, False),
    transforms,
)
RAAR = Engine(RAARConfig, init, functools.partial(group, raar, True), functools.partial(sweep, True), transforms)
