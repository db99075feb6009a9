"""Points that Optuna's samplers choose, as a pure function of the history.

Each call makes a study in memory, puts all finished rounds into it, and asks. `gp` and `tpe` look at finished trials
only, so these are added as they are. `cmaes` and `nsga2` breed generations and remember which trial belongs to which:
for them every trial is asked for again, with its point given, and told, in the order of the rounds. Where a point has
been tried, or may not be tried, another one is asked for, while it counts as one that runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import Dimension, Point, Space

REPLAYED = ("cmaes", "nsga2")
ATTEMPTS = 20  # to find a new point that may be tried
LEAST_POPULATION = 4


def ask(
    space: Space,
    config: SearchConfig,
    rounds: Sequence[Sequence[Observation]],
    values: Sequence[float],
    n: int,
    seed: int,
) -> list[Point]:
    """`n` points to try next after these rounds, first points included. values: the objective of all observations, also
    of those that failed."""
    number = iter(values)
    told = [[(o.point, (float(next(number)), *o.costs)) for o in each] for each in rounds]
    costs = len(told[0][0][1]) - 1 if told and told[0] else 0
    with quiet():
        study = optuna.create_study(sampler=_sampler(space, config, told, seed), directions=directions(costs))
        for each in told:
            if config.sampler in REPLAYED:
                _replay(study, space, each)
            else:
                study.add_trials([trial_of(space, point, value) for point, value in each])
        points = [point for each in told for point, _ in each]
        for place in range(n):
            points.append(_asked(study, space, points, np.random.default_rng([seed, len(points), place])))
        return points[-n:]


def directions(costs: int) -> list[str]:
    """Of the objective and of so many costs."""
    return ["maximize", *["minimize"] * costs]


def trial_of(space: Space, point: Mapping[str, Any], values: Sequence[float]) -> FrozenTrial:
    """A finished trial."""
    return create_trial(values=values, params=_params(space, point), distributions=distributions(space))


def trial_to_show(
    space: Space, point: Mapping[str, Any], values: Sequence[float] | None, attributes: Mapping[str, Any]
) -> FrozenTrial:
    """A trial for Optuna's dashboard, with numbers to choose from by their value. values: None of one that failed."""
    own = {
        name: _distribution(d) if d.choices is None else CategoricalDistribution(list(d.values))
        for name, d in zip(space.names, space.dimensions, strict=True)
        if point[name] is not None
    }
    known = {name: point[name] for name in own}
    state = TrialState.COMPLETE if values is not None else TrialState.FAIL
    return create_trial(state=state, values=values, params=known, distributions=own, user_attrs=dict(attributes))


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's words for a space: numbers to choose from by their rank, words by their place."""
    return {name: _distribution(d) for name, d in zip(space.names, space.dimensions, strict=True)}


def _distribution(d: Dimension) -> BaseDistribution:
    if d.choices is not None:
        size = len(d.values)
        return IntDistribution(0, size - 1) if d.ordered else CategoricalDistribution(list(range(size)))
    if d.integer:
        return IntDistribution(int(d.low), int(d.high), log=d.scale == "log")
    return FloatDistribution(d.low, d.high, log=d.scale == "log")


def _params(space: Space, point: Mapping[str, Any]) -> dict[str, Any]:
    """A point's values as Optuna has them; of what has no meaning there, the middle."""
    found = {}
    for name, d in zip(space.names, space.dimensions, strict=True):
        value = point[name]
        if value is None:
            value = d.from_features(d.to_features([None]))[0]
        found[name] = value if d.choices is None else d.values.index(value)
    return found


def _point(space: Space, params: Mapping[str, Any]) -> Point:
    """The valid point of Optuna's values."""
    places = zip(space.names, space.dimensions, strict=True)
    given = {n: params[n] if d.choices is None else d.values[params[n]] for n, d in places}
    return space.from_unit(space.to_unit([given]))[0]


def _sampler(space: Space, config: SearchConfig, told: Sequence, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler at its start. What is told says how many points came first, and which of them was best."""
    first = told[0] if told else []
    number = int(np.random.SeedSequence([seed, len(told)]).generate_state(1)[0])  # others in each round
    if config.sampler == "gp":
        return optuna.samplers.GPSampler(seed=number, n_startup_trials=1)
    if config.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=number, n_startup_trials=1, multivariate=True, constant_liar=True)
    if config.sampler == "cmaes":
        best = max(first, key=lambda one: one[1][0])[0] if first else None
        x0 = None if best is None else _params(space, best)
        return optuna.samplers.CmaEsSampler(x0=x0, seed=number, n_startup_trials=max(1, len(first)))
    return optuna.samplers.NSGAIISampler(seed=number, population_size=max(LEAST_POPULATION, len(first)))


def _replay(study: optuna.Study, space: Space, told: Sequence) -> None:
    """One round, as it was asked for and told."""
    asked = []
    for point, _ in told:
        study.enqueue_trial(_params(space, point))
        asked.append(study.ask(distributions(space)))
        _ = asked[-1].relative_params  # else a trial whose point is given is of no generation
    for trial, (_, values) in zip(asked, told, strict=True):
        study.tell(trial, list(values))


def _asked(study: optuna.Study, space: Space, taken: Sequence[Mapping], rng: np.random.Generator) -> Point:
    """One more point that is new and may be tried; a random one, if the sampler finds none."""
    for _ in range(ATTEMPTS):
        point = _point(space, study.ask(distributions(space)).params)
        if point not in taken and (space.allowed is None or space.allowed(point)):
            return point
    return next(iter(space.draw(rng, 1)), point)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's log, and without its warnings of what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
