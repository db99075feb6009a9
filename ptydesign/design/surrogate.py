"""What the trials of a search say together: a smooth model of the objective, its best point, its tolerances.

The best single trial is partly luck. The surrogate is the Gaussian process of the search, with a noise term, fitted to
all observations, so its mean is a weighted average over neighbouring trials. It chooses its own smoothness: the Matern
kernel of nu = 1, good for exploring, takes part of the noise of a smooth objective for structure (half of it in a
test), which makes its maximum too high and its plateaus too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ptydesign.design.gp import NOISE_BOUNDS, Regressor, fit_hyperparameters, regress
from ptydesign.design.propose import Data, acquisition, candidates, descend, optima, standardise
from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import Dimension, Point, Scalar, Space
from ptydesign.errors import InputError

APART = 0.05  # least distance of two contenders, in widths of the search ranges
SURE = 2.0  # standard deviations of the model's mean
PROFILE_VALUES = 41  # of a continuous parameter: the ranges are resolved to 1/40 of the search range
SMOOTHNESS = (1.0, 1.5, 2.5)  # nu of the kernels tried; the likelihood decides
EXPECTING = SearchConfig(acquisition="EI", xi=0)  # the improvement itself, with nothing asked for beyond it
NOISES = np.geomspace(*NOISE_BOUNDS, 12)  # variances of the noise that an average over it takes
POOL = 200  # points over which a profile is maximised before the descent


class Tolerance(NamedTuple):
    """Best value of a parameter and the ends of the range that is nearly as good; no ends for words, and for what has
    no meaning at the best point."""

    best: Scalar | None
    low: Scalar | None
    high: Scalar | None


@dataclass(frozen=True)
class Surrogate:
    """The objective as a function of the point. Made by `surrogate`.

    noise_std: standard deviation of a single trial about the mean, in the objective's unit. nu: of the Matern kernel.
    """

    space: Space
    observations: tuple[Observation, ...]
    noise_std: float
    nu: float
    _data: Data
    _model: Regressor
    _seed: int

    def predict(self, points: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """(n,) mean and (n,) standard deviation of the noise-free objective, in its unit."""
        features = self.space.to_unit([self.space.validate_point(p) for p in points])
        mean, std = self._model.predict(features, return_std=True)
        return self._data.mean - self._data.scale * mean, self._data.scale * std

    def contest(
        self, points: Sequence[Mapping[str, Any]], draws: int = 4000
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n,) mean and (n,) standard deviation of another trial at some different points, and (n,) the probability of
        each that it is the best of them, by draws of the noise-free function.

        Averaged over how much of the scatter is noise, by its likelihood: through a few trials the model can bend
        without any, and the likeliest noise alone would be far too sure."""
        features = self.space.to_unit([self.space.validate_point(p) for p in points])
        rng, theta = np.random.default_rng([self._seed, 2]), self._model.kernel_.k1.theta
        models = [
            regress(self._data.features, self._data.values, self.nu, np.append(theta, np.log(noise)))
            for noise in NOISES
        ]
        likely = np.array([model.log_marginal_likelihood_value_ for model in models])
        weights = np.exp(likely - likely.max())
        weights /= weights.sum()
        wins, means, squares = np.zeros(len(features)), [], []
        for model, count in zip(models, rng.multinomial(draws, weights), strict=True):
            mean, covariance = model.predict(features, return_cov=True)
            drawn = rng.multivariate_normal(mean, covariance, count, check_valid="ignore", method="eigh")
            wins += np.bincount(np.argmin(drawn, axis=1), minlength=len(features))
            means.append(mean)
            squares.append(mean**2 + np.diag(covariance) + model.noise_)
        mean = weights @ np.array(means)
        std = np.sqrt(np.maximum(weights @ np.array(squares) - mean**2, 0.0))
        return self._data.mean - self._data.scale * mean, self._data.scale * std, wins / draws

    def best(self, observed: bool = False) -> tuple[Point, float, float]:
        """The point of the greatest mean, that mean, and its standard deviation.

        observed: only among points that were tried and didn't fail; otherwise in the whole space.
        """
        if observed:
            points = [self.space.validate_point(o.point) for o in self.observations if not o.failed]
            features = self.space.to_unit(points)
        else:
            features = self._pool(4000)
        features = features[np.argsort(self._model.predict(features), kind="stable")]
        if not observed:
            ends = np.array([descend(self._mean, x, self.space, 60) for x in features[:5]])
            features = np.vstack([features[:1], ends])
            features = features[np.argsort(self._model.predict(features), kind="stable")]
        point = self.space.from_unit(features[:1])[0]
        mean, std = self.predict([point])
        return point, float(mean[0]), float(std[0])

    def challenger(self, name: str | None = None, value: Scalar | None = None) -> tuple[Point, float]:
        """The new point of the greatest expected improvement on the best mean of those tried, and that improvement in
        the objective's unit. It is of the noise-free objective: a lucky trial is no standard.

        name, value: a parameter that is held, with a value that was tried; points with others don't count then."""
        seen, kind, pool, held = self._data.features, EXPECTING.acquisition, self._pool(4000), slice(0)
        if name is not None:
            held, feature = self._columns(name), self._dimension(name).to_features([value])[0]
            seen = seen[np.all(np.isclose(seen[:, held], feature), axis=1)]
            pool[:, held] = feature
        end = optima(self.space, EXPECTING, [kind], self._model, seen, pool, held)[0][None]
        gain = -acquisition(EXPECTING, kind, end, self._model, float(np.min(self._model.predict(seen))))
        return self.space.from_unit(end)[0], self._data.scale * float(np.ravel(gain)[0])

    def profile(self, name: str) -> tuple[list[Scalar], np.ndarray]:
        """Values of one parameter and (n,) the greatest mean over all other parameters at each; -inf where none of the
        promising points may be tried.

        The others are re-optimised: for each value the best of a pool of promising points, then by gradients.
        The values are all of a discrete parameter, or 41 evenly spaced in its scale and the best one.
        """
        space = self.space
        best, _, _ = self.best()
        dimension = self._dimension(name)
        values = list(dimension.values) if dimension.size <= 200 else self._spread(dimension, best[name])
        pool = self._pool(4000)
        pool = pool[np.argsort(self._model.predict(pool), kind="stable")[:POOL]]
        pool = np.vstack([space.to_unit([best]), pool])
        ends = [self._best_held(name, value, pool) for value in values]
        means = [np.inf if end is None else self._model.predict(end[None])[0] for end in ends]
        return values, self._data.mean - self._data.scale * np.array(means)

    def best_at(self, name: str, value: Scalar) -> Point | None:
        """The point of the greatest mean with one parameter held; None if none with it may be tried."""
        best = self._best_held(name, value, self._pool(4000))
        return None if best is None else self.space.from_unit(best[None])[0]

    def _position(self, name: str) -> int:
        if name not in self.space.names:
            known = f"Known: {', '.join(self.space.names)}."
            raise InputError("name", "must be a parameter of the space", name, known)
        return self.space.names.index(name)

    def _dimension(self, name: str) -> Dimension:
        return self.space.dimensions[self._position(name)]

    def _columns(self, name: str) -> slice:
        """The features of a parameter."""
        position = self._position(name)
        start = sum(d.width for d in self.space.dimensions[:position])
        return slice(start, start + self.space.dimensions[position].width)

    def _best_held(self, name: str, value: Scalar, pool: np.ndarray) -> np.ndarray | None:
        """(features,) of the greatest mean with one parameter held: the best of a pool, then by gradients."""
        space, columns, pool = self.space, self._columns(name), pool.copy()
        pool[:, columns] = self._dimension(name).to_features([value])
        ordered = pool[np.argsort(self._model.predict(pool), kind="stable")]
        first = next((one for one in ordered if space.permits(one[None])[0]), None)  # asking all takes long
        if first is None:
            return None
        both = np.vstack([first, descend(self._held(columns), first, space, 30)])
        return both[np.argmin(self._model.predict(both))]

    def _pool(self, count: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, 1])
        return np.vstack([candidates(self.space, self._data, count, rng), self._data.features])

    def _spread(self, dimension: Any, best: Scalar) -> list[Scalar]:
        even = dimension.from_features(np.linspace(0.0, 1.0, PROFILE_VALUES)[:, None])
        return sorted({*even, best})

    def _mean(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        mean = self._model.predict(x[None])[0]
        slope = self._model.kernel_.gradient_x(x, self._model.X_train_).T @ self._model.alpha_
        return float(mean), slope

    def _held(self, columns: slice) -> Any:
        """The mean with the gradient of some features set to zero, so that a descent leaves them."""

        def function(x: np.ndarray) -> tuple[float, np.ndarray]:
            mean, slope = self._mean(x)
            slope[columns] = 0.0
            return mean, slope

        return function


@threadpool_limits.wrap(limits=1)
def surrogate(
    space: Space,
    config: SearchConfig,
    observations: Sequence[Observation],
    seed: int = 0,
    smoothness: Sequence[float] | None = None,
) -> Surrogate:
    """Gaussian process with Matern kernel and noise fitted to all observations, failures at their pessimistic value.

    Its smoothness nu is the search's, 1, 1.5 or 2.5, or one of those given: the one of greatest marginal likelihood.
    Deterministic given the seed. Raises InputError if there are fewer than two different values.
    """
    observations = tuple(Observation(space.validate_point(o.point), o.value, o.reason) for o in observations)
    data = standardise(space, config, observations)
    if data is None:
        mend = "Run more trials, or look at why they failed."
        raise InputError("observations", "need at least two different values", len(observations), mend)
    models = []
    for nu in dict.fromkeys(smoothness or (config.kernel.nu, *SMOOTHNESS)):
        rng = np.random.default_rng([seed, 0])
        theta = fit_hyperparameters(data.features, data.values, nu, None, rng)
        models.append((nu, regress(data.features, data.values, nu, theta)))
    nu, model = max(models, key=lambda pair: pair[1].log_marginal_likelihood_value_)
    noise = data.scale * float(np.sqrt(model.noise_))
    return Surrogate(space, observations, noise, nu, data, model, seed)


def plateau(surrogate: Surrogate, within: float = 0.05) -> dict[str, Tolerance]:
    """For each parameter its best value and the range over which the objective stays within a fraction of its best.

    The range holds the best value without a gap, along the profile (other parameters re-optimised), so it says how far
    a parameter can be set aside if the others follow. Nearly as good means a mean >= best - within |best|. Ends are
    resolved to 1/40 of the search range, and a range that reaches an end of the search range may go beyond it.
    """
    if not 0 < within < 1:
        raise InputError("within", "must lie between 0 and 1", within, "Use for example 0.05 for 5 %.")
    point, best, _ = surrogate.best()
    threshold = best - within * abs(best)
    result = {}
    for name, dimension in zip(surrogate.space.names, surrogate.space.dimensions, strict=True):
        if not dimension.ordered or point[name] is None:  # no meaning at the best point
            result[name] = Tolerance(point[name], None, None)
            continue
        values, means = surrogate.profile(name)
        good = means >= threshold
        low = high = values.index(point[name])
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(values) - 1 and good[high + 1]:
            high += 1
        result[name] = Tolerance(point[name], values[low], values[high])
    return result


def contenders(surrogate: Surrogate, count: int) -> list[Point]:
    """Up to `count` points that may be the best, APART from each other: the model's optimum, tried or not, then tried
    ones of falling mean that the model can't tell from it by two standard deviations of either mean."""
    optimum, best, std = surrogate.best()
    tried = [surrogate.space.validate_point(o.point) for o in surrogate.observations if not o.failed]
    means, stds = surrogate.predict(tried)
    chosen = [optimum]
    for i in np.argsort(-means, kind="stable"):
        if means[i] + SURE * stds[i] >= best - SURE * std:
            chosen = apart(surrogate.space, chosen, tried[i], count)
    return chosen


def apart(space: Space, chosen: Sequence[Point], point: Point, count: int) -> list[Point]:
    """The chosen points, and `point` if there is room and it is APART from each of them."""
    here = space.to_unit([point])[0]
    near = any(np.linalg.norm(here - there) < APART for there in space.to_unit(chosen))
    return [*chosen, point] if len(chosen) < count and not near else list(chosen)
