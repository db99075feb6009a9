"""What else of the state is refined besides object and probe, for every engine alike.

Every refined quantity takes one damped step of Fisher scoring (`fisher`). Per position, before each group's update: the
scan position, the pattern's intensity factor and the weights of OPR. Once a sweep, from a sample of all positions: the
specimen's tilt and the slices' thicknesses, through the propagators (`propagation`). A position too far from the truth
for any descent is found by trying others, every few sweeps: `position_search`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ptydesign.reconstruct import propagation
from ptydesign.reconstruct.context import Context, Group, Groups, Options
from ptydesign.reconstruct.fisher import Curvatures, Slopes, change_of_pattern, scores, steps_of
from ptydesign.reconstruct.forward import Problem, chunk_size, exit_waves, over_chunks, probes_of, take, views
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.refinements import Refinements
from ptydesign.reconstruct.shapes import Index, Indices, Members, Modes, Points, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

LARGEST_WEIGHT_STEP = 0.1  # of OPR in a sweep, in parts of the first mode's amplitude


def wanted(options: Options, state: ReconState) -> tuple[bool, bool, int]:
    """(positions, intensity, weights of OPR): what is refined per position."""
    varying = 0 if state.opr_modes is None else len(state.opr_modes)
    return options.refine_positions, options.refine_intensity, varying


def position_scores(state: ReconState, members: Group, context: Context) -> tuple[Slopes, Curvatures]:
    """g (m, k) and H (m, k, k) of each member of a group; k: position y, x in px, then log of the intensity factor,
    then the weights of OPR, as far as they are wanted. Zero beyond the members."""
    problem, o, noise = context.problem, context.optical, context.options.noise
    positions, intensity, varying = wanted(context.options, state)
    shape = state.probe.shape[-2:]
    probes = probes_of(state)
    size = members.indices.shape[0]
    chunk = chunk_size(shape, 3 * state.probe.shape[-3] + varying, size)
    seen = views(state.positions_px[members.indices], shape, o)
    real = state.positions_px.dtype
    number = 2 * positions + intensity + varying

    def one(slot: Index, weight: Scalar) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
        index, first, factor = members.indices[slot], seen.first[slot], seen.shift(slot)
        patch = take(state.object, first, shape)
        scale = state.intensity[index]
        shifted = probes.at(index) * factor

        def model(spectrum_: Modes) -> Modes:
            return fft2(exit_waves(ifft2(spectrum_), patch, o.propagators))

        far = model(shifted)
        changes = []
        if positions:
            changes += [change_of_pattern(far, model(-2j * jnp.pi * k * shifted), scale) for k in (o.ky, o.kx)]
        if intensity:
            changes.append(scale * jnp.sum(far.real**2 + far.imag**2, axis=0))
        if varying:
            along = jax.lax.map(lambda v: model((v * factor)[None]), probes.basis)
            changes += [change_of_pattern(far[:1], along[k], scale) for k in range(varying)]
        g, h = scores(far, jnp.stack(changes), problem.pattern(index), scale, problem.of(index), noise)
        return weight * g, weight * h

    def body(carry: tuple[Array, Array], slots: Indices, weight: Members) -> tuple[Array, Array]:
        g, h = jax.vmap(one)(slots, weight.astype(real))
        return carry[0].at[slots].add(g), carry[1].at[slots].add(h)

    zero = jnp.zeros((size, number), real), jnp.zeros((size, number, number), real)
    return over_chunks(members.count, size, chunk, body, zero)


def with_prior(
    g: Slopes, h: Curvatures, state: ReconState, indices: Indices, context: Context
) -> tuple[Slopes, Curvatures]:
    """g and h of a group with a Gaussian prior of positions about an affine map of the nominal ones."""
    off = (state.positions_px - mapped(state.positions_px, state, context.problem))[indices]
    weight = prior_weight(state, context)
    return g.at[:, :2].add(weight * off), h.at[:, (0, 1), (0, 1)].add(weight)


def prior_weight(state: ReconState, context: Context) -> Float[Array, " 2"]:
    """Of a squared departure (y, x) in px in the loss; zero where there is no prior."""
    spread = context.parameters["position_error_a"] / state.pixel_a
    scale = NOISE_MODELS[context.options.noise].poisson
    return jnp.where(spread > 0, scale / jnp.where(spread > 0, spread, 1.0) ** 2, 0.0)


def group(state: ReconState, members: Group, context: Context) -> ReconState:
    """Positions, intensity factors and weights of OPR of a group's members after one step."""
    positions, intensity, varying = wanted(context.options, state)
    if not (positions or intensity or varying):
        return state
    indices, parameters = members.indices, context.parameters

    def refined(state: ReconState) -> ReconState:
        g, h = position_scores(state, members, context)
        inside_group = (jnp.arange(len(indices)) < members.count)[:, None]
        if positions:
            g, h = with_prior(g, h, state, indices, context)
        steps = jnp.where(inside_group, steps_of(g, h, members.count), 0.0)
        if positions:
            clip = parameters["position_clip_px"]
            moves = jnp.clip(parameters["position_step"] * parameters["positions_on"] * steps[:, :2], -clip, clip)
            moved = state.positions_px.at[indices].add(moves)
            state = state.replace(positions_px=inside(moved, state))
        if intensity:
            change = jnp.exp(parameters["intensity_on"] * jnp.clip(steps[:, 2 * positions], -0.1, 0.1))
            state = state.replace(intensity=state.intensity.at[indices].multiply(change))
        if varying:
            change = parameters["opr_on"] * jnp.clip(steps[:, -varying:], -LARGEST_WEIGHT_STEP, LARGEST_WEIGHT_STEP)
            state = state.replace(opr_weights=state.opr_weights.at[indices].add(change))
        return state

    on = jnp.zeros((), bool)
    on = (on | (parameters["positions_on"] > 0)) if positions else on
    on = (on | (parameters["intensity_on"] > 0)) if intensity else on
    on = (on | (parameters["opr_on"] > 0)) if varying else on
    return jax.lax.cond(on, refined, lambda state: state, state)


def transforms(settings: Refinements, members: int, groups: int, state: ReconState, sweep: int) -> float:
    """Fourier transforms of one probe mode in a sweep: the forward model; along each coordinate if positions are
    refined; with OPR along each of its modes, and for these a forward model and its adjoint."""
    starts, slices, modes = settings.starts(sweep), state.object.shape[0], state.probe.shape[-3]
    varying = 0 if state.opr_modes is None else len(state.opr_modes) * starts["opr_on"]
    on = settings.refine_positions * starts["positions_on"] or settings.refine_intensity * starts["intensity_on"]
    if not (on or varying):
        return 0
    models = (3 if settings.refine_positions else 1) + varying / modes + (2.5 if varying else 0)
    return members * models * 2 * slices + groups


def inside(positions_px: Float[Array, "*points 2"], state: ReconState) -> Float[Array, "*points 2"]:
    """Positions limited to those whose windows lie on the canvas."""
    canvas, half = state.object.shape[-2:], [n // 2 for n in state.probe.shape[-2:]]
    low = jnp.asarray(half, positions_px.dtype)
    high = jnp.asarray([c - h - 1 for c, h in zip(canvas, half, strict=True)], positions_px.dtype)
    return jnp.clip(positions_px, low, high)


def sweep(state: ReconState, before: ReconState, groups: Groups, context: Context) -> ReconState:
    """End of a sweep: one step of tilt and thickness; drift of all positions removed, mean intensity factor one.

    before: the state at the sweep's start.
    """
    problem, parameters = context.problem, context.parameters
    if propagation.wanted(context.options) and state.object.shape[0] > 1:
        state = propagation.propagation(state, propagation.sample_of(groups, propagation.MEASURED), context)
    positions, intensity, _ = wanted(context.options, state)
    if not (positions or intensity):
        return state
    member = problem.members().astype(state.positions_px.dtype)[:, None]
    if positions:
        # the object could follow any common shift: nothing holds it but this
        drift = jnp.sum(member * (state.positions_px - before.positions_px), axis=0) / problem.positions
        moved = state.positions_px - member * drift
        pull = parameters["position_affine"] * parameters["positions_on"]
        moved = moved - pull * member * (moved - mapped(moved, state, problem))
        state = state.replace(positions_px=inside(moved, state))
    if intensity:
        mean = jnp.sum(member[:, 0] * state.intensity) / problem.positions
        state = state.replace(intensity=jnp.where(member[:, 0] > 0, state.intensity / mean, state.intensity))
    return state


def mapped(found: Points, state: ReconState, problem: Problem) -> Points:
    """Where least-squares affine maps of the nominal positions, one of each scan, put the found ones (position, 2)."""
    nominal, member = problem.nominal_px(state), problem.members().astype(found.dtype)[:, None]
    if state.scan is None:
        return affine(nominal, found, member)
    whose = [(state.scan == number).astype(found.dtype)[:, None] for number in range(len(state.probe))]
    return sum(part * affine(nominal, found, member * part) for part in whose)


def affine(nominal: Points, found: Points, member: Float[Array, "position 1"]) -> Points:
    """Least-squares affine map of nominal positions (n, 2) onto the found ones, applied to the nominal ones."""
    middle = jnp.sum(member * nominal, axis=0) / jnp.sum(member)
    extent = jnp.sqrt(jnp.sum(member * (nominal - middle) ** 2) / jnp.sum(member)) + jnp.finfo(nominal.dtype).tiny
    basis = jnp.concatenate([jnp.ones_like(nominal[:, :1]), (nominal - middle) / extent], axis=1)
    gram = basis.T @ (member * basis)
    # a scan along one line has no second direction
    gram = gram + 1e-6 * jnp.trace(gram) * jnp.eye(3, dtype=gram.dtype)
    return nominal + basis @ jnp.linalg.solve(gram, basis.T @ (member * (found - nominal)))
