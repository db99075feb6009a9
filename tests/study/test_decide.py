"""Which contender is best: what is stated is true as often as it says, and draws go where they help."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import t

from ptydesign.errors import InputError
from ptydesign.study.decide import (
    ALIKE,
    ALONE,
    BUDGET,
    DECIDED,
    PRIOR_DRAWS,
    DecisionConfig,
    decide,
    standing,
)


def race(means, noise, shared, rng, **changes):
    """(outcome, standing, values) of contenders whose true means are known. shared: spread that a draw's number has."""
    config = DecisionConfig(**changes)
    values = [{} for _ in means]
    common = {}

    def value(place, number):
        common.setdefault(number, shared * rng.normal())
        values[place][number] = means[place] + common[number] + noise[place] * rng.normal()

    outcome, found = decide(value, lambda: values, len(means), config)
    return outcome, found, values


def test_what_is_stated_is_true_as_often_as_it_says():
    """300 decisions among six, with noise that differs between them and errors that all share."""
    rng = np.random.default_rng(0)
    lost, stated = {DECIDED: [], ALIKE: [], BUDGET: []}, []
    for _ in range(300):
        means = 0.5 + rng.uniform(-0.02, 0.02, 6)
        noise = 0.015 * np.exp(0.5 * rng.normal(size=6))
        outcome, found, _ = race(means, noise, 0.02, rng, draws=60)
        loss = means.max() - means[found.leader]
        lost[outcome].append(loss)
        stated.append((loss, found.loss))
    assert len(lost[ALIKE]) > 100
    assert np.mean(np.array(lost[ALIKE]) <= 0.01) >= 0.95
    assert np.mean(np.array(lost[DECIDED]) == 0) >= 0.9  # of some ten
    loss, expected = np.mean(stated, axis=0)
    assert loss <= expected  # an upper bound


def test_clear_cases_end_after_the_first_draws_and_hard_ones_go_on():
    rng = np.random.default_rng(1)
    outcome, found, values = race([0.9, 0.5, 0.4], [0.01] * 3, 0.0, rng, first=3, draws=30)
    assert (outcome, found.leader) == (DECIDED, 0)
    assert [len(v) for v in values] == [3, 3, 3]
    outcome, found, values = race([0.9, 0.9, 0.4], [0.05] * 3, 0.0, np.random.default_rng(5), first=3, draws=30)
    assert outcome == BUDGET
    assert len(values[2]) == 3  # draws went to the two that are hard to tell apart
    assert sum(map(len, values)) >= 29
    assert set(found.alike) == {0, 1}


def test_shared_errors_cancel():
    """Errors of the day that are ten times the difference don't hide it, since both have the same ones."""
    outcome, found, values = race([0.6, 0.55], [0.005] * 2, 0.5, np.random.default_rng(2), first=4, draws=40)
    assert (outcome, found.leader) == (DECIDED, 0)
    assert sum(map(len, values)) <= 12


def test_equal_contenders_are_alike_and_one_is_alone():
    assert race([0.5, 0.5], [0.001] * 2, 0.0, np.random.default_rng(3))[0] == ALIKE
    assert race([0.5], [0.1], 0.0, np.random.default_rng(3))[0] == ALONE
    exact, found, _ = race([0.5, 0.5], [0.0, 0.0], 0.0, np.random.default_rng(3))
    assert exact == ALIKE
    assert np.isfinite(found.loss)


def test_probabilities_and_loss_against_an_integral():
    """Of a moderated t: three draws each, difference, pooled spread and prior worked by hand."""
    draws = [{1: 0.9, 2: 0.8, 3: 0.85}, {1: 0.86, 2: 0.81, 3: 0.79}]
    d = np.array([0.04, -0.01, 0.06])
    variance = np.var(d, ddof=1)  # one pair: the pooled variance is its own
    error, freedom = np.sqrt(variance / 3 * (PRIOR_DRAWS + 2) / (PRIOR_DRAWS + 2)), PRIOR_DRAWS + 2
    found = standing(draws, 0.02)
    rival = found.rivals[1]
    truth = t(freedom, loc=d.mean(), scale=error)  # of the leader's advantage
    assert rival.better == pytest.approx(truth.cdf(0))
    assert rival.beyond == pytest.approx(truth.cdf(-0.02))
    assert rival.loss == pytest.approx(quad(lambda x: -x * truth.pdf(x), -2, 0)[0], rel=1e-3)
    assert (rival.low, rival.high) == pytest.approx(truth.interval(0.95))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"draws": 3, "first": 3}, "draws"),
        ({"zone": -0.1}, "zone"),
        ({"probability": 1.0}, "probability"),
        ({"probability": 0.4}, "probability"),
        ({"contenders": 0}, "contenders"),
        ({"first": 1}, "first"),
    ],
)
def test_bad_settings_are_refused(changes, field):
    with pytest.raises((InputError, ValueError), match=field):
        DecisionConfig(**changes)
