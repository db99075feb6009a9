"""Draws: one trial several times with fresh noise, and what they say together, with intervals.

Trials of searches have the number 0; draws count from 1, so that none of them has the noise that a search has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Save = Callable[[str, Any], None]  # (key, comparison) -> keeps the images of a trial
Run = Callable[[int, Save | None], Iterable[dict[str, Any]]]  # (number, save) -> records of a draw

BETTER, WORSE, ALIKE, OPEN = "better", "worse", "not distinguishable", "cannot be judged"
LEVEL = 0.95  # of an interval


def fresh_draws(run: Run, draws: int, save: Save | None = None, every: bool = False) -> list[dict[str, Any]]:
    """Records of `draws` draws, each with the draw's number, from 1, as `repeat`.

    run: does one of them; it may give several records, of one dataset that is reconstructed in several ways. save: of
    the first one's images; with `every`, of all.
    """
    numbers = range(1, draws + 1)
    return [{"repeat": n, **one} for n in numbers for one in run(n, save if every or n == 1 else None)]


@dataclass(frozen=True)
class Summary:
    """Of some values: how many there are, their mean, sample standard deviation, and the interval that holds the true
    mean with the probability that was asked for. None where there are too few."""

    n: int
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None


def summarise(values: Sequence[float | None], level: float = LEVEL) -> Summary:
    """Of those values that are numbers. The interval is Student's, mean +- t s / sqrt(n) with n - 1 degrees of freedom
    (Student, Biometrika 6:1, 1908): exact where values scatter normally."""
    from scipy.stats import t

    good = np.array([v for v in values if v is not None and math.isfinite(v)], float)
    n = len(good)
    if n == 0:
        return Summary(0)
    mean = float(np.mean(good))
    if n == 1:
        return Summary(1, mean)
    std = float(np.std(good, ddof=1))
    half = float(t.ppf((1 + level) / 2, n - 1)) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half)


def difference(values: Sequence[float | None], base: Sequence[float | None], level: float = LEVEL) -> Summary:
    """Of values minus those of the base, draw by draw; a draw that lacks one of both is left out."""
    pairs = zip(values, base, strict=True)
    return summarise([None if a is None or b is None else a - b for a, b in pairs], level)


def verdict(found: Summary, higher_is_better: bool = True) -> str:
    """What a difference's interval says: on which side of zero it lies."""
    if found.low is None or found.high is None:
        return OPEN
    if found.low <= 0 <= found.high:
        return ALIKE
    return BETTER if (found.low > 0) == higher_is_better else WORSE
