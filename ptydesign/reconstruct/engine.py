"""What an engine is: a configuration and three pure functions, state in, state out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from jax.sharding import Mesh
from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, ValidationError, model_validator

from ptydesign.errors import InputError, nearest
from ptydesign.reconstruct import cores
from ptydesign.reconstruct.context import Context, Group, Groups, Options
from ptydesign.reconstruct.noise import NOISE_MODELS
from ptydesign.reconstruct.refinements import Refinements
from ptydesign.reconstruct.regularise import AnyConstraint, values_of
from ptydesign.reconstruct.resample import Resample
from ptydesign.reconstruct.schedule import Schedule, Stop
from ptydesign.reconstruct.shapes import Scalar
from ptydesign.types import ReconState

Memory = Any


class EngineConfig(Refinements):
    """Settings that every engine has. Floats may change without recompilation; see `options` for the others.

    A float may be given as a schedule: {schedule: cosine, start: 0.02, end: 0.001, sweeps: 40}.
    """

    sweeps: int = Field(40, ge=1)
    """Passes over all positions; more fit the data better, and at low dose their noise too."""
    group: int = Field(32, ge=1)
    """Positions of one update; small groups converge in fewer sweeps, large ones take less time a sweep and average
    noise."""
    batches: Literal["compact", "sparse", "random"] = "sparse"
    """Which positions form a group: neighbours, ones that are far apart, or any."""
    noise: NOISE_MODELS.annotation = "amplitude"
    """Noise model of the likelihood; Poisson is right for counted electrons. A function of your own is named as
    file.py:name."""
    offset: float = Field(1e-3, gt=0)
    """What keeps the noise model finite in dark pixels, in mean counts per pixel; more gives dark pixels less
    weight."""
    probe_start: int = Field(1, ge=0)
    """Sweeps before the probe is updated; more than `sweeps` keeps it as it is known."""
    object_modes: Literal["all", "first"] = "all"
    """Probe modes that update the object: all, or the first and strongest only."""
    max_amplitude: float = Field(1.5, ge=1)
    """Largest amplitude of the object's slices; larger ones are reduced to it, and 1 forbids gain."""
    acceleration: float = Field(0.0, ge=0, lt=1)
    """Largest momentum of object and probe from sweep to sweep; 0.9 where a weak probe mode grows slowly, 0 is none."""

    constraints: tuple[AnyConstraint, ...] = ()
    """Regularisers that change the state between groups or sweeps, in this order."""
    schedules: dict[str, Schedule] = Field({})
    """Numbers that change from sweep to sweep, by name; for nested ones, such as `costs.0.weight`."""
    stop: Stop = Stop()
    """When to end before all sweeps are done."""
    resample: Resample | None = None
    """What becomes of the state before this engine starts: other pixels, slices or modes."""

    multislice: ClassVar[bool] = True  # False: the engine is defined for one slice only
    keeps_waves: ClassVar[bool] = False  # True: neither momentum nor a probe that varies over the scan

    # left out of a written plan where not used, so that plans from before they existed keep their hash
    quiet: ClassVar[frozenset[str]] = Refinements.quiet | {
        "acceleration",
        "object_modes",
        "constraints",
        "schedules",
        "stop",
        "resample",
    }

    @model_validator(mode="before")
    @classmethod
    def _take_schedules(cls, content: Any) -> Any:
        """`rate: {schedule: ...}` is short for `rate: start` and `schedules: {rate: ...}`."""
        if not isinstance(content, dict):
            return content
        short = {n: v for n, v in content.items() if isinstance(v, dict) and "schedule" in v}
        if not short:
            return content
        starts = {n: v["start"] for n, v in short.items() if "start" in v}
        rest = {n: v for n, v in content.items() if n not in short}
        return {**rest, **starts, "schedules": {**content.get("schedules", {}), **short}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A number may be a schedule."""
        reference = handler(core_schema)
        properties = handler.resolve_ref_schema(reference)["properties"]
        schedule = properties["schedules"]["additionalProperties"]
        for name, number in properties.items():
            if number.get("type") == "number":
                said = {key: number.pop(key) for key in ("title", "description", "default") if key in number}
                properties[name] = {"anyOf": [number, schedule], **said}
        return reference

    @model_validator(mode="after")
    def _check_schedules(self) -> EngineConfig:
        known = self.parameters()
        for name, schedule in self.schedules.items():
            if name not in known:
                raise InputError(f"schedules.{name}", "is not a continuous setting", name, nearest(name, known))
            field = type(self).model_fields.get(name)
            rule = TypeAdapter(Annotated[float, *field.metadata] if field and field.metadata else float)
            for value in (v for v in (schedule.start, schedule.end) if v is not None):
                try:
                    rule.validate_python(value)
                except ValidationError as error:
                    raise InputError(f"schedules.{name}", error.errors()[0]["msg"], value, "Correct it.") from None
        return self

    @model_validator(mode="after")
    def _check_waves(self) -> EngineConfig:
        if self.acceleration > 0 and self.keeps_waves:
            raise InputError("acceleration", f"is not for {self.engine}", self.acceleration, "Leave it out.")
        if self.keeps_waves and any(c.kind == "deramp" for c in self.constraints):
            # it gives each position's wave another phase, which the kept waves do not get
            raise InputError("constraints", f"deramp is not for {self.engine}", "deramp", "Leave it out.")
        return self

    def parameters(self) -> dict[str, float]:
        """The continuous settings as they are written: arguments of the compiled sweep."""
        plain = {name: value for name, value in self if isinstance(value, float)}
        return {**plain, **values_of("constraints", self.constraints)}

    def parameters_at(self, sweep: int) -> dict[str, float]:
        """The continuous settings in one of this engine's sweeps (0, 1, ...), with schedules."""
        return {**self.parameters(), **{name: schedule.at(sweep) for name, schedule in self.schedules.items()}}

    def members(self, positions: int) -> int:
        """Positions per update, of so many."""
        return min(self.group, positions)

    def options(self) -> Options:
        """The discrete settings that shape the compiled sweep."""
        return Options(
            noise=self.noise,
            object_modes=self.object_modes,
            refine_positions=self.refine_positions,
            refine_intensity=self.refine_intensity,
            refine_tilt=self.refine_tilt,
            refine_thickness=self.refine_thickness,
            refine_shift=self.refine_shift,
            constraints=tuple((c.name, c.every) for c in self.constraints),
            accelerated=self.acceleration > 0,
        )


def gradient_transforms(settings: EngineConfig, members: int, slices: int) -> float:
    """Of one forward model and its adjoint: both shift the probe, cross the slices, and go to the detector or back. The
    probe's spectrum and its sum's inverse come once per group.
    """
    return members * 4 * slices + 2


def nobody(options: Options, groups: int, members: int) -> int:
    """No patterns are needed at the end of a sweep."""
    return 0


def nothing_more(state: ReconState, memory: Memory, groups: Groups, context: Context) -> tuple[ReconState, Memory]:
    """The end of a sweep of an engine that has nothing left to do."""
    return state, memory


@dataclass(frozen=True)
class Engine:
    """An algorithm as pure functions.

    config: its settings. init(state, options): what it remembers between groups.
    group(state, memory, members, context): state, memory and summed loss after one group.
    sweep(state, memory, groups, context): state and memory at the end of a sweep.
    transforms(settings, members, slices): Fourier transforms of one probe mode that a group of `members` positions
    takes; what a work budget counts.
    shares: whether cores may share a group's positions: all sums over them come from `forward.over_chunks`.
    looks_back(options, groups, members): how many first members of each of so many groups the end of a sweep looks at
    the patterns of. The context of `sweep` has no others where patterns stay on the host.
    """

    config: type[EngineConfig]
    init: Callable[[ReconState, Options], Memory]
    group: Callable[[ReconState, Memory, Group, Context], tuple[ReconState, Memory, Scalar]]
    sweep: Callable[[ReconState, Memory, Groups, Context], tuple[ReconState, Memory]] = nothing_more
    transforms: Callable[[EngineConfig, int, int], float] = gradient_transforms
    shares: bool = False
    looks_back: Callable[[Options, int, int], int] = nobody

    def cores(self) -> Mesh | None:
        """The cores that share its work."""
        return cores.mesh() if self.shares else None
