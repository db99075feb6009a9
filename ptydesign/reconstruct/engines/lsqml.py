"""Iterative least-squares maximum likelihood (LSQ-ML).

Odstrcil, Menzel & Guizar-Sicairos, Opt. Express 26:3108 (2018); multislice: Tsai et al., Opt. Express 24:29089 (2016).

`sparse` and `random` batches (the paper's MLs): object and probe take one joint least-squares step after each group,
the object along the direction preconditioned by sqrt(W^2 + (delta max W)^2).

`compact` batches (the paper's MLc): the probe takes a step after each group; the object's direction is gathered over
the whole sweep and taken once, at its end.

Deviations from the paper, each because it converged faster, is cheaper or heeds noise:
- the step lengths solve the group's normal equations, summed over at most `step_positions` positions of the group,
  instead of averaging one solution per position: an exact line search of the quadratic model. The change of the exit
  wave is an exact Jacobian-vector product for any number of slices, where the paper decouples the slices;
- the sparse object step is a part of the measured one (`GROUP_STEP`), which at low dose fits noise;
- the compact object step is measured on the preconditioned direction that is taken (the paper's smallest batch step
  belongs to the unpreconditioned one), and is accelerated by Nesterov momentum with restart by the gradient
  (O'Donoghue & Candes, Found. Comput. Math. 15:715, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from ptydesign.reconstruct.context import Context, Group, Groups, Options
from ptydesign.reconstruct.directions import (
    Direction,
    directions,
    no_direction,
    normal_equations,
    preconditioned,
    solve_joint,
    solve_one,
)
from ptydesign.reconstruct.engine import Engine, EngineConfig, gradient_transforms
from ptydesign.reconstruct.forward import probes_of
from ptydesign.reconstruct.propagation import of_each, sample_of
from ptydesign.reconstruct.shapes import Canvas, Probe, Scalar
from ptydesign.types import ReconState

# A whole least-squares step fits the noise of its group: the last groups that saw a pixel decide it. A compact sweep's
# step is that of all patterns.
GROUP_STEP = 0.3


@dataclass(frozen=True)
class LSQMLOptions(Options):
    """step_positions: as in the settings. compact: whether batches are."""

    step_positions: int = 16
    compact: bool = False


class LSQMLConfig(EngineConfig):
    """Iterative least-squares maximum likelihood (Odstrcil et al., Opt. Express 26:3108, 2018): step lengths are
    measured."""

    engine: Literal["lsqml"] = "lsqml"
    """Which engine this is; it decides which other keys there are."""
    object_step: float = Field(1.0, ge=0, le=2)
    """Factor of the object's least-squares step; if it isn't given, 0.3 unless batches are compact. Less heeds
    noise."""
    probe_step: float = Field(1.0, ge=0, le=2)
    """Factor of the probe's least-squares step."""
    delta: float = Field(0.1, gt=0, le=1)
    """Regulariser of the object's preconditioner, as a fraction of the largest illumination; more moves dim regions
    less."""
    damping: float = Field(0.1, ge=0)
    """Damping of the least-squares system that gives the step lengths, relative to its diagonal; more shortens
    steps."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Largest momentum of the object's step with compact batches; 0 switches it off."""
    step_positions: int = Field(16, ge=1)
    """Positions of a group that measure its step lengths; more are slower and less noisy."""

    @model_validator(mode="after")
    def _step_of_a_group(self) -> LSQMLConfig:
        # not by a second field or None: plans of compact batches are written as before, and a search that changes the
        # batches of a plan which gives no step changes the step, too
        if self.batches != "compact" and "object_step" not in self.model_fields_set:
            self.__dict__["object_step"] = GROUP_STEP
        return self

    def options(self) -> LSQMLOptions:
        """The discrete settings that shape the compiled sweep."""
        own = {"step_positions": self.step_positions, "compact": self.batches == "compact"}
        return LSQMLOptions(**vars(super().options()), **own)


class Memory(NamedTuple):
    """direction: object sums of the sweep so far (compact). velocity (slice, y, x): last object change. age: sweeps
    since the momentum was restarted."""

    direction: Direction
    velocity: Canvas
    age: Scalar


def init(state: ReconState, options: LSQMLOptions) -> Memory:
    """Empty sums, no momentum."""
    return Memory(no_direction(state), jnp.zeros_like(state.object), jnp.zeros((), state.positions_px.dtype))


def _probe_direction(direction: Direction, members: Group, state: ReconState) -> Probe:
    """Mean of the adjoints: the probe's preconditioner is near constant, since |O| is near 1."""
    counts = probes_of(state).counts(*members)
    return direction.probe / jnp.maximum(counts, 1).astype(state.positions_px.dtype)


def group(
    state: ReconState, memory: Memory, members: Group, context: Context[LSQMLOptions]
) -> tuple[ReconState, Memory, Scalar]:
    """One group: gather directions, measure the steps, take them (compact: the probe's only)."""
    options, parameters = context.options, context.parameters
    few = Group(members.indices[: options.step_positions], jnp.minimum(members.count, options.step_positions))
    all_measure = members.indices.shape[0] <= options.step_positions
    groups = (members,) if all_measure else (few, members)
    sums = directions(state, groups, context, options.object_modes)
    gathered = sums[-1]
    d_probe = _probe_direction(gathered, members, state)
    d_object = jnp.zeros_like(state.object) if options.compact else preconditioned(gathered, parameters["delta"])
    normal = normal_equations(state, sums[0], d_object, d_probe, few, context)
    probe_step = parameters["probe_step"] * parameters["probe_on"]
    if options.compact:
        b = solve_one(normal.pp, normal.p, parameters["damping"])
        total = jax.tree.map(jnp.add, memory.direction, gathered)
        state = state.replace(probe=state.probe + probe_step * b * d_probe)
        return state, memory._replace(direction=total), gathered.loss
    joint = solve_joint(normal, parameters["damping"])
    alone = solve_one(normal.oo, normal.o, parameters["damping"]), jnp.zeros_like(normal.o)
    a, b = (jnp.where(parameters["probe_on"] > 0, x, y) for x, y in zip(joint, alone, strict=True))
    state = state.replace(
        object=state.object + parameters["object_step"] * a * d_object,
        probe=state.probe + probe_step * b * d_probe,
    )
    return state, memory, gathered.loss


def sweep(
    state: ReconState, memory: Memory, groups: Groups, context: Context[LSQMLOptions]
) -> tuple[ReconState, Memory]:
    """Compact: the sweep's object step, with momentum."""
    options, parameters = context.options, context.parameters
    if not options.compact:
        return state, memory
    d_object = preconditioned(memory.direction, parameters["delta"])
    chosen = sample_of(groups, 4 * options.step_positions)
    (few,) = directions(state, (chosen,), context)
    normal = normal_equations(state, few, d_object, jnp.zeros_like(state.probe), chosen, context)
    a = parameters["object_step"] * solve_one(normal.oo, normal.o, parameters["damping"])
    uphill = jnp.sum((d_object * jnp.conj(memory.velocity)).real) < 0
    age = jnp.where(uphill, 0.0, memory.age + 1)
    beta = jnp.minimum(age / (age + 3), parameters["momentum"])
    velocity = beta * memory.velocity + a * d_object
    state = state.replace(object=state.object + beta * velocity + a * d_object)
    return state, Memory(no_direction(state), velocity, age)


def looks_back(options: LSQMLOptions, groups: int, members: int) -> int:
    """Compact: a few members of each group measure the step; together they sample the whole scan."""
    return of_each(groups, members, 4 * options.step_positions) if options.compact else 0


def transforms(settings: LSQMLConfig, members: int, slices: int) -> float:
    """Directions, and for the positions that measure the step: two Jacobian-vector products.

    The whole sweep's step (compact) is measured at as many positions as four groups measure: left out.
    """
    measured = min(members, settings.step_positions)
    return gradient_transforms(settings, members, slices) + measured * (2 + 6 * (slices - 1)) + 2


ENGINE = Engine(LSQMLConfig, init, group, sweep, transforms, shares=True, looks_back=looks_back)
