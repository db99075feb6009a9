"""Draws: Student's intervals, paired differences, and what they are called."""

import math

import numpy as np
import pytest

from ptydesign.study.draws import ALIKE, BETTER, OPEN, WORSE, Summary, difference, fresh_draws, summarise, verdict

# Student, Biometrika 6:1 (1908), p. 20: additional hours of sleep by two drugs, of ten patients.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_the_interval_is_students():
    found = summarise(FIRST)
    assert found.n == 10
    assert found.mean == pytest.approx(0.75)
    assert found.std == pytest.approx(1.789010, abs=1e-6)
    half = 2.262157 * 1.789010 / math.sqrt(10)  # t of nine degrees of freedom, 95 %
    assert (found.low, found.high) == pytest.approx((0.75 - half, 0.75 + half), abs=1e-5)
    assert summarise(FIRST, 0.9).low > found.low


def test_a_paired_difference_is_that_of_the_draws():
    found = difference(SECOND, FIRST)
    assert (found.mean, found.std) == pytest.approx((1.58, 1.229995), abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert verdict(found) == BETTER
    assert verdict(found, higher_is_better=False) == WORSE
    assert verdict(difference(FIRST, SECOND)) == WORSE


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_as_many_intervals_as_promised_hold_the_mean(level):
    values = np.random.default_rng(1).normal(3.0, 2.0, (2000, 4))
    held = [found.low <= 3.0 <= found.high for found in (summarise(row, level) for row in values)]
    assert np.mean(held) == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 2000))


def test_what_failed_is_left_out_of_both():
    assert summarise([None, 1.0, math.nan, 3.0]) == summarise([1.0, 3.0])
    found = difference([1.0, None, 3.0, 5.0], [0.0, 9.0, math.nan, 3.0])
    assert (found.n, found.mean) == (2, 1.5)


def test_too_few_draws_say_nothing():
    assert summarise([None]) == Summary(0)
    assert summarise([2.0]) == Summary(1, 2.0)
    assert verdict(difference([2.0], [1.0])) == OPEN


def test_equal_scores_are_not_distinguishable():
    assert verdict(difference([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])) == ALIKE


def test_draws_count_from_one_and_keep_the_images_of_the_first():
    seen = []

    def run(number, save):
        seen.append((number, save))
        yield {"plan": "a"}
        yield {"plan": "b"}

    found = fresh_draws(run, 2, print)
    assert seen == [(1, print), (2, None)]
    assert [(one["repeat"], one["plan"]) for one in found] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
