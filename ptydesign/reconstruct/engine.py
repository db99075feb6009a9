"""What an engine is: a configuration and three pure functions, state in, state out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
from pydantic import Field

from ptydesign.reconstruct.forward import Optical, Problem
from ptydesign.reconstruct.refine import Refinements
from ptydesign.types import ReconState

Static = tuple[tuple[str, Any], ...]


class EngineConfig(Refinements):
    """Settings that every engine has. Floats may change without recompilation; everything else is static."""

    sweeps: int = Field(40, ge=1, description="passes over all positions")
    group: int = Field(32, ge=1, description="positions per update")
    batches: Literal["compact", "sparse", "random"] = Field("sparse", description="which positions form a group")
    noise: Literal["amplitude", "anscombe", "poisson", "gaussian"] = Field("amplitude", description="noise model")
    offset: float = Field(1e-3, gt=0, description="regulariser of the noise model, in mean counts per pixel")
    probe_start: int = Field(1, ge=0, description="sweeps before the probe is updated")
    max_amplitude: float = Field(1.5, ge=1, description="object amplitudes are clamped to this value")

    multislice: ClassVar[bool] = True  # False: the engine is defined for one slice only

    loop_only: ClassVar[frozenset[str]] = frozenset(
        {"engine", "sweeps", "batches", "probe_start", "positions_start", "intensity_start", "propagation_start"}
    )

    def parameters(self) -> dict[str, float]:
        """The continuous settings: arguments of the compiled sweep."""
        return {name: value for name, value in self if isinstance(value, float)}

    def static(self) -> Static:
        """The discrete settings that shape the compiled sweep, hashable."""
        return tuple(
            (name, value) for name, value in self if not isinstance(value, float) and name not in self.loop_only
        )


@dataclass(frozen=True)
class Group:
    """One group: indices (m,) into the positions, of which the first `count` are members."""

    indices: jax.Array
    count: jax.Array


jax.tree_util.register_dataclass(Group, data_fields=["indices", "count"], meta_fields=[])

Memory = Any
Parameters = dict[str, jax.Array]


@dataclass(frozen=True)
class Engine:
    """An algorithm as pure functions.

    config: its settings. init(state, static): what it remembers between groups.
    group(state, memory, group, problem, optical, parameters, static): state, memory and summed loss after one group.
    sweep(state, memory, groups, problem, optical, parameters, static): state and memory at the end of a sweep;
    groups: a Group whose arrays have a leading axis.
    """

    config: type[EngineConfig]
    init: Callable[[ReconState, Static], Memory]
    group: Callable[..., tuple[ReconState, Memory, jax.Array]]
    sweep: Callable[[ReconState, Memory, Group, Problem, Optical, Parameters, Static], tuple[ReconState, Memory]]
