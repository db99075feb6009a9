"""How a search is configured, and what it is told. Light to import: scikit-optimize stays in `propose` and `gp`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError, nearest

METHODS = ("bo", "random")
ACQUISITIONS = ("gp_hedge", "EI", "LCB", "PI")
LIARS = ("cl_min", "cl_mean", "cl_max")
DESIGNS = ("hammersley", "halton", "sobol", "latin", "random")
SMOOTHNESS = (0.5, 1.0, 1.5, 2.5)
# Every round is a step of the workflow and a fit to all points before it (cubic in their number).
MAX_POINTS = 10_000  # first points, and points after them
MAX_ROUNDS = 400


def _one_of(known: Sequence[Any], name: str) -> Any:
    def check(value: Any) -> Any:
        if value not in known:
            raise InputError(name, "must be a known one", value, nearest(str(value), map(str, known)))
        return value

    return AfterValidator(check)


class KernelConfig(Strict):
    """Covariance of the surrogate. nu: smoothness of the Matern kernel: 0.5, 1 (Cao et al.), 1.5 or 2.5."""

    nu: Annotated[float, _one_of(SMOOTHNESS, "nu")] = 1.0


class SearchConfig(Strict):
    """How a search chooses its points. The defaults are those of Cao et al. (Sci. Rep. 12:12284, 2022).

    method: bo (Bayesian optimisation) or random. initial: number of first points. initial_design: how these are spread.
    points: number of points after them, in batches of `batch`. acquisition: gp_hedge (chooses among the other three by
    their gains), EI, LCB or PI. liar: value a point of a batch is given until it is known, in the words of
    scikit-optimize, which minimises: cl_min is the best value seen (spreads a batch most), cl_max the worst.
    xi: improvement asked for by EI and PI, in standard deviations of the objective. kappa: weight of the
    uncertainty in LCB. eta: how strongly gp_hedge prefers the higher gain. failure_value: objective of a failed
    trial, or none for the worst value seen; never better than that. candidates: random points at which the
    acquisition is tried before it is refined by gradients.
    """

    method: Annotated[str, _one_of(METHODS, "method")] = "bo"
    initial: int = Field(100, ge=1)
    initial_design: Annotated[str, _one_of(DESIGNS, "initial_design")] = "hammersley"
    points: int = Field(700, ge=0)
    batch: int = Field(8, ge=1)
    acquisition: Annotated[str, _one_of(ACQUISITIONS, "acquisition")] = "gp_hedge"
    kernel: KernelConfig = KernelConfig()
    liar: Annotated[str, _one_of(LIARS, "liar")] = "cl_min"
    xi: float = Field(0.01, ge=0)
    kappa: float = Field(1.96, ge=0)
    eta: float = Field(1.0, ge=0)
    failure_value: float | None = None
    candidates: int = Field(2000, ge=10)

    @model_validator(mode="after")
    def _bounded(self) -> SearchConfig:
        if self.initial > MAX_POINTS:
            raise InputError("initial", f"must be at most {MAX_POINTS}", self.initial, "Lower `initial`.")
        if self.points > MAX_POINTS:
            raise InputError("points", f"must be at most {MAX_POINTS}", self.points, "Lower `points`.")
        rounds = math.ceil(self.points / self.batch)
        if rounds > MAX_ROUNDS:
            rule = (
                f"must take at most {MAX_ROUNDS} rounds of `batch` points; {self.points} / {self.batch} take {rounds}"
            )
            raise InputError("points", rule, self.points, "Raise `batch` or lower `points`.")
        return self


@dataclass(frozen=True)
class Observation:
    """A finished trial. value: objective, to be maximised; None (or not finite) if the trial failed, for `reason`."""

    point: Mapping[str, Any]
    value: float | None
    reason: str = ""

    @property
    def failed(self) -> bool:
        """True if there is no finite value."""
        return self.value is None or not math.isfinite(self.value)
