"""Regularisers. Constraints change a state between groups or sweeps of any engine; costs add to the gradient engine's
likelihood. Each is a pure function in a registry; its numbers are traced, so that other values recompile nothing.

Gauge: patterns leave a global phase and a plane phase ramp of the object free. Constraints and costs that refer to
vacuum (positivity, L1, L2) take it as transmission 1, which is what a reconstruction starts from.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from pydantic import Field, model_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.functions import Place, Registry, guarded
from ptydesign.reconstruct import tried
from ptydesign.reconstruct.costs import COSTS
from ptydesign.reconstruct.shapes import Canvas, Index, Modes, Scalar
from ptydesign.types import ReconState
from ptydesign.waves import fft2, ifft2

Values = Mapping[str, Scalar]
Probe = Complex[Array | np.ndarray, "*scan mode ny nx"]


class ConstraintConfig(Strict):
    """What every constraint has. Floats are traced; `every` and the kind are static."""

    every: Literal["group", "sweep"] = "sweep"
    """Whether it is applied after each group or after each sweep."""

    @property
    def name(self) -> str:
        """Of its function in CONSTRAINTS."""
        return self.kind


class ObjectAmplitude(ConstraintConfig):
    """Object amplitudes are clamped to [smallest, largest]; phases stay."""

    kind: Literal["object_amplitude"] = "object_amplitude"
    """Which regulariser this is; it decides which other keys there are."""
    smallest: float = Field(0.0, ge=0)
    """Smallest amplitude of a slice."""
    largest: float = Field(1.0, gt=0)
    """Largest amplitude of a slice; 1 forbids gain."""

    @model_validator(mode="after")
    def _ordered(self) -> ObjectAmplitude:
        if self.smallest > self.largest:
            raise InputError("smallest", "must not exceed largest", (self.smallest, self.largest), "Swap them.")
        return self


class Positivity(ConstraintConfig):
    """Object phases below `floor_rad` are moved towards it by `strength`: a potential attracts electrons everywhere."""

    kind: Literal["positivity"] = "positivity"
    """Which regulariser this is; it decides which other keys there are."""
    floor_rad: float = 0.0
    """Smallest phase in rad, against vacuum."""
    strength: float = Field(1.0, ge=0, le=1)
    """Part of the way to `floor_rad` that is taken each time."""


class ObjectLowpass(ConstraintConfig):
    """Object frequencies beyond `qmax` are removed, with a raised-cosine edge."""

    kind: Literal["object_lowpass"] = "object_lowpass"
    """Which regulariser this is; it decides which other keys there are."""
    qmax: float = Field(gt=0)
    """Spatial frequency in 1/A up to which the object passes unchanged."""
    edge: float = Field(0.1, gt=0)
    """Width of the soft edge beyond `qmax`, as a fraction of it."""


class LayerBlur(ConstraintConfig):
    """Slices are blurred along the beam by a Gaussian, in real space; the mean over slices stays."""

    kind: Literal["layer_blur"] = "layer_blur"
    """Which regulariser this is; it decides which other keys there are."""
    sigma_a: float = Field(ge=0)
    """Standard deviation of the Gaussian in angstrom; 0 does nothing."""


class Deramp(ConstraintConfig):
    """The plane phase ramp and the mean phase of the scanned object are removed; the probe takes the ramp, so that no
    pattern changes."""

    kind: Literal["deramp"] = "deramp"
    """Which regulariser this is; it decides which other keys there are."""


class ProbeSupport(ConstraintConfig):
    """The probe vanishes outside a disc in real space."""

    kind: Literal["probe_support"] = "probe_support"
    """Which regulariser this is; it decides which other keys there are."""
    radius_a: float = Field(gt=0)
    """Radius of the disc in angstrom, about the window's centre."""
    edge_a: float = Field(1.0, gt=0)
    """Width of the disc's soft edge in angstrom."""


class ProbeAperture(ConstraintConfig):
    """The probe vanishes outside a disc in reciprocal space: the microscope's aperture."""

    kind: Literal["probe_aperture"] = "probe_aperture"
    """Which regulariser this is; it decides which other keys there are."""
    semiangle_mrad: float = Field(gt=0)
    """Semi-angle of the aperture in mrad."""
    edge_mrad: float = Field(1.0, gt=0)
    """Width of the aperture's soft edge in mrad."""


class OrthogonalModes(ConstraintConfig):
    """Probe modes are made orthogonal. After each sweep they are in any case; `every: group` does it more often."""

    kind: Literal["orthogonal_modes"] = "orthogonal_modes"
    """Which regulariser this is; it decides which other keys there are."""


def clamp(state: ReconState, largest: Scalar) -> ReconState:
    """Object amplitudes above `largest` are reduced to it; phases stay."""
    amplitude = jnp.abs(state.object)
    return state.replace(object=state.object * jnp.minimum(1.0, largest / jnp.maximum(amplitude, 1e-20)))


def object_amplitude(state: ReconState, values: Values) -> ReconState:
    """See `ObjectAmplitude`. A zero transmission has no phase: it becomes `smallest`, real."""
    amplitude = jnp.abs(state.object)
    unit = jnp.where(amplitude > 0, state.object / jnp.where(amplitude > 0, amplitude, 1.0), 1.0)
    return state.replace(object=unit * jnp.clip(amplitude, values["smallest"], values["largest"]))


def positivity(state: ReconState, values: Values) -> ReconState:
    """See `Positivity`."""
    phase = jnp.angle(state.object)
    turn = values["strength"] * jnp.maximum(values["floor_rad"] - phase, 0.0)
    return state.replace(object=state.object * jnp.exp(1j * turn))


def _disc(radius: Float[Array, "ny nx"], limit: Scalar, edge: Scalar) -> Float[Array, "ny nx"]:
    """1 below `limit`, 0 beyond `limit + edge`, a raised cosine between."""
    t = jnp.clip((radius - limit) / edge, 0.0, 1.0)
    return 0.5 + 0.5 * jnp.cos(jnp.pi * t)


def _frequency(shape: tuple[int, int], pixel_a: Float[Array, " 2"]) -> Float[Array, "ny nx"]:
    """(ny, nx) |k| in 1/A, corner-centred."""
    ky, kx = (jnp.fft.fftfreq(n) / pixel_a[axis] for axis, n in enumerate(shape))
    return jnp.sqrt(ky[:, None] ** 2 + kx[None, :] ** 2)


def object_lowpass(state: ReconState, values: Values) -> ReconState:
    """See `ObjectLowpass`."""
    keep = _disc(_frequency(state.object.shape[-2:], state.pixel_a), values["qmax"], values["edge"] * values["qmax"])
    return state.replace(object=ifft2(fft2(state.object) * keep).astype(state.object.dtype))


def on_probes(state: ReconState, change: Callable[[Probe], Probe]) -> ReconState:
    """A linear change of all probe modes, and of those by which the first varies."""
    varying = None if state.opr_modes is None else change(state.opr_modes)
    return state.replace(probe=change(state.probe), opr_modes=varying)


def probe_support(state: ReconState, values: Values) -> ReconState:
    """See `ProbeSupport`."""
    y, x = ((jnp.arange(n) - n // 2) * state.pixel_a[axis] for axis, n in enumerate(state.probe.shape[-2:]))
    radius = jnp.sqrt(y[:, None] ** 2 + x[None, :] ** 2)
    keep = _disc(radius, values["radius_a"] - values["edge_a"] / 2, values["edge_a"])
    return on_probes(state, lambda probe: (probe * keep).astype(probe.dtype))


def probe_aperture(state: ReconState, values: Values) -> ReconState:
    """See `ProbeAperture`."""
    angle_mrad = 1e3 * state.wavelength_a * _frequency(state.probe.shape[-2:], state.pixel_a)
    keep = _disc(angle_mrad, values["semiangle_mrad"] - values["edge_mrad"] / 2, values["edge_mrad"])
    return on_probes(state, lambda probe: ifft2(fft2(probe) * keep).astype(probe.dtype))


def blur_matrix(thickness_a: Float[Array, " slice"], sigma_a: Scalar) -> Float[Array, "slice slice"]:
    """(slice, slice) Gaussian weights of the distances between slices; symmetric, rows and columns sum to 1.

    Made doubly stochastic by Sinkhorn's iteration, so that neither a constant nor the sum over slices is changed.
    """
    depth = jnp.cumsum(thickness_a) - thickness_a / 2
    wide = jnp.maximum(sigma_a, 1e-3)
    kernel = jnp.exp(-0.5 * ((depth[:, None] - depth[None, :]) / wide) ** 2)

    def balance(_: Index, d: Float[Array, " slice"]) -> Float[Array, " slice"]:
        return jnp.sqrt(d / (kernel @ d))

    d = jax.lax.fori_loop(0, 60, balance, jnp.ones_like(depth))
    return d[:, None] * kernel * d[None, :]


def layer_blur(state: ReconState, values: Values) -> ReconState:
    """Transmissions mixed across slices by `blur_matrix`: the mean over slices stays, whatever the blur."""
    if state.object.shape[0] == 1:
        return state
    matrix = blur_matrix(state.thickness_a, values["sigma_a"])
    return state.replace(object=jnp.einsum("st,tyx->syx", matrix.astype(state.object.dtype), state.object))


def scanned(state: ReconState) -> Float[Array, "y x"]:
    """(y, x) 1 inside the bounding box of the scan positions, 0 outside. Padded positions repeat the first one."""
    low, high = jnp.min(state.positions_px, axis=0), jnp.max(state.positions_px, axis=0)
    y, x = (jnp.arange(n) for n in state.object.shape[-2:])
    inside_y, inside_x = (y >= low[0]) & (y <= high[0]), (x >= low[1]) & (x <= high[1])
    return (inside_y[:, None] & inside_x[None, :]).astype(state.positions_px.dtype)


def deramp(state: ReconState, values: Values) -> ReconState:
    """Remove the plane (least squares, scanned region) from the phase summed over slices.

    The ramp is taken from the first slice and given to the probe, so that no pattern changes. Slopes of up to a
    quarter turn per pixel are found: first the mean gradient, then a least-squares plane through what is left.
    """
    weight = scanned(state)
    ny, nx = state.object.shape[-2:]
    whole = jnp.prod(state.object, axis=0)
    y = (jnp.arange(ny) - ny // 2).astype(weight.dtype)[:, None]
    x = (jnp.arange(nx) - nx // 2).astype(weight.dtype)[None, :]

    def mean_slope(axis: int) -> Scalar:
        both = weight * jnp.roll(weight, -1, axis)
        return jnp.angle(jnp.sum(both * jnp.roll(whole, -1, axis) * jnp.conj(whole)))

    slope = jnp.stack([mean_slope(0), mean_slope(1)])
    rest = whole * jnp.exp(-1j * (slope[0] * y + slope[1] * x))
    offset = jnp.angle(jnp.sum(weight * rest))
    phase = jnp.angle(rest * jnp.exp(-1j * offset))
    # plane through the residual: normal equations of (1, y, x), centred so that they are well conditioned
    total = jnp.maximum(jnp.sum(weight), 1.0)
    cy, cx = jnp.sum(weight * y) / total, jnp.sum(weight * x) / total
    dy, dx = y - cy, x - cx
    tiny = jnp.finfo(weight.dtype).tiny
    more_y = jnp.sum(weight * dy * phase) / (jnp.sum(weight * dy**2) + tiny)
    more_x = jnp.sum(weight * dx * phase) / (jnp.sum(weight * dx**2) + tiny)
    offset = offset + jnp.sum(weight * phase) / total - more_y * cy - more_x * cx
    slope_y, slope_x = slope[0] + more_y, slope[1] + more_x
    flat = jnp.exp(-1j * (slope_y * y + slope_x * x + offset))
    my, mx = state.probe.shape[-2:]
    tilted = jnp.exp(1j * (slope_y * (jnp.arange(my) - my // 2)[:, None] + slope_x * (jnp.arange(mx) - mx // 2)))
    straight = state.replace(object=state.object.at[0].multiply(flat.astype(state.object.dtype)))
    return on_probes(straight, lambda probe: probe * tilted.astype(probe.dtype))


def orthogonal_modes(state: ReconState, values: Values | None = None) -> ReconState:
    """Probe modes rotated to be orthogonal, in order of power; the sum of their intensities stays as it is.

    A mode's phase is that of the mode it came from, so that what engines remember of modes keeps its meaning.
    """
    if state.probe.shape[-3] == 1:
        return state
    change = orthogonal if state.scan is None else jax.vmap(orthogonal)
    return state.replace(probe=change(state.probe))


def orthogonal(probe: Modes) -> Modes:
    """`orthogonal_modes` of one probe."""
    flat = probe.reshape(len(probe), -1)
    _, vectors = jnp.linalg.eigh(flat @ jnp.conj(flat.T))
    turn = jnp.conj(vectors[:, ::-1].T)
    own = jnp.diagonal(turn)
    phase = jnp.where(own == 0, 1.0, jnp.conj(own) / jnp.where(own == 0, 1.0, jnp.abs(own)))
    rotated = (phase[:, None] * turn) @ flat
    return rotated.reshape(probe.shape)


def turned(old: Probe, new: Probe) -> Complex[Array, "*scan mode mode"]:
    """(mode, mode) unitary matrix that takes modes (mode, y, x) nearest to others: a rotation between two sweeps, such
    as an orthogonalisation, must not part what is remembered from its modes (Procrustes)."""
    if old.ndim == 4:
        return jax.vmap(turned)(old, new)
    modes = old.shape[0]
    left, _, right = jnp.linalg.svd(new.reshape(modes, -1) @ jnp.conj(old.reshape(modes, -1).T))
    return left @ right


@dataclass(frozen=True)
class Constraint:
    """A constraint: its settings and the pure function (state, traced values by name) -> state."""

    config: type[ConstraintConfig]
    apply: Callable[[ReconState, Values], ReconState]


def _taken(function: Any, place: Place) -> Constraint:
    """A user's constraint; what it gives is checked whenever it is compiled."""
    call = guarded(function, place)

    def apply(state: ReconState, values: Values) -> ReconState:
        after = call(state, values)
        tried.same_kind(place, state, after)
        return after

    return Constraint(OwnConstraint, apply)


CONSTRAINTS: Registry[Constraint] = Registry(
    "constraint",
    {
        "deramp": Constraint(Deramp, deramp),
        "layer_blur": Constraint(LayerBlur, layer_blur),
        "object_amplitude": Constraint(ObjectAmplitude, object_amplitude),
        "object_lowpass": Constraint(ObjectLowpass, object_lowpass),
        "orthogonal_modes": Constraint(OrthogonalModes, orthogonal_modes),
        "positivity": Constraint(Positivity, positivity),
        "probe_aperture": Constraint(ProbeAperture, probe_aperture),
        "probe_support": Constraint(ProbeSupport, probe_support),
    },
    _taken,
)


class OwnConstraint(ConstraintConfig):
    """A function of your own, (state, values) -> state."""

    kind: Literal["function"]
    """Which regulariser this is; `function` is your own."""
    function: CONSTRAINTS.own_annotation
    """Its name, as file.py:name."""
    values: dict[str, float] = Field({})
    """Numbers that it gets by name. Other numbers compile nothing, and each may have a schedule."""

    @model_validator(mode="after")
    def _tried(self) -> OwnConstraint:
        try:
            _try(self.function, tuple(self.values.items()))
        except InputError as error:
            raise InputError("function", f"{error.field} {error.rule}", error.value, error.mend) from None
        return self

    @property
    def name(self) -> str:
        """Of its function in CONSTRAINTS."""
        return self.function


@functools.lru_cache
def _try(name: str, values: tuple[tuple[str, float], ...]) -> None:
    """Try a user's constraint on a random state, on vacuum, and on what it gave."""
    place, apply = CONSTRAINTS.place(name), jax.jit(CONSTRAINTS[name].apply)
    given = {k: jnp.asarray(v, jnp.float32) for k, v in values}
    for state in (jax.tree.map(jnp.asarray, one) for one in tried.states()):
        after = apply(state, given)
        for item in ("object", "probe"):
            tried.finite(place, getattr(after, item), f"values of the {item}")
        apply(after, given)
    if apply._cache_size() > 1:
        rule = "must give arrays of the same types as it gets"
        raise place.error(rule, "a state that is compiled anew", "Use .astype(state.object.dtype), for instance.")


AnyConstraint = Annotated[
    functools.reduce(operator.or_, (*(item.config for item in CONSTRAINTS.values()), OwnConstraint)),
    Field(discriminator="kind"),
]


class Cost(Strict):
    """A cost in the gradient engine: a weight times a function of object or probe; `costs.py` has the formulas."""

    kind: COSTS.annotation
    """Name of the cost; `layer_` costs compare neighbouring slices, `_tv` is total variation, `_tikhonov` the squared
    gradient. A function of your own is named as file.py:name."""
    weight: float = Field(ge=0)
    """Weight relative to the negative log-likelihood per measured electron; 0 switches it off without recompilation."""


def values_of(name: str, items: Sequence[Strict]) -> dict[str, float]:
    """The continuous settings of a list of regularisers, as flat names: `costs.0.weight`."""
    own = ((i, {**dict(item), **getattr(item, "values", {})}) for i, item in enumerate(items))
    return {f"{name}.{i}.{k}": v for i, settings in own for k, v in settings.items() if isinstance(v, float)}


def constrain(state: ReconState, constraints: Sequence[tuple[str, str]], when: str, parameters: Values) -> ReconState:
    """Apply the constraints, given as (kind, every), that belong to the end of a `when` = group or sweep."""
    for i, (kind, every) in enumerate(constraints):
        if every == when:
            start = f"constraints.{i}."
            values = {n.removeprefix(start): v for n, v in parameters.items() if n.startswith(start)}
            state = CONSTRAINTS[kind].apply(state, values)
    return state


def cost_of(state: ReconState, kinds: Sequence[str], parameters: Values, counts: Scalar) -> Scalar | int:
    """Weighted sum of costs, 0 without any; counts: mean counts per pattern, the probe's scale."""
    return sum(parameters[f"costs.{i}.weight"] * COSTS[kind](state, counts) for i, kind in enumerate(kinds))


def cost_directions(
    state: ReconState, kinds: Sequence[str], parameters: Values, counts: Scalar
) -> tuple[Canvas, Probe]:
    """Negative gradients of `cost_of` with respect to conj(object) and conj(probe)."""

    def total(object_: Canvas, probe: Probe) -> Scalar:
        return cost_of(state.replace(object=object_, probe=probe), kinds, parameters, counts)

    # JAX gives d/dx - i d/dy of a real function
    d_object, d_probe = jax.grad(total, argnums=(0, 1))(state.object, state.probe)
    return -0.5 * jnp.conj(d_object), -0.5 * jnp.conj(d_probe)
