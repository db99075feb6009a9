"""How a search is configured, and what it is told. Light to import: scikit-optimize stays in `propose` and `gp`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ptydesign.config import Strict, one_of
from ptydesign.errors import NOTHING, InputError, nearest

METHODS = ("bo", "random", "optuna")
# Optuna's samplers -> the packages that each needs, and whether it takes several objectives
SAMPLERS = {
    "gp": (("optuna", "torch"), True),
    "tpe": (("optuna",), True),
    "cmaes": (("optuna", "cmaes"), False),
    "nsga2": (("optuna",), True),
}
ACQUISITIONS = ("gp_hedge", "EI", "LCB", "PI")
LIARS = ("cl_min", "cl_mean", "cl_max")
DESIGNS = ("hammersley", "halton", "sobol", "latin", "random")
SMOOTHNESS = (0.5, 1.0, 1.5, 2.5)
# Every round is a step of the workflow and a fit to all points before it (cubic in their number).
MAX_POINTS = 10_000  # first points, and points after them
MAX_ROUNDS = 400


def _known(known: Sequence[Any], name: str) -> Any:
    def check(value: Any) -> Any:
        if value not in known:
            raise InputError(name, "must be a known one", value, nearest(str(value), map(str, known)))
        return value

    return AfterValidator(check)


class KernelConfig(Strict):
    """Covariance of the surrogate, a Gaussian process with a Matern kernel."""

    nu: Annotated[float, _known(SMOOTHNESS, "nu"), one_of(SMOOTHNESS)] = 1.0
    """Smoothness of the Matern kernel; 1 is that of Cao et al., more is smoother."""


class SearchConfig(Strict):
    """How a search chooses its points. The defaults are those of Cao et al. (Sci. Rep. 12:12284, 2022)."""

    method: Annotated[str, _known(METHODS, "method"), one_of(METHODS)] = "bo"
    """Bayesian optimisation (bo), random points, or one of Optuna's samplers (optuna)."""
    sampler: Annotated[str | None, _known((None, *SAMPLERS), "sampler"), one_of((*SAMPLERS, None))] = None
    """Of Optuna: Gaussian process (gp), tree-structured Parzen estimator (tpe), CMA-ES (cmaes) or NSGA-II (nsga2, for
    several objectives)."""
    initial: int = Field(100, ge=1)
    """Number of first points, spread over the space."""
    initial_design: Annotated[str, _known(DESIGNS, "initial_design"), one_of(DESIGNS)] = "hammersley"
    """How the first points are spread."""
    points: int = Field(700, ge=0)
    """Number of points after the first ones, in batches of `batch`."""
    batch: int = Field(8, ge=1)
    """Points that are chosen together and can run side by side; smaller batches learn sooner."""
    acquisition: Annotated[str, _known(ACQUISITIONS, "acquisition"), one_of(ACQUISITIONS)] = "gp_hedge"
    """What a new point should have: expected improvement (EI), a low confidence bound (LCB), probability of improvement
    (PI); gp_hedge chooses among these by their gains."""
    kernel: KernelConfig = KernelConfig()
    """Covariance of the Gaussian process that is fitted to the trials."""
    liar: Annotated[str, _known(LIARS, "liar"), one_of(LIARS)] = "cl_min"
    """What a point of a batch counts as until it is known, in scikit-optimize's words, which minimises: cl_min is the
    best value seen (spreads a batch most), cl_max the worst."""
    xi: float = Field(0.01, ge=0)
    """Improvement that EI and PI ask for, in standard deviations of the objective; more explores more."""
    kappa: float = Field(1.96, ge=0)
    """Weight of the uncertainty in LCB; more explores more."""
    eta: float = Field(1.0, ge=0)
    """How strongly gp_hedge prefers the acquisition with the higher gain."""
    failure_value: float | None = None
    """What a failed trial counts as; null is the worst value seen, and it is never better than that."""
    candidates: int = Field(2000, ge=10, le=100_000)
    """Random points at which the acquisition is tried before it is refined by gradients."""

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written as before there was Optuna where it isn't used: rounds that are done stay valid."""
        return {k: v for k, v in handler(self).items() if k != "sampler" or v is not None}

    @model_validator(mode="after")
    def _complete(self) -> SearchConfig:
        if (self.method == "optuna") != (self.sampler is not None):
            rule = "is required for the method optuna" if self.sampler is None else "is for the method optuna only"
            mend = f"Choose from: {', '.join(SAMPLERS)}." if self.sampler is None else "Leave it out."
            raise InputError("sampler", rule, NOTHING if self.sampler is None else self.sampler, mend)
        missing = [name for name in SAMPLERS[self.sampler][0] if not find_spec(name)] if self.sampler else []
        if missing:
            extra = "optuna-gp" if "torch" in missing else "optuna"
            mend = f"pip install -c constraints.txt -e '.[{extra}]'"
            raise InputError("sampler", f"needs {' and '.join(missing)}, not installed here", self.sampler, mend)
        return self

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


def check_sampler(config: SearchConfig, ordered: Sequence[bool], costs: int) -> None:
    """Refuse a search that its method can't make. ordered: of each parameter, whether its values have an order. costs:
    objectives besides the score. Raises InputError, with fields of a study."""
    several = [name for name, (_, many) in SAMPLERS.items() if many]
    if costs and config.method == "bo":
        mend = f"Use optuna with a sampler of {', '.join(several)}, or random."
        raise InputError("search.method", "has one objective only", config.method, mend)
    if costs and config.sampler is not None and config.sampler not in several:
        raise InputError("search.sampler", "has one objective only", config.sampler, f"Choose {', '.join(several)}.")
    if config.sampler == "cmaes" and (len(ordered) < 2 or not all(ordered)):
        mend = f"Choose {', '.join(several)}, or fix the words outside the space."
        raise InputError("search.sampler", "needs two or more numbers to search, and no words", config.sampler, mend)


@dataclass(frozen=True)
class Observation:
    """A finished trial. value: objective, to be maximised; None (or not finite) if the trial failed, for `reason`.
    costs: further objectives, to be minimised, which are known of a failed trial, too."""

    point: Mapping[str, Any]
    value: float | None
    reason: str = ""
    costs: tuple[float, ...] = ()

    @property
    def failed(self) -> bool:
        """True if there is no finite value."""
        return self.value is None or not math.isfinite(self.value)
