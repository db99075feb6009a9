"""Which of a few contenders is best, by fresh draws until that is known: the end is decided, not counted.

Draws of one number share what can be shared (errors of the day, seeds), so contenders are compared draw by draw. The
standard deviation of each difference is moderated by those of the others (Smyth, Stat. Appl. Genet. Mol. Biol. 3:3,
2004), since a few draws say little about it. Draws go to the leader and to the contender that is hardest to tell from
it (top-two sampling: Russo, Oper. Res. 68:1625, 2020; Shang et al., AISTATS 2020). Probabilities that several rivals
are no better are put together by Bonferroni's bound: what is stated is at least so sure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.study.draws import LEVEL

DECIDED, ALIKE, BUDGET, ALONE = "decided", "alike", "budget", "alone"
PRIOR_DRAWS = 4.0  # how many degrees of freedom the other differences' spread counts for
LEAST_STD = 1e-12  # of a difference, so that equal draws (no noise at all) divide by something

Values = Mapping[int, float]  # number of a draw -> value, of one contender


class DecisionConfig(Strict):
    """How the best of the points that a search found is decided: by draws with fresh noise."""

    contenders: PositiveInt = Field(6, le=50)
    """Most points that are drawn again: those that the search's model can't tell from its best, which differ."""
    first: int = Field(3, ge=2, le=1000)
    """Draws that each contender has in any case."""
    draws: int = Field(40, ge=0, le=10_000)
    """Draws of all contenders together, at most; beyond the first ones they go where they help to decide. 0 decides
    nothing: the search's model chooses."""
    zone: float = Field(0.01, ge=0)
    """Indifference zone, in the objective's unit: less than this isn't a difference that matters."""
    probability: float = Field(0.95, gt=0.5, lt=1)
    """How sure it must be that the winner is the best, or that no other is better by more than the zone."""

    @model_validator(mode="after")
    def _enough(self) -> DecisionConfig:
        if 0 < self.draws < 2 * self.first:
            rule = f"must be 0, or at least 2 x first = {2 * self.first}"
            raise InputError("draws", rule, self.draws, "Raise draws, or lower first.")
        return self


@dataclass(frozen=True)
class Rival:
    """A contender beside the leader, by their common draws.

    n: of these. difference: the leader's mean minus its own; low, high: the interval of it. better: probability that
    its true mean is higher than the leader's. beyond: that it is higher by more than the zone. loss: expected amount
    by which it is better (0 where it isn't).
    """

    n: int
    difference: float
    low: float
    high: float
    better: float
    beyond: float
    loss: float


@dataclass(frozen=True)
class Standing:
    """What draws say of the contenders. leader: the place of the greatest mean. rivals: by place, None for the leader.

    best: probability (at least) that the leader is the best. good: that none is better by more than the zone. loss:
    expected amount (at most) by which another is better.
    """

    leader: int
    means: tuple[float, ...]
    rivals: tuple[Rival | None, ...]
    best: float
    good: float
    loss: float

    @property
    def alike(self) -> tuple[int, ...]:
        """Places of the contenders that can't be told from the leader, the leader's included."""
        return tuple(i for i, rival in enumerate(self.rivals) if rival is None or rival.low <= 0)


def standing(draws: Sequence[Values], zone: float, level: float = LEVEL) -> Standing:
    """What draws say. draws: of each contender, by number; each needs two that it has in common with the leader."""
    means = tuple(float(np.mean(list(values.values()))) for values in draws)
    leader = int(np.argmax(means))
    pairs = {i: _differences(draws[leader], values) for i, values in enumerate(draws) if i != leader}
    pooled = _pooled_variance(list(pairs.values()))
    rivals = tuple(None if i == leader else _rival(pairs[i], pooled, zone, level) for i in range(len(draws)))
    others = [rival for rival in rivals if rival is not None]
    best = max(0.0, 1.0 - sum(rival.better for rival in others))
    good = max(0.0, 1.0 - sum(rival.beyond for rival in others))
    return Standing(leader, means, rivals, best, good, sum(rival.loss for rival in others))


def _differences(leader: Values, values: Values) -> np.ndarray:
    return np.array([leader[n] - values[n] for n in sorted(leader.keys() & values.keys())], float)


def _pooled_variance(pairs: Sequence[np.ndarray]) -> float:
    """Of all differences about their own means."""
    free = sum(len(pair) - 1 for pair in pairs)
    return sum(float(np.sum((pair - pair.mean()) ** 2)) for pair in pairs) / free if free else 0.0


def _rival(pair: np.ndarray, pooled: float, zone: float, level: float) -> Rival:
    from scipy.stats import t

    n, mean = len(pair), float(np.mean(pair))
    own = float(np.sum((pair - mean) ** 2))
    freedom = PRIOR_DRAWS + n - 1
    error = max(math.sqrt((PRIOR_DRAWS * pooled + own) / freedom / n), LEAST_STD)
    half = float(t.ppf((1 + level) / 2, freedom)) * error
    z = mean / error
    density, tail = float(t.pdf(z, freedom)), float(t.sf(z, freedom))
    loss = error * (density * (freedom + z * z) / (freedom - 1) - z * tail)  # of Student's distribution, E max(-d, 0)
    beyond = float(t.sf((mean + zone) / error, freedom))
    return Rival(n, mean, mean - half, mean + half, tail, beyond, max(loss, 0.0))


def outcome(found: Standing, config: DecisionConfig) -> str | None:
    """DECIDED or ALIKE (no other is better by more than the zone), as sure as was asked for; None: it is still open."""
    if len(found.means) == 1:
        return ALONE
    if found.best >= config.probability:
        return DECIDED
    return ALIKE if found.good >= config.probability else None


def next_places(draws: Sequence[Values], found: Standing) -> list[int]:
    """Which contenders are drawn next: the leader and the one that is most likely to be better by the draws so far,
    or the one of the two that lags behind."""
    rivals = [(rival.better, -i) for i, rival in enumerate(found.rivals) if rival is not None]
    challenger = -max(rivals)[1]
    pair = (found.leader, challenger)
    fewest = min(len(draws[i]) for i in pair)
    return [i for i in pair if len(draws[i]) == fewest]


def decide(
    value: Callable[[int, int], None],
    values: Callable[[], Sequence[Values]],
    contenders: int,
    config: DecisionConfig,
) -> tuple[str, Standing]:
    """(outcome, standing) of `contenders` after as many draws as it takes: see `outcome`, or BUDGET.

    value: (place, number) makes draw `number` (1, 2, ...) of a contender. values: all values so far; they may change
    with more draws, where what a draw is worth follows from all of them (a common stop).
    """
    for place in range(contenders):
        for number in range(1, config.first + 1):
            value(place, number)
    spent = contenders * config.first
    while True:
        draws = values()
        found = standing(draws, config.zone)
        reached = outcome(found, config)
        if reached is not None:
            return reached, found
        places = next_places(draws, found)
        if spent + len(places) > config.draws:
            return BUDGET, found
        for place in places:
            value(place, len(draws[place]) + 1)
        spent += len(places)
