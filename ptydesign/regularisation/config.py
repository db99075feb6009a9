"""The study file of a study of regularisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveInt, field_validator, model_validator

from ptydesign.config import Strict
from ptydesign.design.settings import SearchConfig
from ptydesign.design.space import SpaceConfig
from ptydesign.errors import InputError
from ptydesign.reconstruct.paths import DERIVED, leads_to, leaves, nearest_paths, with_values
from ptydesign.reconstruct.plan import Plan
from ptydesign.study.acquisition import ExperimentConfig
from ptydesign.thick.config import BASE, NAME, ThickStudy

TABLES = ("errors", "summary", "dumbbells", "trials")
SLICES, THICKNESS = "slices", "thickness_a"  # of the whole sample: paths of their own beside those of a plan


class NamedPlan(Strict):
    """A plan of reconstruction, and what of it is tuned before it is compared."""

    name: str = Field(pattern=NAME)
    """What the plan is called in tables, figures and file names: lower-case letters, digits and underscores."""
    plan: Plan
    """The plan of reconstruction; its slices are set by the study."""
    tune: SpaceConfig | None = None
    """Values to search by path in the plan, as `engines.0.object_rate`, and `slices`, `thickness_a` (of the whole
    sample); null tunes nothing."""


class Vary(Strict):
    """One setting of the first plan that is varied alone."""

    name: str = Field(pattern=NAME)
    """What the setting is called in tables, figures and file names: lower-case letters, digits and underscores."""
    path: str
    """Where the number is in the plan, as `engines.0.offset`; list items count from 0."""
    values: tuple[float, ...] = Field(min_length=1)
    """Values to try; the plan's own is shown too and need not be listed."""

    @field_validator("values")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) < len(values):
            raise InputError("values", "must differ", list(values), "List each value once.")
        return tuple(sorted(values))


class TuningConfig(SearchConfig):
    """How plans are tuned: Bayesian optimisation of the error of all slices, one point at a time."""

    initial: int = Field(4, ge=1)
    """Number of first points, spread over the space."""
    points: int = Field(6, ge=0)
    """Number of points after the first ones."""
    batch: int = Field(1, ge=1, le=1)
    """Points that are chosen together; always one here."""
    sweeps: PositiveInt = 20
    """Sweeps of a trial, instead of those of the plan's last engine."""


class DumbbellConfig(Strict):
    """Pairs of columns of an element whose separation is measured in the projection."""

    element: str
    """Symbol of the element whose columns form the pairs."""
    longest_a: float = Field(1.0, gt=0)
    """Longest projected distance in angstrom of two columns that count as a pair."""


class ErrorConfig(Strict):
    """How errors against the truth are measured while a reconstruction runs."""

    every: PositiveInt = 5
    """Sweeps from one measurement to the next."""
    margin_a: float = Field(1.0, ge=0)
    """How far in angstrom from the edge of the scanned field pixels begin to count."""


class RegularisationStudy(ThickStudy):
    """A study of regularisation at one scale: one dataset, several plans, settings of the first plan varied one by
    one."""

    slices: int = Field(ge=2, le=1000)
    """How many equal slices the whole sample is reconstructed in, where a plan's tuning doesn't say otherwise."""
    plans: tuple[NamedPlan, ...] = Field(min_length=1)
    """Plans of reconstruction to compare; the first is the one that `vary` changes."""
    vary: tuple[Vary, ...] = ()
    """Settings of the first plan that are varied one at a time."""
    tuning: TuningConfig = TuningConfig()
    """How plans with `tune` are tuned before they are compared."""
    dumbbells: DumbbellConfig | None = None
    """Pairs of columns to measure; null measures none."""
    errors: ErrorConfig = ErrorConfig()
    """When and where errors against the truth are measured."""

    @model_validator(mode="after")
    def _consistent(self) -> RegularisationStudy:
        for key, items in (("plans", self.plans), ("vary", self.vary)):
            names = [item.name for item in items]
            for name in names:
                if names.count(name) > 1:
                    raise InputError(key, "must have different names", name, "Rename one.")
        for number, item in enumerate(self.plans):
            if item.plan.object.slices != 1:
                field = f"plans.{number}.plan.object.slices"
                raise InputError(field, "is set by the study's key slices", item.plan.object.slices, "Remove it.")
            if any(engine.resample is not None for engine in item.plan.engines):
                rule = "must not resample: all reconstructions are compared on the same pixels"
                raise InputError(f"plans.{number}.plan.engines", rule, "resample", "Remove resample.")
            if item.tune is not None:
                for name, dimension in item.tune.root.items():
                    self._try_path(item, name, dimension, f"plans.{number}.tune")
        for number, vary in enumerate(self.vary):
            known = _numbers_of(self.plans[0].plan)
            if vary.path not in known:
                rule = "must lead to a number of the first plan"
                mend = f"{nearest_paths(vary.path, known)} A list's items count from 0, and have to be in the plan."
                raise InputError(f"vary.{number}.path", rule, vary.path, mend)
            for value in vary.values:
                self.plan_with(self.plans[0].plan, {vary.path: value}, 100.0, f"vary.{number}")
        return self

    @field_validator("vary", mode="before")
    @classmethod
    def _is_a_list(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            mend = "Write - {name: offset, path: engines.0.offset, values: [0.1, 1]}, a line for each."
            raise InputError("vary", "must be a list of name, path and values", content, mend)
        return content

    def _try_path(self, item: NamedPlan, name: str, dimension: Any, where: str) -> None:
        values = dimension.choices or (dimension.low, dimension.high)
        for value in values:
            try:
                self.plan_with(item.plan, {name: int(value) if dimension.integer else value}, 100.0, where)
            except InputError as error:
                known = {*leaves(item.plan.model_dump(mode="json")), *DERIVED, SLICES, THICKNESS}
                if any(leads_to(name, path) for path in known):  # the value is wrong
                    raise
                raise InputError(error.field, error.rule, error.value, nearest_paths(name, known)) from None

    def plan_with(self, plan: Plan, values: dict[str, Any], true_a: float, where: str = "plan") -> Plan:
        """A plan with slices and with values at paths. true_a: thickness of the sample, unless it is among the values.

        Raises InputError naming `<where>.<path>`.
        """
        values = dict(values)
        slices, thickness = int(values.pop(SLICES, self.slices)), float(values.pop(THICKNESS, true_a))
        if slices < 1 or thickness <= 0:
            name, value = (SLICES, slices) if slices < 1 else (THICKNESS, thickness)
            raise InputError(f"{where}.{name}", "must be greater than 0", value, "Give a number greater than 0.")
        content = plan.model_dump(mode="json")
        content["object"] = {**content["object"], "slices": slices, "slice_thickness_a": thickness / slices}
        return with_values(content, values, where)

    @property
    def names(self) -> list[str]:
        """The study has one experiment."""
        return [BASE]

    def experiment_of(self, name: str) -> ExperimentConfig:
        """That experiment."""
        return self.experiment

    def point_of(self, name: str) -> dict[str, Any]:
        """What it changes: nothing."""
        return {}


def value_at(plan: Plan, path: str) -> float:
    """The number at a path of a plan. Raises KeyError if there is none."""
    return _numbers_of(plan)[path]


def _numbers_of(plan: Plan) -> dict[str, float]:
    """What of a plan can be varied, by path: its numbers, but for the slices, which the study's own keys set."""
    found = leaves(plan.model_dump(mode="json", exclude={"object"}))
    return {path: float(value) for path, value in found.items() if isinstance(value, int | float)}
