"""Which points to try next: first points, Bayesian optimisation with scikit-optimize, and random search.

`propose` is a pure function of (space, configuration, rounds so far, number of points, seed). GP-Hedge has a memory,
the gains of its acquisition functions, which is rebuilt by replaying the rounds in order. The replay can be shortened
by handing back the `state` returned with the last proposals: it is a cache that is used only if it belongs to the
same history, so proposals are the same with and without it.

scikit-optimize gives the regression and the acquisition functions. Its `Optimizer` isn't used: it refits the
hyperparameters for every lie of a batch and every replayed observation, forgets the gains when a history is told at
once, and has gains whose effect depends on the objective's unit. The hedge itself is the same.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import fmin_l_bfgs_b
from scipy.spatial import cKDTree
from scipy.stats import qmc
from skopt.acquisition import gaussian_ei, gaussian_lcb, gaussian_pi
from skopt.sampler import Hammersly
from threadpoolctl import threadpool_limits

from ptydesign.design.gp import Predicted, Regressor, fit_hyperparameters, regress
from ptydesign.design.settings import DESIGNS, Observation, SearchConfig
from ptydesign.design.space import Point, Space
from ptydesign.errors import InputError, nearest

HEDGED = ("EI", "LCB", "PI")
LIARS = {"cl_min": np.min, "cl_mean": np.mean, "cl_max": np.max}

MAX_DESIGN = 100_000  # points that are looked at for a design where few may be tried
FINITE = 5000  # up to so many points, the acquisition is evaluated at all of them
ALGORITHM = 2  # raised when the same history would lead to another state, so that an old state isn't used
BAD, FEW = 4.0, 10  # see `not_too_bad`
SAME_POINT = 1e-3  # distance in features below which a proposal would repeat a point
REFIT_EVERY_BELOW = 60  # observations; beyond, hyperparameters are refitted when their number has grown by REFIT_GROWTH
REFIT_GROWTH = 1.15
DESIGN, STEP, BATCH, RANDOM = range(4)  # random streams


@dataclass(frozen=True)
class Memory:
    """What a search carries from round to round. JSON-able: numbers, lists and points only.

    rounds: how many it has seen. observations: how many there were when hyperparameters `theta` were fitted.
    gains: of EI, LCB and PI. nominees: their last proposed points.
    """

    rounds: int = 0
    observations: int = 0
    theta: list[float] | None = None
    gains: tuple[float, ...] = (0.0,) * len(HEDGED)
    nominees: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Data:
    """Observations as the regression sees them: features (n, f), values (n,) standardised and *minimised*."""

    features: np.ndarray
    values: np.ndarray
    mean: float
    scale: float


def initial_design(space: Space, n: int, kind: str = "hammersley", seed: int = 0) -> list[Point]:
    """`n` points spread over the space, different from each other as long as the space has so many.

    hammersley is scikit-optimize's set, which is always the same, starts in a corner and is a ramp along its last
    dimension. So it is shifted by a random vector modulo 1 (Cranley & Patterson 1976), which keeps the even spread,
    and shuffled, so that any part of it fills the space. Draw once for a study. Raises InputError.
    """
    rng = _stream(seed, DESIGN, n)
    if n < 1:
        raise InputError("initial", "must be at least 1", n, "Ask for one point or more.")
    points = space.from_cube(_cube(space, n, kind, rng))
    if space.allowed is not None:  # a larger set of the same kind, of which the first n that may be tried are kept
        size = n
        while len(points := [p for p in points if space.allowed(p)]) < n and size < MAX_DESIGN:
            size *= 4
            points = space.from_cube(_cube(space, size, kind, rng))
        points = points[:n]
    return _different(space, points, [], rng)


def _cube(space: Space, n: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """(n, dimensions) coordinates of a design."""
    dimensions = len(space.names)
    if kind == "hammersley":
        even = np.array(Hammersly().generate([(0.0, 1.0)] * dimensions, n), float)
        return rng.permutation((even + rng.random(dimensions)) % 1.0)
    if kind == "halton":
        return (qmc.Halton(dimensions, scramble=False).random(n) + rng.random(dimensions)) % 1.0
    if kind == "sobol":
        power = max(0, math.ceil(math.log2(n)))  # the sequence is balanced for powers of two
        return qmc.Sobol(dimensions, seed=rng).random_base2(power)[:n]
    if kind == "latin":
        return qmc.LatinHypercube(dimensions, seed=rng).random(n)
    if kind == "random":
        return rng.random((n, dimensions))
    raise InputError("initial_design", "must be a known design", kind, nearest(kind, DESIGNS))


@threadpool_limits.wrap(limits=1)  # sums in another order on more threads could tip a choice
def propose(
    space: Space,
    config: SearchConfig,
    rounds: Sequence[Sequence[Observation]],
    n: int,
    seed: int,
    state: Mapping[str, Any] | None = None,
) -> tuple[list[Point], dict[str, Any]]:
    """`n` points to try next, and the search's state, both fit for JSON.

    rounds: the observations of each finished round in order, first points included. state: as returned for an
    earlier round of the same search, or None; it saves time and changes nothing. Points already tried aren't
    proposed again unless a finite space has no others. Without a successful observation, points are random.
    Deterministic for a given machine, on any number of threads. Raises InputError for a point outside the space.
    """
    if n < 1:
        raise InputError("n", "must be at least 1", n, "Ask for one point or more.")
    rounds = [[replace(o, point=space.validate_point(o.point)) for o in each] for each in rounds]
    observations = [o for each in rounds for o in each]
    if config.method == "random":
        return _random_points(space, observations, n, _stream(seed, RANDOM, len(rounds))), {}
    if config.method == "optuna":
        from ptydesign.design import by_optuna

        points = by_optuna.ask(space, config, rounds, objective_values(config, observations), n, seed)
        return _different(space, points, [o.point for o in observations], _stream(seed, BATCH, len(rounds))), {}
    memory = _recall(state, space, config, rounds, seed)
    while memory.rounds < len(rounds):
        memory = _advance(space, config, rounds, memory, seed)
    data = standardise(space, config, observations)
    if data is None:
        points = _random_points(space, observations, n, _stream(seed, RANDOM, len(rounds)))
    else:
        points = _batch(space, config, data, memory, n, _stream(seed, BATCH, len(rounds)))
    state = {**asdict(memory), "digest": _digest(space, config, rounds, seed)}
    return points, json.loads(json.dumps(state))


def objective_values(config: SearchConfig, observations: Sequence[Observation]) -> np.ndarray:
    """(n,) objective of each observation; a failure counts as the worst value seen, or `failure_value` if lower."""
    seen = [o.value for o in observations if not o.failed]
    floor = min([v for v in (config.failure_value, *seen) if v is not None], default=0.0)
    return np.array([floor if o.failed else o.value for o in observations], float)


def not_too_bad(values: np.ndarray) -> np.ndarray:
    """(n,) values, of which those far below the median count as BAD times as far below it as the best lies above. As
    they are if there are few (FEW), or if half of them are equally good.

    How bad a bad design is tells nothing of the good ones, but a smooth model of all swings beyond the best for it: at
    high dose, where most scores lie within 0.03 of the best and some at a half, it expects scores above 1."""
    if len(values) < FEW:
        return values
    middle, best = np.median(values), np.max(values)
    return np.maximum(values, middle - BAD * (best - middle)) if best > middle else values


def standardise(space: Space, config: SearchConfig, observations: Sequence[Observation]) -> Data | None:
    """The observations as `Data`; None if there is nothing to learn from: no success, or all values the same."""
    if len(observations) < 2 or all(o.failed for o in observations):
        return None
    values = not_too_bad(objective_values(config, observations))
    mean, scale = float(np.mean(values)), float(np.std(values))
    if not scale > 1e-12 * max(1.0, abs(mean)):
        return None
    return Data(space.to_unit([o.point for o in observations]), -(values - mean) / scale, mean, scale)


def candidates(space: Space, data: Data, count: int, rng: np.random.Generator) -> np.ndarray:
    """(m, features) valid points at which to look: all of a small space, or random ones, half as many near the best."""
    if space.size <= FINITE:
        return _permitted(space, space.to_unit(space.all_points()))
    best = data.features[np.argsort(data.values, kind="stable")[:5]]
    near = np.repeat(best, count // (2 * len(best)), axis=0)
    near = np.clip(near + rng.normal(0.0, 0.07, near.shape), 0.0, 1.0)
    wide = space.to_unit(space.draw(rng, count))
    return np.concatenate([wide, _permitted(space, space.to_unit(space.from_unit(near)))])


def _permitted(space: Space, features: np.ndarray) -> np.ndarray:
    return features[space.permits(features)] if space.allowed is not None else features


def descend(function: Any, start: np.ndarray, space: Space, iterations: int = 20) -> np.ndarray:
    """(features,) where L-BFGS ends from `start` on function(x) -> (value, gradient), moving continuous features only.

    The result is a valid point: rounded as all proposals are. It is the start if the end may not be tried.
    """
    bounds = [(0.0, 1.0) if free else (x, x) for x, free in zip(start, space.continuous_features, strict=True)]
    end, _, _ = fmin_l_bfgs_b(function, start, bounds=bounds, maxiter=iterations)
    end = space.to_unit(space.from_unit(np.clip(end, 0.0, 1.0)[None]))
    return end[0] if space.allowed is None or space.permits(end)[0] else start


def _advance(space: Space, config: SearchConfig, rounds: Sequence, memory: Memory, seed: int) -> Memory:
    """The memory after one more round: hyperparameters when due, gains of the last nominees, new nominees."""
    count = memory.rounds + 1
    observations = [o for each in rounds[:count] for o in each]
    data = standardise(space, config, observations)
    if data is None:
        return replace(memory, rounds=count, nominees=())
    rng = _stream(seed, STEP, count)
    due = len(observations) < REFIT_EVERY_BELOW or len(observations) >= REFIT_GROWTH * memory.observations
    if memory.theta is None or (due and len(observations) > memory.observations):
        theta = fit_hyperparameters(data.features, data.values, config.kernel.nu, memory.theta, rng)
        memory = replace(memory, theta=theta.tolist(), observations=len(observations))
    memory = replace(memory, rounds=count)
    if config.acquisition != "gp_hedge":
        return memory
    model = regress(data.features, data.values, config.kernel.nu, memory.theta)
    if memory.nominees:  # Brochu, Hoffman & de Freitas (2011): reward is the new mean, here in standard deviations
        reward = -model.predict(space.to_unit(memory.nominees))
        memory = replace(memory, gains=tuple((np.array(memory.gains) + reward).tolist()))
    where = candidates(space, data, config.candidates, rng)
    best = optima(space, config, HEDGED, model, data.features, where)
    return replace(memory, nominees=tuple(space.from_unit(np.array(best))))


def _batch(space: Space, config: SearchConfig, data: Data, memory: Memory, n: int, rng: Any) -> list[Point]:
    """`n` points, each chosen as if those before it had returned the lie (Ginsbourger et al. 2010)."""
    lie = LIARS[config.liar](data.values)
    where = candidates(space, data, config.candidates, rng)
    features, values = data.features, data.values
    for index in range(n):
        name, nominee = config.acquisition, None
        if name == "gp_hedge":
            choice = rng.choice(len(HEDGED), p=_softmax(config.eta * np.array(memory.gains)))
            name, nominee = HEDGED[choice], memory.nominees[choice] if index == 0 else None
        if nominee is None:
            model = regress(features, values, config.kernel.nu, memory.theta)
            best = optima(space, config, [name], model, features, where)[0]
        else:
            best = space.to_unit([nominee])[0]
        features, values = np.vstack([features, best]), np.append(values, lie)
    return space.from_unit(features[len(data.values) :])


def optima(
    space: Space,
    config: SearchConfig,
    names: Sequence[str],
    model: Regressor,
    seen: np.ndarray,
    where: np.ndarray,
    held: slice = slice(0),
) -> list[np.ndarray]:
    """The new point (features,) of the best value of each acquisition: the best of `where`, refined by gradients.

    seen: (n, features) points not to be proposed again, including those of the batch. held: features that keep their
    value.
    """
    tree = cKDTree(seen)
    new = tree.query(where)[0] >= SAME_POINT
    where = where[new] if np.any(new) else where
    known = Predicted(*model.predict(where, return_std=True))
    incumbent = float(np.min(model.predict(seen)))  # of the mean: a lucky noisy value is no standard
    refine = space.size > FINITE and bool(np.any(space.continuous_features))
    result = []
    for name in names:
        value = acquisition(config, name, where, known, incumbent)
        order = np.argsort(value, kind="stable")
        pool = where[order[:1]]
        if refine:

            def single(x: np.ndarray, name: str = name) -> tuple[float, np.ndarray]:
                value, slope = acquisition(config, name, x[None], model, incumbent, gradient=True)
                slope = np.array(np.ravel(slope))
                slope[held] = 0.0
                return float(np.ravel(value)[0]), slope

            ends = np.array([descend(single, where[i], space) for i in order[:3]])
            pool = np.vstack([pool, ends[tree.query(ends)[0] >= SAME_POINT]])
            value = acquisition(config, name, pool, model, incumbent)
            result.append(pool[np.argmin(value)])
        else:
            result.append(pool[0])
    return result


def acquisition(
    config: SearchConfig, name: str, x: np.ndarray, model: Any, incumbent: float, gradient: bool = False
) -> Any:
    """scikit-optimize's acquisition at (n, features), the smaller the better; for one point also its gradient."""
    if name == "LCB":
        return gaussian_lcb(x, model, config.kappa, return_grad=gradient)
    function = gaussian_ei if name == "EI" else gaussian_pi
    result = function(x, model, incumbent, config.xi, return_grad=gradient)
    return tuple(-r for r in result) if gradient else -result


def _random_points(space: Space, observations: Sequence[Observation], n: int, rng: np.random.Generator) -> list[Point]:
    return _different(space, space.draw(rng, n), [o.point for o in observations], rng)


def _different(space: Space, points: list[Point], taken: Sequence[Mapping], rng: np.random.Generator) -> list[Point]:
    """The points with repeated ones replaced by random others, as long as the space has any."""
    used = {_key(point) for point in taken}
    rest: list[Point] | None = None
    result = []
    for point in points:
        if _key(point) in used and space.size <= FINITE:
            if rest is None:
                rest = [p for p in space.all_points() if _key(p) not in used | {_key(q) for q in points}]
                rest = [p for p in rest if space.allowed is None or space.allowed(p)]
                rest = [rest[i] for i in rng.permutation(len(rest))]
            point = rest.pop() if rest else point
        attempts = 0
        while _key(point) in used and space.size > FINITE and attempts < 1000:
            point = next(iter(space.draw(rng, 1)), point)
            attempts += 1
        used.add(_key(point))
        result.append(point)
    return result


def _recall(state: Mapping | None, space: Space, config: SearchConfig, rounds: Sequence, seed: int) -> Memory:
    """The memory in `state` if it belongs to the beginning of this very history, otherwise an empty one."""
    count = state.get("rounds") if state else None
    if not isinstance(count, int) or not 0 <= count <= len(rounds):
        return Memory()
    if state.get("digest") != _digest(space, config, rounds[:count], seed):
        return Memory()
    kept = {k: tuple(v) if isinstance(v, list) and k != "theta" else v for k, v in state.items() if k != "digest"}
    return Memory(**kept)


def _digest(space: Space, config: SearchConfig, rounds: Sequence[Sequence[Observation]], seed: int) -> str:
    """Hash of all that the memory depends on."""
    unrelated = {"method", "initial", "initial_design", "points", "batch", "liar"}
    content = [
        ALGORITHM,
        {n: d.model_dump() for n, d in zip(space.names, space.dimensions, strict=True)},
        config.model_dump(exclude=unrelated),
        [[[o.point, None if o.failed else float(o.value)] for o in each] for each in rounds],
        seed,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _stream(seed: int, *key: int) -> np.random.Generator:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError("seed", "must be a whole number that is not negative", seed, "Use for example 0.")
    return np.random.default_rng([seed, *key])


def _softmax(values: np.ndarray) -> np.ndarray:
    weights = np.exp(values - np.max(values))
    return weights / np.sum(weights)


def _key(point: Mapping[str, Any]) -> tuple:
    return tuple(sorted(point.items()))
