"""Optuna's samplers under the rules of all searches: pure, replayable, without repetition, robust to failures."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec

import numpy as np
import pytest
from test_design_propose import SPACE, keys, run, stand_in

from ptydesign.config import build
from ptydesign.design import settings
from ptydesign.design.propose import initial_design, propose
from ptydesign.design.settings import SAMPLERS, Observation, SearchConfig, check_sampler
from ptydesign.design.space import build_space
from ptydesign.errors import InputError

HERE = [name for name, (packages, _) in SAMPLERS.items() if all(map(find_spec, packages))]
MANY = [name for name in HERE if SAMPLERS[name][1]]
SMALL = {
    "points": {"choices": [32, 48, 64]},
    "word": {"choices": ["a", "b", "c"]},
    "n": {"low": 1, "high": 9, "integer": True},
}


@pytest.fixture(scope="module")
def space():
    return build_space(SPACE)


def config_of(sampler):
    return SearchConfig(method="optuna", sampler=sampler)


def test_all_that_the_extra_installs_are_tried():
    assert {"tpe", "cmaes", "nsga2"} <= set(HERE)


@pytest.mark.parametrize("sampler", HERE)
def test_proposals_are_a_pure_function_of_the_stored_history(space, sampler):
    config = config_of(sampler)
    _, rounds, states = run(space, config, 1, batches=2, batch=4, first=8)
    points = [o.point for each in rounds for o in each]
    assert len(set(keys(points))) == len(points) == 16
    assert [space.validate_point(p) for p in points] == points
    assert states == [None, {}, {}]
    # the second round again, from what is stored of the first ones
    kept = [
        [Observation(**one) for one in json.loads(json.dumps([dataclasses.asdict(o) for o in each]))] for each in rounds
    ]
    again, _ = propose(space, config, kept[:2], 4, 1)
    assert again == [o.point for o in rounds[2]]
    assert propose(space, config, rounds[:2], 4, 2)[0] != again


@pytest.mark.parametrize("sampler", [name for name in HERE if name != "gp"])
def test_it_learns(space, sampler):
    """Mean of 2 seeds, without noise, 96 trials."""
    best, chance = (
        np.mean([run(space, config, seed, batches=10, batch=8, noise=0)[0] for seed in range(2)])
        for config in (config_of(sampler), SearchConfig(method="random"))
    )
    assert best > chance + 0.05


@pytest.mark.skipif("gp" not in HERE, reason="the sampler gp needs torch")
def test_the_gaussian_process_learns(space):
    assert run(space, config_of("gp"), 0, batches=4, batch=4, first=8)[0] > 0.85


@pytest.mark.parametrize("sampler", HERE)
def test_failures_are_survived(space, sampler):
    first = initial_design(space, 8, "hammersley", 0)
    lost = [Observation(p, None, "diverged") for p in first]
    half = [Observation(p, stand_in(space, p) if i % 2 else None, "") for i, p in enumerate(first)]
    for history in (lost, half):
        points, _ = propose(space, config_of(sampler), [history], 4, 0)
        assert len(set(keys([*first, *points]))) == 12


@pytest.mark.parametrize("sampler", [name for name in HERE if name != "cmaes"])
def test_words_numbers_to_choose_from_and_whole_numbers(sampler):
    space = build_space(SMALL)
    rounds = [[Observation(p, float(p["n"] + p["points"])) for p in initial_design(space, 8, "hammersley", 0)]]
    points, _ = propose(space, config_of(sampler), rounds, 4, 0)
    assert [space.validate_point(p) for p in points] == points
    assert all(isinstance(p["n"], int) and isinstance(p["points"], int) for p in points)


@pytest.mark.parametrize("sampler", [name for name in HERE if name != "cmaes"])
def test_what_has_no_meaning_at_a_point_is_left_out(sampler):
    space = build_space(
        {"engine": {"choices": ["lsqml", "epie"]}, "rate": {"low": 0.1, "high": 1.0, "when": {"engine": ["epie"]}}}
    )
    rounds = [[Observation(p, p["rate"] or 0.0) for p in initial_design(space, 6, "hammersley", 0)]]
    points, _ = propose(space, config_of(sampler), rounds, 6, 0)
    assert [space.validate_point(p) for p in points] == points
    assert any(p["rate"] is not None for p in points)


@pytest.mark.parametrize("sampler", HERE)
def test_only_what_is_allowed_is_proposed(space, sampler):
    narrow = dataclasses.replace(space, allowed=lambda p: p["step_a"] < 2)
    rounds = [[Observation(p, stand_in(space, p)) for p in initial_design(narrow, 8, "hammersley", 0)]]
    points, _ = propose(narrow, config_of(sampler), rounds, 3, 0)
    assert len(points) == 3
    assert all(p["step_a"] < 2 for p in points)


@pytest.mark.parametrize("sampler", MANY)
def test_two_objectives_spread_over_the_front(sampler):
    """Greatest x against least x: every x is on the front, and y = 0 is better than any other."""
    space = build_space({"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}})

    def told(points):
        return [Observation(p, p["x"] - p["y"], "", (p["x"] + p["y"],)) for p in points]

    rounds = [told(initial_design(space, 10, "hammersley", 0))]
    for _ in range(2 if sampler == "gp" else 14):
        rounds.append(told(propose(space, config_of(sampler), rounds, 5, 0)[0]))
    late = [o.point for each in rounds[-8:] for o in each] if sampler != "gp" else [o.point for o in rounds[-1]]
    assert np.median([p["y"] for p in late]) < 0.35
    assert np.ptp([p["x"] for p in late]) > 0.4


@pytest.mark.parametrize(
    "content, field, words",
    [
        ({"method": "optuna"}, "sampler", "is required for the method optuna; got nothing. Choose from: gp"),
        ({"sampler": "tpe"}, "sampler", "is for the method optuna only"),
        ({"method": "optuna", "sampler": "tpee"}, "sampler", "Did you mean 'tpe'"),
    ],
)
def test_wrong_settings(content, field, words):
    with pytest.raises(InputError, match=words) as caught:
        build(SearchConfig, content, "search")
    assert caught.value.field == f"search: {field}"


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(InputError, match=r"needs torch, not installed here; got 'gp'\. pip install .*optuna-gp"):
        build(SearchConfig, {"method": "optuna", "sampler": "gp"}, "search")


@pytest.mark.parametrize(
    "config, ordered, costs, words",
    [
        (SearchConfig(), [True], 1, "search.method: has one objective only; got 'bo'"),
        (config_of("cmaes"), [True, True], 1, "search.sampler: has one objective only; got 'cmaes'"),
        (config_of("cmaes"), [True, False], 0, "needs two or more numbers to search, and no words"),
        (config_of("cmaes"), [True], 0, "needs two or more numbers to search, and no words"),
    ],
)
def test_what_a_method_cannot_do(config, ordered, costs, words):
    with pytest.raises(InputError, match=words):
        check_sampler(config, ordered, costs)
