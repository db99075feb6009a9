"""What is wanted of an experiment: doses, resolution, time, field of view."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ptydesign.config import Strict
from ptydesign.errors import InputError

Dose = Annotated[float, Field(gt=0, le=1e9)]


class GoalConfig(Strict):
    """What is wanted."""

    doses_e_per_a2: tuple[Dose, ...] = Field(min_length=1)
    """Doses in e/A^2 that the specimen gets in all, counted or not: the largest is its limit, smaller ones are planned
    too, for quality against dose."""
    pre_exposure_e_per_a2: float = Field(0.0, ge=0, le=1e9)
    """Part of each dose in e/A^2 that is spent before the scan starts, for focusing and tilting on the same place."""
    dose_rate_limit_e_per_a2_s: PositiveFloat | None = None
    """Largest dose rate in the probe, current / (e pi R^2), in e/A^2 per second, if one is known; null is no limit."""
    resolution_a: PositiveFloat = 1.0
    """Resolution that is wanted, as a period in angstrom; the detector must reach its angle."""
    time_limit_s: PositiveFloat | None = None
    """Longest scan in seconds; null is no limit."""
    field_of_view_a: tuple[PositiveFloat, PositiveFloat] = (200.0, 200.0)
    """[y, x] size in angstrom of the scan on the day; it decides scan time, drift and file size."""
    minimise: Literal["dose"] | None = None
    """What is to be small: `dose` plans for the least of `doses_e_per_a2` at which `resolution_a` is reached; null
    plans for the largest."""
    depth: bool = False
    """Whether the structure along the beam is wanted; the card then checks what several slices need."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written as before there was `minimise`: what was computed stays valid."""
        return {name: value for name, value in handler(self).items() if name != "minimise" or value is not None}

    @model_validator(mode="after")
    def _some_to_choose_from(self) -> GoalConfig:
        if self.minimise and len(self.doses_e_per_a2) < 2:
            rule = "needs two doses or more to choose from"
            mend = "List doses from one that is too small to the most that the specimen stands, each twice the last."
            raise InputError("minimise", rule, list(self.doses_e_per_a2), mend)
        return self

    @field_validator("doses_e_per_a2")
    @classmethod
    def _sorted(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(doses)) < len(doses):
            raise InputError("doses_e_per_a2", "must differ", list(doses), "List each dose once.")
        return tuple(sorted(doses))

    @model_validator(mode="after")
    def _something_left(self) -> GoalConfig:
        if self.pre_exposure_e_per_a2 >= self.doses_e_per_a2[0]:
            rule = f"must be below the smallest dose, {self.doses_e_per_a2[0]:g} e/Å², which it is a part of"
            mend = "Focus elsewhere, or raise goal.doses_e_per_a2."
            raise InputError("pre_exposure_e_per_a2", rule, self.pre_exposure_e_per_a2, mend)
        return self

    @property
    def dose_limit(self) -> float:
        """The largest dose: the plan that the sheet is written for, unless the least is looked for."""
        return self.doses_e_per_a2[-1]
