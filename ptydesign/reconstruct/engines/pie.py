"""Ptychographical iterative engines: ePIE, rPIE, and their multislice form 3PIE.

Maiden & Rodenburg, Ultramicroscopy 109:1256 (2009); Maiden, Johnson & Li, Optica 4:736 (2017); multislice: Maiden,
Humphry & Rodenburg, J. Opt. Soc. Am. A 29:1606 (2012); mixed states: Thibault & Menzel, Nature 494:68 (2013).

One position after the other, in the order of the groups: each updates object and probe before the next one looks at
them, so that the group's size has no effect but on the order. With the wave step d that the noise model asks for,

    object += object_step * conj(P) d / ((1 - alpha) |P|^2 + alpha max |P|^2),   likewise the probe with |O|^2;

alpha = 1 is ePIE. In multislice the step goes back from slice to slice by the adjoint of propagation and transmission,
divided by max |O|^2 of each slice that it passes, and |P|^2 is the intensity that falls on the slice.

Deviations: passing back through a slice divides by max |O|^2 for rPIE, too, since a divisor that varied from pixel to
pixel would not be the adjoint of the model. Intensities are sums over the probe modes. The default steps are below the
papers' 1: the last position that saw a pixel decides its noise, so that a step of 1 fits noise at any dose. The probe's
is smaller still, since every position changes all of the probe: with 0.5 it wanders off at 400 electrons per pattern.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field

from ptydesign.reconstruct.context import Context, Group, Options
from ptydesign.reconstruct.engine import Engine, EngineConfig
from ptydesign.reconstruct.forward import (
    compare_with_data,
    lit_exit_waves,
    probes_of,
    put_patch,
    seen_by,
    take,
    views,
)
from ptydesign.reconstruct.shapes import Index, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2, scaled


class EPIEConfig(EngineConfig):
    """ePIE (Maiden & Rodenburg, Ultramicroscopy 109:1256, 2009), with several slices 3PIE: one position after the
    other."""

    engine: Literal["epie"] = "epie"
    """Which engine this is; it decides which other keys there are."""
    object_step: float = Field(0.3, ge=0, le=2)
    """Factor of the object's step; 1 is the paper's and fits noise."""
    probe_step: float = Field(0.1, ge=0, le=2)
    """Factor of the probe's step; large ones let it wander off at low dose."""


class RPIEConfig(EngineConfig):
    """rPIE (Maiden, Johnson & Li, Optica 4:736, 2017): ePIE whose steps are larger where the illumination is weak."""

    engine: Literal["rpie"] = "rpie"
    """Which engine this is; it decides which other keys there are."""
    object_step: float = Field(0.2, ge=0, le=2)
    """Factor of the object's step; large ones fit noise."""
    probe_step: float = Field(0.1, ge=0, le=2)
    """Factor of the probe's step; large ones let it wander off at low dose."""
    object_alpha: float = Field(0.5, gt=0, le=1)
    """Share of the largest illumination in the divisor of the object's step; 1 is ePIE, less moves dim regions more."""
    probe_alpha: float = Field(1.0, gt=0, le=1)
    """Share of the object's largest intensity in the divisor of the probe's step; 1 is ePIE."""


def init(state: ReconState, options: Options) -> tuple[()]:
    """Nothing to remember."""
    return ()


def group(
    state: ReconState, memory: tuple[()], members: Group, context: Context
) -> tuple[ReconState, tuple[()], Scalar]:
    """Visit the members one after the other. Loss: as each was met."""
    problem, o, parameters = context.problem, context.optical, context.parameters
    noise, modes = context.options.noise, context.options.object_modes
    shape = state.probe.shape[-2:]
    seen = views(state.positions_px[members.indices], shape, o)
    probes = probes_of(state)
    object_alpha, probe_alpha = parameters.get("object_alpha"), parameters.get("probe_alpha")
    object_step, probe_step = parameters["object_step"], parameters["probe_step"] * parameters["probe_on"]

    def visit(i: Index, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        canvas, found, spectrum, total = carry
        canvas = put_patch(canvas, *found)  # what the last visit found: see `forward` for why not at its end
        index, first, factor = members.indices[i], seen.first[i], seen.shift(i)
        probe, patch = ifft2(probes._replace(spectrum=spectrum).at(index) * factor), take(canvas, first, shape)
        wave, pull, lit = jax.vjp(
            lambda p, q: lit_exit_waves(*seen_by(p, q, modes), o.propagators, modes), probe, patch, has_aux=True
        )
        step, loss = compare_with_data(wave, problem.pattern(index), state.intensity[index], problem.of(index), noise)
        d_probe, d_patch = (jnp.conj(d) for d in pull(jnp.conj(step)))
        opaque = patch.real**2 + patch.imag**2
        peaks = jnp.max(opaque, axis=(-2, -1))
        passed = passed_slices(peaks)  # divisors of the step when it reaches the back of each slice
        d_patch = scaled(d_patch, object_step / (passed[:, None, None] * blended(lit, object_alpha)))
        d_probe = scaled(d_probe, probe_step / (passed[0] * blended(opaque[:1], probe_alpha)))
        spectrum = probes.added(spectrum, fft2(d_probe) * jnp.conj(factor), index)
        return canvas, (patch + d_patch, first), spectrum, total + loss

    nothing = take(state.object, seen.first[0], shape), seen.first[0]
    start = state.object, nothing, probes.spectrum, problem.no_loss()
    canvas, found, spectrum, loss = jax.lax.fori_loop(0, members.count, visit, start)
    return state.replace(object=put_patch(canvas, *found), probe=ifft2(spectrum)), memory, jnp.sum(loss)


def blended(intensity: Float[Array, "slice ny nx"], alpha: Scalar | None) -> Float[Array, "slice #ny #nx"]:
    """(1 - alpha) I + alpha max I of each (slice, y, x), never zero; without an alpha max I (slice, 1, 1)."""
    largest = jnp.max(intensity, axis=(-2, -1), keepdims=True) + jnp.finfo(intensity.dtype).tiny
    return largest if alpha is None else (1 - alpha) * intensity + alpha * largest


def passed_slices(peaks: Float[Array, " slice"]) -> Float[Array, " slice"]:
    """(slice,) product of the peaks (slice,) of all later slices."""
    return jnp.concatenate([jnp.cumprod(peaks[:0:-1])[::-1], jnp.ones_like(peaks[:1])])


EPIE = Engine(EPIEConfig, init, group)
RPIE = Engine(RPIEConfig, init, group)
