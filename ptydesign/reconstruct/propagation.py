"""The specimen's tilt and the slices' thicknesses, refined once a sweep from a sample of all positions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ptydesign.grids import Grid
from ptydesign.reconstruct.context import Context, Group, Groups, Options
from ptydesign.reconstruct.fisher import change_of_pattern, scores, steps_of
from ptydesign.reconstruct.forward import chunk_size, exit_waves, optical, over_chunks, probes_of, take, views
from ptydesign.reconstruct.shapes import Index, Indices, Members, Modes, Propagators, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

MEASURED = 64  # positions of a sweep that measure tilt and thickness
LARGEST_TILT_RAD, LARGEST_STRETCH = 1e-3, 0.05  # steps of a sweep: tilt, and thickness as a part of itself


def propagation_scores(
    state: ReconState, members: Group, context: Context
) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
    """g (k,) and H (k, k), summed over a group's members; k: tilt y, x in rad, then the logarithm of all thicknesses
    together or of each slice's but the last, as far as the settings want them."""
    problem, options, o = context.problem, context.options, optical(state, state.probe.shape[-2:])
    shape = state.probe.shape[-2:]
    real = state.positions_px.dtype
    number = state.object.shape[0] - 1
    stretches = {"off": 0, "total": 1, "each": number}[options.refine_thickness]
    tilts = 2 if options.refine_tilt else 0
    k = tilts + stretches

    def propagators(t: Float[Array, " k"]) -> Propagators:
        stretch = t[tilts:]
        if stretches == number:
            stretch = jnp.append(stretch, 0.0)
        thickness = state.thickness_a * (jnp.exp(stretch) if stretches else 1.0)
        tilt = state.tilt_rad + (t[:2] if tilts else 0.0)
        return optical(state.replace(thickness_a=thickness, tilt_rad=tilt), shape).propagators

    here = jnp.zeros(k, real)
    changes = jnp.stack([jax.jvp(propagators, (here,), (along,))[1] for along in jnp.eye(k, dtype=real)])
    probes = probes_of(state)
    size = members.indices.shape[0]
    chunk = chunk_size(shape, (1 + k) * state.probe.shape[-3], size)
    seen = views(state.positions_px[members.indices], shape, o)

    def one(slot: Index, weight: Scalar) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
        index, first, factor = members.indices[slot], seen.first[slot], seen.shift(slot)
        probe, patch, scale = ifft2(probes.at(index) * factor), take(state.object, first, shape), state.intensity[index]

        def model(p: Propagators) -> Modes:
            return fft2(exit_waves(probe, patch, p))

        far, along = jax.linearize(model, o.propagators)
        changed = jax.lax.map(lambda change: change_of_pattern(far, along(change), scale), changes)
        g, h = scores(far, changed, problem.pattern(index), scale, problem.of(index), options.noise)
        return weight * g, weight * h

    def body(carry: tuple[Array, Array], slots: Indices, weight: Members) -> tuple[Array, Array]:
        g, h = jax.vmap(one)(slots, weight.astype(real))
        return carry[0] + jnp.sum(g, axis=0), carry[1] + jnp.sum(h, axis=0)

    return over_chunks(members.count, size, chunk, body, (jnp.zeros(k, real), jnp.zeros((k, k), real)))


def propagation(state: ReconState, members: Group, context: Context) -> ReconState:
    """Tilt and thickness after one step that a group measures."""
    options, parameters = context.options, context.parameters
    tilts = 2 if options.refine_tilt else 0

    def refined(state: ReconState) -> ReconState:
        if tilts:
            mean = jnp.mean(state.object, axis=0, keepdims=True)
            alike = state.object + parameters["slices_alike"] * (mean - state.object)
            state = straightened(state.replace(object=alike))
        g, h = propagation_scores(state, members, context)
        step = parameters["propagation_step"] * steps_of(g[None], h[None], jnp.ones((), jnp.int32))[0]
        if tilts:
            move = jnp.clip(step[:2], -LARGEST_TILT_RAD, LARGEST_TILT_RAD)
            state = state.replace(tilt_rad=state.tilt_rad + move)
        if options.refine_thickness != "off":
            stretch = jnp.clip(step[tilts:], -LARGEST_STRETCH, LARGEST_STRETCH)
            if options.refine_thickness == "each":
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


def wanted(options: Options) -> bool:
    """Whether tilt or thickness is refined."""
    return options.refine_tilt or options.refine_thickness != "off"


def looks_back(options: Options, groups: int, members: int) -> int:
    """How many first members of each group the end of a sweep looks at the patterns of."""
    return of_each(groups, members, MEASURED) if wanted(options) else 0


def of_each(groups: int, members: int, number: int) -> int:
    """Members of each of `groups` groups of `members` that make about `number` together."""
    return max(1, min(members, number // groups))


def sample_of(groups: Groups, number: int) -> Group:
    """About `number` members, a few of each group."""
    per_group = of_each(*groups.indices.shape, number)
    chosen = groups.indices[:, :per_group].reshape(-1)
    taken = (jnp.arange(per_group)[None, :] < groups.counts[:, None]).reshape(-1)
    return Group(chosen[jnp.argsort(~taken, stable=True)], jnp.sum(taken))
