"""Gradient descent on the negative log-likelihood, with optax's update rules.

The gradient comes from JAX's vector-Jacobian product of the forward model. The object's learning rate is a change per
step of a transmission of modulus one; the probe's is relative to its largest modulus at the start, so that neither
depends on the scale of the counts. The rules `lbfgs` and `polyak` measure their steps instead: see `line_search`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from pydantic import Field, model_validator

from ptydesign.errors import InputError
from ptydesign.reconstruct import line_search
from ptydesign.reconstruct.context import Context, Group, Options
from ptydesign.reconstruct.directions import directions
from ptydesign.reconstruct.engine import Engine, EngineConfig, gradient_transforms
from ptydesign.reconstruct.forward import probes_of
from ptydesign.reconstruct.regularise import Cost, cost_directions, values_of
from ptydesign.reconstruct.shapes import Scalar
from ptydesign.types import ReconState

RULES = {
    "adam": optax.scale_by_adam,
    "nadam": lambda: optax.scale_by_adam(nesterov=True),
    "amsgrad": optax.scale_by_amsgrad,
    "momentum": lambda: optax.trace(decay=0.9),
    "nesterov": lambda: optax.trace(decay=0.9, nesterov=True),
    "sgd": optax.identity,
}


# Of the group's (loss - floor) / |gradient|^2: without the floor that noise leaves a whole step fits the group's noise.
POLYAK_STEP = 0.3


@dataclass(frozen=True)
class GradientOptions(Options):
    """rule: as in the settings. costs: their kinds."""

    rule: str = "adam"
    costs: tuple[str, ...] = ()


class GradientConfig(EngineConfig):
    """Gradient descent on the negative log-likelihood, with optax's update rules; the only engine with costs."""

    engine: Literal["gradient"] = "gradient"
    """Which engine this is; it decides which other keys there are."""
    rule: Literal["adam", "nadam", "amsgrad", "momentum", "nesterov", "sgd", "lbfgs", "polyak"] = "adam"
    """Update rule of optax; lbfgs and polyak measure their steps, lbfgs on all positions at once."""
    object_rate: float = Field(0.02, gt=0)
    """Change of the object's transmission per step, where vacuum is 1; not for lbfgs and polyak."""
    probe_rate: float = Field(0.01, ge=0)
    """Change of the probe per step, relative to its largest modulus; not for lbfgs and polyak."""
    step: float = Field(1.0, gt=0, le=2)
    """Factor of the step that lbfgs and polyak measure; if it isn't given, 0.3 for polyak."""
    floor: float = Field(0.0, ge=0)
    """Loss per electron that noise leaves, for polyak; without it steps fit the noise."""
    costs: tuple[Cost, ...] = ()
    """Regularisers that are added to the likelihood."""

    quiet: ClassVar[frozenset[str]] = EngineConfig.quiet | {"costs", "step", "floor"}

    @model_validator(mode="after")
    def _settings_of_the_rule(self) -> GradientConfig:
        unused = {
            "lbfgs": ("object_rate", "probe_rate", "floor", "acceleration"),
            "polyak": ("object_rate", "probe_rate"),
        }
        for name in unused.get(self.rule, ("step", "floor")):
            if getattr(self, name) != type(self).model_fields[name].default or name in self.schedules:
                raise InputError(name, f"has no meaning for the rule {self.rule}", getattr(self, name), "Leave it out.")
        if self.rule == "polyak" and "step" not in self.model_fields_set:
            self.__dict__["step"] = POLYAK_STEP  # as in `lsqml`: a plan that gives no step may change its rule
        return self

    def members(self, positions: int) -> int:
        """L-BFGS wants the same function in each step: all positions."""
        return positions if self.rule == "lbfgs" else super().members(positions)

    def parameters(self) -> dict[str, float]:
        """The continuous settings, weights of costs among them."""
        return {**super().parameters(), **values_of("costs", self.costs)}

    def options(self) -> GradientOptions:
        """The discrete settings; of the costs their kinds."""
        return GradientOptions(**vars(super().options()), rule=self.rule, costs=tuple(cost.kind for cost in self.costs))


class Memory(NamedTuple):
    """of_object, of_probe: optax's own. scale: the probe's largest modulus at the start, of each scan
    (scan, 1, 1, 1) where there are several."""

    of_object: optax.OptState
    of_probe: optax.OptState
    scale: Float[Array, "*each"]


AnyMemory = Memory | line_search.Memory


def init(state: ReconState, options: GradientOptions) -> AnyMemory:
    """Memory of the update rules and the probe's scale."""
    if options.rule in line_search.RULES:
        return line_search.init(state, options.rule)
    rule = RULES[options.rule]()
    modulus = jnp.abs(state.probe)
    scale = jnp.max(modulus) if state.scan is None else jnp.max(modulus, axis=(1, 2, 3), keepdims=True)
    return Memory(_real_moments(rule.init(state.object)), _real_moments(rule.init(state.probe)), scale)


def _real_moments(memory: optax.OptState) -> optax.OptState:
    """Second moments of complex gradients are real; optax starts them as complex numbers, whose roots cost much."""
    names = {"nu", "nu_max"} & set(getattr(memory, "_fields", ()))
    return memory._replace(**{name: jnp.real(getattr(memory, name)) for name in names})


def group(
    state: ReconState, memory: AnyMemory, members: Group, context: Context[GradientOptions]
) -> tuple[ReconState, AnyMemory, Scalar]:
    """One group: gradient of its mean loss per electron, one step of the rule."""
    options, parameters, counts = context.options, context.parameters, context.problem.counts
    (gathered,) = directions(state, (members,), context, options.object_modes, gradient=True)
    if options.costs:
        to_object, to_probe = cost_directions(state, options.costs, parameters, counts)
        share = members.count * counts  # weights refer to the loss per electron
        gathered = gathered._replace(
            object=gathered.object + share * to_object, probe=gathered.probe + share * to_probe
        )
    if options.rule in line_search.RULES:
        state, memory = line_search.step(state, memory, gathered, members, context)
        return state, memory, gathered.loss
    rule = RULES[options.rule]()
    of_object, of_probe, scale = memory
    # A position's gradient for the object is of the order of the probe's intensity; for probe / scale likewise.
    electrons = jnp.maximum(probes_of(state).counts(*members), 1) * scale**2
    d_object, of_object = rule.update(gathered.object / jnp.sum(electrons), of_object)
    d_probe, of_probe = rule.update(gathered.probe * scale / electrons, of_probe)
    rate = parameters["probe_rate"] * parameters["probe_on"] * scale
    state = state.replace(
        object=state.object + parameters["object_rate"] * d_object, probe=state.probe + rate * d_probe
    )
    return state, Memory(of_object, of_probe, scale), gathered.loss


def transforms(settings: GradientConfig, members: int, slices: int) -> float:
    """Of a gradient; L-BFGS measures its step by a Jacobian-vector product at each position."""
    along = members * (4 + 4 * (slices - 1)) + 2 if settings.rule == "lbfgs" else 0
    return gradient_transforms(settings, members, slices) + along


ENGINE = Engine(GradientConfig, init, group, transforms=transforms, shares=True)
