"""The file of a comparison: designs, reconstructions, and protocols that say how both are used."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import Field, PositiveInt, ValidationError, model_serializer, model_validator

from ptydesign.config import Strict, cause_of, rule_and_mend
from ptydesign.errors import InputError, nearest
from ptydesign.experiment.config import DesignConfig, ObjectiveConfig, SimulatedStudy, check_objective
from ptydesign.reconstruct.plan import Plan
from ptydesign.score.compare import ScoreConfig
from ptydesign.study.acquisition import ExperimentConfig, at_point, some_numbers
from ptydesign.study.file import FOLDER_NAME

Section = TypeVar("Section", bound=Strict)

NO_NAMES = ("na", "nan", "none", "null")  # a table's empty cells are written so
NAMES = {"propertyNames": {"pattern": FOLDER_NAME}}  # they become part of file names
WAYS: tuple[Literal["protocol"], Literal["reconstruction"]] = ("protocol", "reconstruction")


class OnePlan(SimulatedStudy):
    """The study with one of its reconstructions: a study as a trial knows it."""

    reconstruction: Plan
    """Plan of reconstruction."""
    score: ScoreConfig
    """How reconstructions are scored against the truth."""
    objective: ObjectiveConfig
    """Which of the scores counts."""
    scored: tuple[PositiveInt, ...] = ()
    """Numbers of sweeps after which a trial is scored, besides the last one."""
    patience: None = None
    """Trials go on to their plan's end."""


class ProtocolConfig(Strict):
    """A way in which all designs are simulated, reconstructed and scored: what differs from the study's own."""

    reconstruction: str
    """One of `reconstructions`, by its name."""
    experiment: dict[str, Any] = Field(
        default_factory=dict, json_schema_extra=some_numbers("scan_margin_a", "point_sampled")
    )
    """What differs from `experiment`, where a design doesn't say otherwise."""
    score: dict[str, Any] = Field(default_factory=dict)
    """What differs from `score`, by its keys."""
    scored_sweeps: tuple[PositiveInt, ...] = ()
    """Numbers of sweeps after which a trial is scored, besides its last one; the best by the objective counts."""


class CompareStudy(SimulatedStudy):
    """A comparison at one scale: every design with every reconstruction, or by every protocol, at each dose."""

    designs: dict[str, DesignConfig] = Field(min_length=1, json_schema_extra=NAMES)
    """Designs by name: what differs from `experiment`. All is compared with the first design and reconstruction."""
    reconstructions: dict[str, Plan] = Field(min_length=1, json_schema_extra=NAMES)
    """Plans of reconstruction by name. All get the same patterns of a design."""
    protocols: dict[str, ProtocolConfig] = Field(default_factory=dict, json_schema_extra=NAMES)
    """Protocols by name: each simulates, reconstructs and scores all designs in its own way. They take the place of the
    bare reconstructions; without any, every design is done with every reconstruction."""
    contrasts: dict[str, tuple[str, str]] = Field(default_factory=dict, json_schema_extra=NAMES)
    """Questions by name: [one design, another]; is the first one better? Answered for each protocol, or each
    reconstruction, at each dose, draw by draw."""
    draws: int = Field(5, ge=2, le=10_000)
    """Simulations with fresh noise of each design at each dose."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """Probability with which an interval holds the true mean."""
    score: ScoreConfig = ScoreConfig()
    """How reconstructions are scored against the truth."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Which of the scores is drawn and put into words; all are in the tables."""

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Written as before there were protocols and contrasts where there are none: draws stay valid."""
        return {k: v for k, v in handler(self).items() if k not in ("protocols", "contrasts") or v}

    @model_validator(mode="after")
    def _consistent(self) -> CompareStudy:
        for field in ("designs", "reconstructions", "protocols", "contrasts"):
            _check_names(field, list(getattr(self, field)))
        for name, protocol in self.protocols.items():
            if protocol.reconstruction not in self.reconstructions:
                mend = nearest(protocol.reconstruction, self.reconstructions)
                rule = "must be one of the study's reconstructions"
                raise InputError(f"protocols.{name}.reconstruction", rule, protocol.reconstruction, mend)
            self._check_protocol(name)
        for name, pair in self.contrasts.items():
            for design in pair:
                if design not in self.designs:
                    mend = nearest(design, self.designs)
                    raise InputError(f"contrasts.{name}", "must be two of the study's designs", design, mend)
        if len(self.pairs) < 2:
            rule = f"must be two or more, or there must be two {self.way_word}s"
            raise InputError("designs", rule, list(self.designs), "Add what it is to be compared with.")
        check_objective(self.objective, self.score)
        return self

    def _check_protocol(self, name: str) -> None:
        protocol = self.protocols[name]
        self.under(name)
        check_objective(self.objective, self.score_of(name))
        counts, most = list(protocol.scored_sweeps), self.reconstructions[protocol.reconstruction].sweeps
        where = f"protocols.{name}.scored_sweeps"
        if counts != sorted(set(counts)):
            raise InputError(where, "must rise", counts, "List each number once, the smallest first.")
        if counts and counts[-1] > most:
            raise InputError(where, f"must not exceed its reconstruction's sweeps, {most}", counts[-1], "Lower it.")

    @property
    def way_word(self) -> Literal["protocol", "reconstruction"]:
        """What designs are done by."""
        return WAYS[0] if self.protocols else WAYS[1]

    @property
    def ways(self) -> dict[str, ProtocolConfig]:
        """Protocols by name, or one for each reconstruction."""
        return self.protocols or {name: ProtocolConfig(reconstruction=name) for name in self.reconstructions}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(design, protocol or reconstruction) of all that is compared; the first is what others are compared with."""
        return [(design, way) for design in self.designs for way in self.ways]

    def under(self, way: str) -> ExperimentConfig:
        """The experiment of a protocol, of which designs are changes. Raises InputError."""
        where = f"protocols.{way}.experiment"
        return _changed(self.experiment, self.ways[way].experiment, where, ("field_of_view_a",))

    def score_of(self, way: str) -> ScoreConfig:
        """How a protocol scores. Raises InputError."""
        return _changed(self.score, self.ways[way].score, f"protocols.{way}.score")

    def config(self, design: str, way: str | None = None) -> ExperimentConfig:
        """The experiment of a design, by a protocol. Raises InputError."""
        base = self.experiment if way is None else self.under(way)
        return at_point(base, self.designs[design].point, f"designs.{design}")

    def by(self, way: str) -> OnePlan:
        """The study with one of its reconstructions, or by one of its protocols."""
        shared = {field: getattr(self, field) for field in SimulatedStudy.model_fields}
        chosen = self.ways[way]
        return OnePlan(
            **shared | {"experiment": self.under(way)},
            reconstruction=self.reconstructions[chosen.reconstruction],
            score=self.score_of(way),
            objective=self.objective,
            scored=chosen.scored_sweeps,
        )


def _changed(base: Section, changes: dict[str, Any], where: str, fixed: tuple[str, ...] = ()) -> Section:
    """A section with some of its keys replaced. fixed: keys that mustn't be. Raises InputError."""
    for name, value in changes.items():
        if name not in type(base).model_fields or name in fixed:
            known = [field for field in type(base).model_fields if field not in fixed]
            raise InputError(f"{where}.{name}", "is not a key that a protocol can change", value, nearest(name, known))
    try:
        return type(base).model_validate({**base.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        cause = cause_of(first)
        if cause is not None:
            raise cause.at(f"{where}.{cause.field}") from None
        rule, mend = rule_and_mend(first, "Correct it in the study file.")
        raise InputError(f"{where}.{'.'.join(map(str, first['loc']))}", rule, first["input"], mend) from None


def _check_names(field: str, names: list[str]) -> None:
    for position, name in enumerate(names):
        if not re.fullmatch(FOLDER_NAME, name):
            rule = "must be a name of letters (a to z), digits and underscores"
            raise InputError(f"{field}.{name}", rule, name, "It becomes part of file names.")
        if name.lower() in NO_NAMES:
            raise InputError(f"{field}.{name}", "must not be a word for a missing value", name, "Rename it.")
        if name.lower() in [other.lower() for other in names[:position]]:
            raise InputError(f"{field}.{name}", "must differ from other names in more than case", name, "Rename it.")
