"""The search space: names, ranges and scales, and the coordinates in which a search works.

Three kinds of coordinates are used:

- a *point* is a mapping of name to Python scalar, as it stands in tables and files; a parameter that has no meaning
  there, by its condition (`when`), is None;
- *features* are what the Gaussian process sees: (points, features) in [0, 1]. A numeric dimension has one, the value's
  place in its range (linear or log); numbers to choose from are ordered, so theirs is the rank. Words to choose
  from have no order: two are 0 and 1, more are one-hot. One without a meaning is in the middle;
- the *cube* has one uniform coordinate for each dimension and is where designs and random samples are drawn. A
  discrete value has an equal share of [0, 1), so that the ends of a range are as likely as its middle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, RootModel, model_serializer, model_validator

from ptydesign.config import Strict, build, one_of
from ptydesign.errors import NOTHING, InputError, nearest

Scalar = float | int | str | bool
Point = dict[str, Scalar | None]

SCALES = ("linear", "log")
MOST_WHOLE = 100_000  # numbers of a range
MAX_DRAWS = 200  # of n random points each, where few may be tried
SIGNIFICANT_DIGITS = 6  # of a proposed real value: what an operator can set, and short in tables


class Dimension(Strict):
    """One parameter of the search: a range `{low, high}` (real; `integer: true` for whole numbers), or `{choices}`."""

    low: float | None = None
    """Lower end of the range."""
    high: float | None = None
    """Upper end of the range."""
    scale: Annotated[str, one_of(SCALES)] = "linear"
    """How a range is covered, and how far apart two values are for the search; log for what spans decades."""
    integer: bool = False
    """Whether only whole numbers are tried."""
    choices: tuple[bool | int | float | str, ...] | None = None
    """Instead of a range: at least two different numbers (ordered by value), or words and booleans (unordered)."""
    when: dict[str, tuple[bool | int | float | str, ...]] | None = None
    """Where the parameter has a meaning: {another parameter: [some of its choices]}, all of them together; elsewhere it
    isn't varied. null is everywhere."""

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {n: v for n, v in handler(self).items() if n != "when" or v is not None}

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            for key in content:
                if key not in cls.model_fields:
                    raise InputError(str(key), "is not a known key", content[key], nearest(str(key), cls.model_fields))
        return content

    @model_validator(mode="after")
    def _consistent(self) -> Dimension:
        if self.choices is not None:
            self._check_choices()
            return self
        if self.low is None or self.high is None:
            mend = "Give both ends of the range, or `choices`."
            raise InputError("low" if self.low is None else "high", "is required", NOTHING, mend)
        if not self.low < self.high:
            raise InputError("low", "must be less than high", (self.low, self.high), "Exchange or correct them.")
        if self.scale not in SCALES:
            raise InputError("scale", "must be a known scale", self.scale, nearest(self.scale, SCALES))
        if self.scale == "log" and self.low <= 0:
            raise InputError("low", "must be positive on a log scale", self.low, "Raise it, or use `scale: linear`.")
        if self.integer and self.high - self.low > MOST_WHOLE:
            rule = f"must hold at most {MOST_WHOLE} whole numbers"
            raise InputError("high", rule, self.high - self.low, "Give a narrower range, or leave `integer` out.")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise InputError("low", "both ends must be whole numbers", (self.low, self.high), "Round them.")
        return self

    def _check_choices(self) -> None:
        if self.low is not None or self.high is not None or self.integer or self.scale != "linear":
            rule = "can't be combined with low, high, scale or integer"
            raise InputError("choices", rule, list(self.choices), "Keep the range or the choices.")
        if len(self.choices) < 2 or len(set(self.choices)) < len(self.choices):
            mend = "List each value once; fix a parameter outside the space."
            raise InputError("choices", "needs at least two different values", list(self.choices), mend)
        kinds = {isinstance(c, str | bool) for c in self.choices}
        if len(kinds) > 1:
            raise InputError("choices", "must be all numbers or all words", list(self.choices), "Use one kind.")

    @property
    def ordered(self) -> bool:
        """True unless the dimension chooses among words or booleans."""
        return self.choices is None or not isinstance(self.choices[0], str | bool)

    @property
    def continuous(self) -> bool:
        """True for a range of real numbers."""
        return self.choices is None and not self.integer

    @property
    def values(self) -> tuple[Scalar, ...]:
        """All values of a discrete dimension; numbers in rising order."""
        if self.choices is not None:
            return tuple(sorted(self.choices)) if self.ordered else self.choices
        return tuple(range(int(self.low), int(self.high) + 1))

    @property
    def size(self) -> float:
        """Number of values; infinity for a real range."""
        if self.continuous:
            return math.inf
        return len(self.choices) if self.choices is not None else self.high - self.low + 1

    @property
    def width(self) -> int:
        """Number of features."""
        return 1 if self.ordered or self.size == 2 else int(self.size)

    def check(self, name: str, value: Any) -> Scalar:
        """`value` as a Python scalar of this dimension. Raises InputError if it isn't one of its values."""
        value = value.item() if isinstance(value, np.generic) else value
        if self.choices is not None:
            for choice in self.choices:
                if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                    return choice
            raise InputError(name, "must be one of the choices", value, f"Choices: {list(self.values)}.")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            raise InputError(name, f"must lie in {self.low:g} ... {self.high:g}", value, "Correct it or the range.")
        if self.integer and value != int(value):
            raise InputError(name, "must be a whole number", value, "Round it.")
        return int(value) if self.integer else float(value)

    def to_features(self, values: Sequence[Scalar | None]) -> np.ndarray:
        """(points, width) features of valid values; of None, the middle."""
        if None in values:
            known = np.array([value is not None for value in values])
            features = np.full((len(values), self.width), 0.5 if self.width == 1 else 1 / (math.sqrt(2) * self.width))
            features[known] = self.to_features([value for value in values if value is not None])
            return features
        if self.choices is None:
            place = _warp(np.asarray(values, float), self.scale)
            low, high = _warp(np.array([self.low, self.high]), self.scale)
            return ((place - low) / (high - low))[:, None]
        index = np.array([self.values.index(value) for value in values], int)
        if self.width > 1:  # so scaled, two different words are at distance 1, like the two ends of a range
            return np.eye(self.width)[index] / math.sqrt(2)
        return index[:, None] / (self.size - 1)

    def from_features(self, features: np.ndarray) -> list[Scalar]:
        """Values nearest to (points, width) features."""
        if self.choices is not None:
            index = np.argmax(features, axis=1) if self.width > 1 else np.rint(features[:, 0] * (self.size - 1))
            return [self.values[i] for i in np.clip(index.astype(int), 0, int(self.size) - 1)]
        low, high = _warp(np.array([self.low, self.high]), self.scale)
        place = low + features[:, 0] * (high - low)
        values = np.clip(np.exp(place) if self.scale == "log" else place, self.low, self.high)
        if self.integer:
            return [int(value) for value in np.rint(values)]
        return [min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), self.low), self.high) for value in values]

    def from_cube(self, uniform: np.ndarray) -> list[Scalar]:
        """Values at (points,) uniform coordinates in [0, 1]."""
        if self.continuous or (self.integer and self.scale == "log"):
            return self.from_features(uniform[:, None])
        index = np.minimum((uniform * self.size).astype(int), int(self.size) - 1)
        return [int(self.low) + int(i) if self.integer else self.values[i] for i in index]


class SpaceConfig(RootModel[dict[str, Dimension]]):
    """What is searched: each parameter by name, with its range or choices; at least one."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _not_empty(self) -> SpaceConfig:
        if not self.root:
            raise InputError("space", "needs at least one parameter", {}, "Add one with its range.")
        for name, dimension in self.root.items():
            for parent, values in (dimension.when or {}).items():
                self._check_condition(f"{name}.when", name, parent, values)
        return self

    def _check_condition(self, field: str, name: str, parent: str, values: Sequence[Scalar]) -> None:
        others = [other for other in self.root if other != name]
        if parent not in others:
            raise InputError(field, "must name another parameter of the space", parent, nearest(parent, others))
        dimension = self.root[parent]
        if dimension.choices is None or dimension.when is not None:
            rule = "must name a parameter with choices that has no condition itself"
            raise InputError(field, rule, parent, "Give that one choices, or condition on what it depends on.")
        unknown = [value for value in values if value not in dimension.choices]
        if unknown or not values:
            rule = f"must be among the choices of {parent}, or the condition can never hold"
            raise InputError(field, rule, list(values), f"Choices: {list(dimension.choices)}.")


@dataclass(frozen=True)
class Space:
    """A validated search space. The order of `names` is that of the configuration.

    allowed: which points may be tried, where that isn't a matter of single parameters (a dose that needs more current
    than there is); None for all. Designs, random points and proposals respect it; features and checks don't ask.
    """

    names: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    allowed: Callable[[Point], bool] | None = field(default=None, compare=False)

    @property
    def size(self) -> float:
        """Number of different points, at most; infinity if any dimension is continuous."""
        return math.prod(dimension.size for dimension in self.dimensions)

    def canonical(self, point: Mapping[str, Any]) -> Point:
        """The point with None for what has no meaning there."""
        return {name: value if self._meant(name, point) else None for name, value in point.items()}

    def alone(self, name: str, value: Scalar) -> Point:
        """A value of one parameter, with those of others that give it a meaning."""
        when = self.dimensions[self.names.index(name)].when or {}
        return {**{parent: values[0] for parent, values in when.items()}, name: value}

    def _meant(self, name: str, point: Mapping[str, Any]) -> bool:
        when = self.dimensions[self.names.index(name)].when or {}
        return all(point.get(parent) in values for parent, values in when.items())

    @property
    def continuous_features(self) -> np.ndarray:
        """(features,) bool, True where a feature may take any value in [0, 1]."""
        return np.concatenate([[d.continuous] * d.width for d in self.dimensions])

    def validate_point(self, point: Mapping[str, Any]) -> Point:
        """The point as Python scalars in the space's order. Raises InputError naming the parameter at fault."""
        for name in point:
            if name not in self.names:
                raise InputError(str(name), "is not in the search space", point[name], nearest(str(name), self.names))
        found: Point = {}
        for name, dimension in zip(self.names, self.dimensions, strict=True):
            meant = self._meant(name, point)
            if meant and name not in point:
                raise InputError(name, "is missing in a point", dict(point), "Give a value for every parameter.")
            if not meant and point.get(name) is not None:
                rule = f"has no meaning unless {dimension.when}"
                raise InputError(name, rule, point[name], "Leave it out of this point.")
            found[name] = dimension.check(name, point[name]) if meant else None
        return found

    def to_unit(self, points: Sequence[Mapping[str, Scalar]]) -> np.ndarray:
        """(points, features) features in [0, 1] of valid points."""
        columns = [d.to_features([p[n] for p in points]) for n, d in zip(self.names, self.dimensions, strict=True)]
        return np.concatenate(columns, axis=1)

    def from_unit(self, features: np.ndarray) -> list[Point]:
        """The points nearest to (points, features) features: rounded to valid values, Python scalars only."""
        ends = np.cumsum([d.width for d in self.dimensions])[:-1]
        parts = np.split(np.asarray(features, float), ends, axis=1)
        return self._points(d.from_features(part) for d, part in zip(self.dimensions, parts, strict=True))

    def from_cube(self, uniform: np.ndarray) -> list[Point]:
        """Points at (points, dimensions) uniform coordinates in [0, 1]."""
        uniform = np.asarray(uniform, float)
        return self._points(d.from_cube(uniform[:, i]) for i, d in enumerate(self.dimensions))

    def all_points(self) -> list[Point]:
        """Every point of a finite space, each once."""
        rows = itertools.product(*(d.values for d in self.dimensions))
        points = (self.canonical(dict(zip(self.names, row, strict=True))) for row in rows)
        return list({tuple(point.values()): point for point in points}.values())

    def permits(self, features: np.ndarray) -> np.ndarray:
        """(points,) bool of (points, features) features: whether the points may be tried."""
        if self.allowed is None:
            return np.ones(len(features), bool)
        return np.array([self.allowed(point) for point in self.from_unit(features)], bool)

    def draw(self, rng: np.random.Generator, n: int) -> list[Point]:
        """`n` random points that may be tried; fewer if hardly any may."""
        if self.allowed is None:
            return self.from_cube(rng.random((n, len(self.names))))
        found: list[Point] = []
        for _ in range(MAX_DRAWS):
            points = self.from_cube(rng.random((n, len(self.names))))
            found += [point for point in points if self.allowed(point)]
            if len(found) >= n:
                break
        return found[:n]

    def _points(self, columns: Iterator[list[Scalar]]) -> list[Point]:
        return [self.canonical(dict(zip(self.names, row, strict=True))) for row in zip(*columns, strict=True)]


def build_space(config: SpaceConfig | Mapping[str, Any], source: str = "space") -> Space:
    """The space described by a configuration section. Raises InputError if the section breaks a rule."""
    if not isinstance(config, SpaceConfig):
        config = build(SpaceConfig, config, source)
    return Space(tuple(config.root), tuple(config.root.values()))


def _warp(values: np.ndarray, scale: str) -> np.ndarray:
    return np.log(values) if scale == "log" else values
