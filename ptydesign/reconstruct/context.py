"""What engines and refinements work with besides the state: the problem, continuous settings, options, and groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ptydesign.reconstruct.forward import Optical, Problem, optical
from ptydesign.reconstruct.shapes import Index, Indices, Scalar
from ptydesign.types import ReconState

Parameters = Mapping[str, Scalar]


@dataclass(frozen=True)
class Options:
    """The discrete settings that shape a compiled sweep, named as in a plan; an engine may have more.

    constraints: (kind, every) of each. accelerated: whether there is momentum from sweep to sweep.
    """

    noise: str = "amplitude"
    object_modes: str = "all"
    refine_positions: bool = False
    refine_intensity: bool = False
    refine_tilt: bool = False
    refine_thickness: str = "off"
    refine_shift: bool = True
    constraints: tuple[tuple[str, str], ...] = ()
    accelerated: bool = False


SomeOptions = TypeVar("SomeOptions", bound=Options)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Context(Generic[SomeOptions]):
    """A JAX pytree: other problems and parameters of the same shapes compile nothing, other options do.

    parameters: the continuous settings of a sweep and the switches of what it updates. optical: of the state that a
    sweep starts from; None outside of a sweep.
    """

    problem: Problem
    parameters: Parameters
    options: SomeOptions = field(metadata={"static": True})
    optical: Optical | None = None

    def at(self, state: ReconState) -> Context[SomeOptions]:
        """With the optics of a state."""
        return self.replace(optical=optical(state, state.probe.shape[-2:]))

    def replace(self, **changes: Any) -> Context[SomeOptions]:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


class Group(NamedTuple):
    """Positions that are worked on together: the first `count` of the indices (slot,) are its members."""

    indices: Indices
    count: Int[Array, ""]


class Groups(NamedTuple):
    """Groups of a sweep, or of a part of it: indices (group, slot), counts (group,). Empty ones come last."""

    indices: Int[Array, "group slot"]
    counts: Int[Array, " group"]

    @property
    def number(self) -> Int[Array, ""]:
        """How many groups have members."""
        return jnp.sum(self.counts > 0, dtype=self.counts.dtype)

    def row(self, i: Index) -> Group:
        """One of the groups."""
        return Group(self.indices[i], self.counts[i])
