"""What else of the state is refined besides object and probe, for every engine alike.

Every refined quantity is a real parameter t of the expected pattern I. With the noise model's slope d nll / dI and the
expected derivative of that slope ("bend"), one step of Fisher scoring is

    g = sum slope dI/dt,   H = sum bend dI/dt dI/dt',   step = -(H + damping)^-1 g.

dI/dt = 2 w sum_m Re(conj(Psi_m) dPsi_m/dt) comes from an exact Jacobian-vector product of the forward model, for any
number of slices. Odstrcil et al., Opt. Express 26:3108 (2018), sec. 3.3, divide by ||P dO/dx||^2 instead, in which the
shift of the whole exit wave counts although no pattern depends on it; H does not contain it.

Per position, before each group's update: the scan position and the pattern's intensity factor. Once a sweep, from a
sample of all positions: the specimen's tilt and the slices' thicknesses, through the propagators.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, model_serializer

from ptydesign.config import Strict
from ptydesign.grids import Grid
from ptydesign.reconstruct.forward import (
    Optical,
    Problem,
    chunk_size,
    exit_waves,
    optical,
    over_chunks,
    probes_of,
    take,
    views,
)
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

MEASURED = 64  # positions of a sweep that measure tilt and thickness
LARGEST_TILT_RAD, LARGEST_STRETCH = 1e-3, 0.05  # steps of a sweep: tilt, and thickness as a part of itself
LARGEST_WEIGHT_STEP = 0.1  # of OPR in a sweep, in parts of the first mode's amplitude
DAMPING = 0.1  # of the group's mean curvature, so that a position which says little moves little


class Refinements(Strict):
    """What is refined besides object and probe; part of every engine's settings. Everything is off by default."""

    refine_positions: bool = Field(False, description="correct scan positions")
    positions_start: int = Field(3, ge=0, description="sweeps before positions are corrected")
    position_step: float = Field(1.0, gt=0, le=2, description="factor of a position's step")
    position_clip_px: float = Field(0.3, gt=0, description="largest step of a position in a sweep, in object pixels")
    position_affine: float = Field(
        0.0,
        ge=0,
        le=1,
        description="part of each departure from an affine map of the nominal positions that is taken back in a sweep",
    )
    position_error_a: float = Field(
        0.0,
        ge=0,
        description="expected error of a position along one axis, about an affine map of the nominal ones: a prior "
        "that low doses need, for counts of electrons; 0 is no prior",
    )
    opr_start: int = Field(3, ge=0, description="sweeps before the probe may vary over the scan (probe.opr_modes)")
    refine_intensity: bool = Field(False, description="correct an intensity factor of each pattern")
    intensity_start: int = Field(3, ge=0, description="sweeps before intensity factors are corrected")
    refine_tilt: bool = Field(False, description="refine the specimen's tilt; needs two slices or more")
    slices_alike: float = Field(
        0.5,
        ge=0,
        le=1,
        description="part of the slices' departure from their mean that is taken back in each sweep that refines the "
        "tilt; with 0 a tilt is hardly found",
    )
    refine_thickness: Literal["off", "total", "each"] = Field(
        "off", description="refine one factor of all slices' thicknesses, or each slice's"
    )
    propagation_start: int = Field(5, ge=0, description="sweeps before tilt and thickness are refined")
    propagation_step: float = Field(1.0, gt=0, le=10, description="factor of the step of tilt and thickness")

    quiet: ClassVar[frozenset[str]] = frozenset(
        {
            "refine_positions",
            "positions_start",
            "position_step",
            "position_clip_px",
            "position_affine",
            "position_error_a",
            "opr_start",
            "refine_intensity",
            "intensity_start",
            "refine_tilt",
            "slices_alike",
            "refine_thickness",
            "propagation_start",
            "propagation_step",
        }
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler) -> dict[str, Any]:
        """A plan that refines nothing is written as it was before there were refinements: stored trials stay valid."""
        fields = type(self).model_fields
        return {k: v for k, v in handler(self).items() if k not in self.quiet or getattr(self, k) != fields[k].default}

    def starts(self, sweep: int) -> dict[str, float]:
        """Switches (0 or 1) of what is refined in a sweep, as arguments of the compiled sweep."""
        return {
            "positions_on": float(sweep >= self.positions_start),
            "intensity_on": float(sweep >= self.intensity_start),
            "opr_on": float(sweep >= self.opr_start),
            "propagation_on": float(sweep >= self.propagation_start),
        }


def wanted(static, state: ReconState) -> tuple[bool, bool, int]:
    """(positions, intensity, weights of OPR): what is refined per position."""
    options = dict(static)
    return (
        options["refine_positions"],
        options["refine_intensity"],
        0 if state.opr_modes is None else len(state.opr_modes),
    )


def scores(
    far: jax.Array, d_expected: jax.Array, pattern: jax.Array, weight: jax.Array, problem: Problem, noise: str
) -> tuple[jax.Array, jax.Array]:
    """(g (k,), H (k, k)) of one pattern's negative log-likelihood; d_expected (k, ky, kx): dI/dt of each parameter."""
    model = NOISE_MODELS[noise]
    expected = weight * jnp.sum(far.real**2 + far.imag**2, axis=0) + problem.background
    slope = problem.mask * model.slope(expected, pattern, problem.offset)
    # at y = I the derivative of the slope is the expected second derivative
    _, bend = jax.jvp(lambda i: model.slope(i, expected, problem.offset), (expected,), (jnp.ones_like(expected),))
    flat = d_expected.reshape(len(d_expected), -1)
    return flat @ slope.ravel(), (flat * (problem.mask * bend).ravel()) @ flat.T


def change_of_pattern(far: jax.Array, d_far: jax.Array, weight: jax.Array) -> jax.Array:
    """dI (ky, kx) of a change of the far field (mode, ky, kx)."""
    return 2 * weight * jnp.sum(far.real * d_far.real + far.imag * d_far.imag, axis=0)


def position_scores(state: ReconState, indices, count, problem: Problem, o: Optical, noise: str, static):
    """g (m, k) and H (m, k, k) of each member of a group; k: position y, x in px, then log of the intensity factor,
    then the weights of OPR, as far as they are wanted. Zero beyond `count`."""
    positions, intensity, varying = wanted(static, state)
    shape = state.probe.shape[-2:]
    probes = probes_of(state)
    size = indices.shape[0]
    chunk = chunk_size(shape, 3 * state.probe.shape[0] + varying, size)
    seen = views(state.positions_px[indices], shape, o)
    real = state.positions_px.dtype
    number = 2 * positions + intensity + varying

    def one(slot: jax.Array, weight: jax.Array):
        index, first, factor = indices[slot], seen.first[slot], seen.shift(slot)
        patch = take(state.object, first, shape)
        scale = state.intensity[index]
        shifted = probes.at(index) * factor

        def model(spectrum_):
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
        g, h = scores(far, jnp.stack(changes), problem.patterns[index], scale, problem, noise)
        return weight * g, weight * h

    def body(carry, slots, weight):
        g, h = jax.vmap(one)(slots, weight.astype(real))
        return carry[0].at[slots].add(g), carry[1].at[slots].add(h)

    zero = jnp.zeros((size, number), real), jnp.zeros((size, number, number), real)
    return over_chunks(count, size, chunk, body, zero)


def steps_of(g: jax.Array, h: jax.Array, count: jax.Array) -> jax.Array:
    """Damped Fisher steps (m, k) of a group; a parameter that no pattern depends on stays."""
    diagonal = jnp.diagonal(h, axis1=1, axis2=2)
    mean = jnp.sum(diagonal, axis=0) / jnp.maximum(count, 1)
    damped = diagonal + DAMPING * mean + jnp.finfo(g.dtype).tiny
    # scaled to a unit diagonal, so that units and counts do not matter
    unit = 1 / jnp.sqrt(damped)
    scaled = h * unit[:, :, None] * unit[:, None, :]
    eye = jnp.eye(h.shape[-1], dtype=g.dtype)
    scaled = scaled * (1 - eye) + eye
    return -unit * jnp.linalg.solve(scaled, (unit * g)[..., None])[..., 0]


def with_prior(g, h, state: ReconState, indices, members: jax.Array, problem: Problem, parameters, noise: str):
    """g and h of a group with a Gaussian prior of positions about an affine map of the nominal ones.

    members: how many of the state's positions are real. The amplitude models' likelihood is half of the Poisson one.
    """
    real = state.positions_px.dtype
    member = (jnp.arange(len(state.positions_px)) < members).astype(real)[:, None]
    nominal = (problem.nominal_a - state.origin_a) / state.pixel_a
    off = (state.positions_px - affine(nominal, state.positions_px, member))[indices]
    spread = parameters["position_error_a"] / state.pixel_a
    half = 0.5 if noise in ("amplitude", "anscombe") else 1.0
    weight = jnp.where(spread > 0, half / jnp.where(spread > 0, spread, 1.0) ** 2, 0.0)
    return g.at[:, :2].add(weight * off), h.at[:, (0, 1), (0, 1)].add(weight)


def group(
    state: ReconState, indices, count, problem: Problem, o: Optical, parameters, static, members: jax.Array
) -> ReconState:
    """Positions and intensity factors of a group's members after one step; members: how many positions are real."""
    positions, intensity, varying = wanted(static, state)
    if not (positions or intensity or varying):
        return state

    def refined(state: ReconState) -> ReconState:
        g, h = position_scores(state, indices, count, problem, o, dict(static)["noise"], static)
        inside_group = (jnp.arange(len(indices)) < count)[:, None]
        if positions:
            g, h = with_prior(g, h, state, indices, members, problem, parameters, dict(static)["noise"])
        steps = jnp.where(inside_group, steps_of(g, h, count), 0.0)
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
    starts, slices, modes = settings.starts(sweep), state.object.shape[0], state.probe.shape[0]
    varying = 0 if state.opr_modes is None else len(state.opr_modes) * starts["opr_on"]
    on = settings.refine_positions * starts["positions_on"] or settings.refine_intensity * starts["intensity_on"]
    if not (on or varying):
        return 0
    models = (3 if settings.refine_positions else 1) + varying / modes + (2.5 if varying else 0)
    return members * models * 2 * slices + groups


def inside(positions_px: jax.Array, state: ReconState) -> jax.Array:
    """Positions limited to those whose windows lie on the canvas."""
    canvas, half = state.object.shape[-2:], [n // 2 for n in state.probe.shape[-2:]]
    low = jnp.asarray(half, positions_px.dtype)
    high = jnp.asarray([c - h - 1 for c, h in zip(canvas, half, strict=True)], positions_px.dtype)
    return jnp.clip(positions_px, low, high)


def sweep(state: ReconState, before: ReconState, groups, problem: Problem, parameters, static) -> ReconState:
    """End of a sweep: one step of tilt and thickness; drift of all positions removed, mean intensity factor one.

    before: the state at the sweep's start. groups: indices (n, m) and counts (n,) of the sweep.
    """
    options = dict(static)
    count = jnp.sum(groups[1])
    if (options["refine_tilt"] or options["refine_thickness"] != "off") and state.object.shape[0] > 1:
        state = propagation(state, *sample_of(groups, MEASURED), problem, parameters, static)
    positions, intensity, _ = wanted(static, state)
    if not (positions or intensity):
        return state
    real = state.positions_px.dtype
    member = (jnp.arange(len(state.positions_px)) < count).astype(real)[:, None]
    if positions:
        # the object could follow any common shift: nothing holds it but this
        drift = jnp.sum(member * (state.positions_px - before.positions_px), axis=0) / count
        moved = state.positions_px - member * drift
        nominal = (problem.nominal_a - state.origin_a) / state.pixel_a
        pull = parameters["position_affine"] * parameters["positions_on"]
        moved = moved - pull * member * (moved - affine(nominal, moved, member))
        state = state.replace(positions_px=inside(moved, state))
    if intensity:
        mean = jnp.sum(member[:, 0] * state.intensity) / count
        state = state.replace(intensity=jnp.where(member[:, 0] > 0, state.intensity / mean, state.intensity))
    return state


def affine(nominal: jax.Array, found: jax.Array, member: jax.Array) -> jax.Array:
    """Least-squares affine map of nominal positions (n, 2) onto the found ones, applied to the nominal ones."""
    middle = jnp.sum(member * nominal, axis=0) / jnp.sum(member)
    extent = jnp.sqrt(jnp.sum(member * (nominal - middle) ** 2) / jnp.sum(member)) + jnp.finfo(nominal.dtype).tiny
    basis = jnp.concatenate([jnp.ones_like(nominal[:, :1]), (nominal - middle) / extent], axis=1)
    gram = basis.T @ (member * basis)
    # a scan along one line has no second direction
    gram = gram + 1e-6 * jnp.trace(gram) * jnp.eye(3, dtype=gram.dtype)
    return nominal + basis @ jnp.linalg.solve(gram, basis.T @ (member * (found - nominal)))


def propagation_scores(state: ReconState, indices, count, problem: Problem, noise: str, static):
    """g (k,) and H (k, k), summed over the first `count` of `indices`; k: tilt y, x in rad, then the logarithm of all
    thicknesses together or of each slice's but the last, as far as the settings want them."""
    options = dict(static)
    shape = state.probe.shape[-2:]
    real = state.positions_px.dtype
    number = state.object.shape[0] - 1
    stretches = {"off": 0, "total": 1, "each": number}[options["refine_thickness"]]
    tilts = 2 if options["refine_tilt"] else 0
    k = tilts + stretches

    def propagators(t: jax.Array) -> jax.Array:
        stretch = t[tilts:]
        if stretches == number:
            stretch = jnp.append(stretch, 0.0)
        thickness = state.thickness_a * (jnp.exp(stretch) if stretches else 1.0)
        tilt = state.tilt_rad + (t[:2] if tilts else 0.0)
        return optical(state.replace(thickness_a=thickness, tilt_rad=tilt), shape).propagators

    here = jnp.zeros(k, real)
    changes = jnp.stack([jax.jvp(propagators, (here,), (along,))[1] for along in jnp.eye(k, dtype=real)])
    o = optical(state, shape)
    probes = probes_of(state)
    size = indices.shape[0]
    chunk = chunk_size(shape, (1 + k) * state.probe.shape[0], size)
    seen = views(state.positions_px[indices], shape, o)

    def one(slot: jax.Array, weight: jax.Array):
        index, first, factor = indices[slot], seen.first[slot], seen.shift(slot)
        probe, patch, scale = ifft2(probes.at(index) * factor), take(state.object, first, shape), state.intensity[index]

        def model(p):
            return fft2(exit_waves(probe, patch, p))

        far, along = jax.linearize(model, o.propagators)
        changed = jax.lax.map(lambda change: change_of_pattern(far, along(change), scale), changes)
        g, h = scores(far, changed, problem.patterns[index], scale, problem, noise)
        return weight * g, weight * h

    def body(carry, slots, weight):
        g, h = jax.vmap(one)(slots, weight.astype(real))
        return carry[0] + jnp.sum(g, axis=0), carry[1] + jnp.sum(h, axis=0)

    return over_chunks(count, size, chunk, body, (jnp.zeros(k, real), jnp.zeros((k, k), real)))


def propagation(state: ReconState, indices, count, problem: Problem, parameters, static) -> ReconState:
    """Tilt and thickness after one step."""
    options = dict(static)
    tilts = 2 if options["refine_tilt"] else 0

    def refined(state: ReconState) -> ReconState:
        if tilts:
            mean = jnp.mean(state.object, axis=0, keepdims=True)
            alike = state.object + parameters["slices_alike"] * (mean - state.object)
            state = straightened(state.replace(object=alike))
        g, h = propagation_scores(state, indices, count, problem, options["noise"], static)
        step = parameters["propagation_step"] * steps_of(g[None], h[None], jnp.ones((), jnp.int32))[0]
        if tilts:
            move = jnp.clip(step[:2], -LARGEST_TILT_RAD, LARGEST_TILT_RAD)
            state = state.replace(tilt_rad=state.tilt_rad + move)
        if options["refine_thickness"] != "off":
            stretch = jnp.clip(step[tilts:], -LARGEST_STRETCH, LARGEST_STRETCH)
            if options["refine_thickness"] == "each":
                stretch = jnp.append(stretch, 0.0)  # nothing depends on the last slice's
            state = state.replace(thickness_a=state.thickness_a * jnp.exp(stretch))
        return state

    return jax.lax.cond(parameters["propagation_on"] > 0, refined, lambda state: state, state)


def straightened(state: ReconState) -> ReconState:
    """The object's mean shear along the beam becomes tilt of the propagators; patterns stay as they are.

    A tilt moves the wave against the slices by dz tan(tilt) a step, as a shear of the object does: patterns tell only
    their sum. A crystal's columns are straight, so that its tilt is what leaves no shear in the object. The tilt
    changes by LARGEST_TILT_RAD at most.
    """
    canvas = state.object.shape[-2:]
    real = state.positions_px.dtype
    ky, kx = (2 * jnp.pi * jnp.asarray(f, real) for f in Grid(canvas, (1.0, 1.0)).frequencies())
    spectrum = fft2(state.object - 1)
    # least squares of O_(s+1) - O_s = -(v . grad) M with the same shift v per angstrom of depth
    distance = state.thickness_a[:-1, None, None]
    middle, change = (spectrum[1:] + spectrum[:-1]) / 2, spectrum[1:] - spectrum[:-1]
    power = jnp.sum(distance**2 * (middle.real**2 + middle.imag**2), axis=0)
    cross = jnp.sum(distance * (jnp.conj(middle) * change).imag, axis=0)
    gram = jnp.asarray([[jnp.sum(power * a * b) for a in (ky, kx)] for b in (ky, kx)])
    right = -jnp.asarray([jnp.sum(cross * a) for a in (ky, kx)])
    gram = gram + (1e-6 * jnp.trace(gram) + jnp.finfo(real).tiny) * jnp.eye(2, dtype=real)
    shear = jnp.linalg.solve(gram, right)  # object pixels per angstrom of depth
    tangent = jnp.tan(state.tilt_rad) + shear * state.pixel_a
    tilt = jnp.clip(jnp.arctan(tangent), state.tilt_rad - LARGEST_TILT_RAD, state.tilt_rad + LARGEST_TILT_RAD)
    shear = (jnp.tan(tilt) - jnp.tan(state.tilt_rad)) / state.pixel_a
    depth = jnp.concatenate([jnp.zeros(1, real), jnp.cumsum(state.thickness_a[:-1])])
    back = depth[:, None] * shear
    spectrum = spectrum * jnp.exp(1j * (back[:, 0, None, None] * ky + back[:, 1, None, None] * kx))
    return state.replace(object=1 + ifft2(spectrum).astype(state.object.dtype), tilt_rad=tilt)


def sample_of(groups: tuple[jax.Array, jax.Array], number: int) -> tuple[jax.Array, jax.Array]:
    """(indices, count): about `number` members, a few of each group. groups: indices (n, m) and counts (n,)."""
    indices, counts = groups
    per_group = max(1, min(indices.shape[1], number // indices.shape[0]))
    chosen = indices[:, :per_group].reshape(-1)
    taken = (jnp.arange(per_group)[None, :] < counts[:, None]).reshape(-1)
    return chosen[jnp.argsort(~taken, stable=True)], jnp.sum(taken)
