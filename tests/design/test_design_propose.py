"""Proposals: pure, without repetition, robust to failures, and better than random search."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ptydesign.config import build
from ptydesign.design.propose import initial_design, objective_values, propose
from ptydesign.design.settings import ACQUISITIONS, DESIGNS, LIARS, Observation, SearchConfig
from ptydesign.design.space import build_space
from ptydesign.errors import InputError

SPACE = {
    "step_a": {"low": 0.5, "high": 8, "scale": "log"},
    "semiangle_mrad": {"low": 10, "high": 40},
    "defocus_nm": {"low": -120, "high": 0},
    "detector_pixels": {"choices": [32, 48, 64, 96]},
}
QUICK = {"candidates": 300}


@pytest.fixture(scope="module")
def space():
    return build_space(SPACE)


def stand_in(space, point):
    """A smooth peak of height about 1 in four dimensions, cut by a cliff beyond which reconstructions fail to lock."""
    u = space.to_unit([point])[0]
    value = np.exp(-(((u[0] - 0.3) / 0.3) ** 2) - ((u[1] - 0.6) / 0.35) ** 2 - ((u[2] - 0.45) / 0.25) ** 2)
    value *= 0.7 + 0.3 * u[3]
    return float(value * 0.3 if u[0] > 0.3 + 0.5 * u[2] else value)


def run(space, config, seed, batches=4, batch=8, first=16, noise=0.02, carry=True):
    """Best noise-free value seen after a search, the rounds and the states."""
    rng = np.random.default_rng([seed, 99])

    def evaluate(points):
        return [Observation(p, stand_in(space, p) + noise * rng.standard_normal()) for p in points]

    rounds, states = [evaluate(initial_design(space, first, "hammersley", seed))], [None]
    for _ in range(batches):
        points, state = propose(space, config, rounds, batch, seed, states[-1] if carry else None)
        rounds.append(evaluate(points))
        states.append(state)
    return max(stand_in(space, o.point) for each in rounds for o in each), rounds, states


def keys(points):
    return [tuple(sorted(p.items())) for p in points]


@pytest.mark.parametrize("kind", DESIGNS)
def test_first_points_are_seeded_spread_and_different(space, kind):
    points = initial_design(space, 24, kind, 1)
    assert points == initial_design(space, 24, kind, 1)
    assert points != initial_design(space, 24, kind, 2)
    assert len(set(keys(points))) == 24
    assert [space.validate_point(p) for p in points] == points
    assert json.loads(json.dumps(points)) == points
    assert len(initial_design(space, 1, kind, 0)) == 1
    assert len(initial_design(build_space({"x": {"low": 0, "high": 1}}), 7, kind, 0)) == 7


def test_hammersley_is_even_in_every_dimension_and_no_ramp():
    space = build_space({name: {"low": 0.0, "high": 1.0} for name in "abcd"})
    features = space.to_unit(initial_design(space, 64, "hammersley", 3))
    random = space.to_unit(initial_design(space, 64, "random", 3))

    def star(u):  # largest deviation of the one-dimensional distribution from uniform, by dimension
        return np.max(np.abs(np.sort(u, axis=0) - (np.arange(64)[:, None] + 0.5) / 64), axis=0)

    assert np.all(star(features) < 0.06)
    assert np.max(star(random)) > 0.06
    order = [abs(np.corrcoef(np.arange(64), column)[0, 1]) for column in features.T]
    assert max(order) < 0.5  # scikit-optimize's last dimension has 1
    half = features[:32]  # any part of it fills the space
    assert np.all(half.min(axis=0) < 0.15)
    assert np.all(half.max(axis=0) > 0.85)


def test_first_points_of_a_small_space_are_all_of_it():
    space = build_space({"pixels": {"choices": [32, 48, 64]}, "frames": {"low": 1, "high": 4, "integer": True}})
    assert len(set(keys(initial_design(space, 12, "hammersley", 0)))) == 12
    assert len(initial_design(space, 15, "hammersley", 0)) == 15


def test_bayesian_optimisation_beats_random_search(space):
    """Mean of 4 seeds with 48 noisy trials; a random search needs hundreds to come near."""
    best = {
        method: [run(space, SearchConfig(method=method, **QUICK), seed)[0] for seed in range(4)]
        for method in ("bo", "random")
    }
    assert np.mean(best["bo"]) > np.mean(best["random"]) + 0.1
    assert np.mean(best["bo"]) > 0.8


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
@pytest.mark.parametrize("nu, liar", [(1.0, "cl_min"), (2.5, "cl_mean")])
def test_every_acquisition_proposes_new_valid_points(space, acquisition, nu, liar):
    config = SearchConfig(acquisition=acquisition, kernel={"nu": nu}, liar=liar, **QUICK)
    _, rounds, _ = run(space, config, 0, batches=2, batch=5)
    points = [o.point for each in rounds for o in each]
    assert len(set(keys(points))) == len(points) == 16 + 2 * 5


def test_state_is_only_a_cache(space):
    """The same proposals and state with the state, without it, and with one of an older round; JSON changes nothing."""
    config = SearchConfig(**QUICK)
    _, rounds, states = run(space, config, 5, batches=4)
    points, state = propose(space, config, rounds, 3, 5)
    for given in (*states[1:], json.loads(json.dumps(states[-1])), {"rounds": 3}, {"junk": 1}):
        assert propose(space, config, rounds, 3, 5, given) == (points, state)
    other = run(space, config, 6, batches=4)[2][-1]  # a state of another history is not used
    assert propose(space, config, rounds, 3, 5, other) == (points, state)
    assert propose(space, config, rounds, 3, 5, state) == (points, state)
    assert run(space, config, 5, batches=4, carry=False)[1] == rounds
    assert state["gains"] != [0.0, 0.0, 0.0]


def test_proposals_depend_on_seed_and_history(space):
    config = SearchConfig(**QUICK)
    _, rounds, _ = run(space, config, 5, batches=1)
    points, _ = propose(space, config, rounds, 4, 5)
    assert propose(space, config, rounds, 4, 6)[0] != points
    last = rounds[-1][-1]
    changed = [*rounds[:-1], [*rounds[-1][:-1], Observation(last.point, last.value + 1.0)]]
    assert propose(space, config, changed, 4, 5)[0] != points


def test_fresh_processes_propose_the_same(space):
    script = (
        "import json; from ptydesign.design.space import build_space; from ptydesign.design.propose import *\n"
        "from ptydesign.design.settings import *\n"
        f"space = build_space({SPACE!r})\n"
        "rounds = [[Observation(p, -abs(p['semiangle_mrad'] - 20) + p['step_a']) for p in initial_design(space, 12)]]\n"
        "points, state = propose(space, SearchConfig(candidates=300), rounds, 4, 7)\n"
        "rounds.append([Observation(p, None, 'diverged') for p in points])\n"
        "print(json.dumps(propose(space, SearchConfig(candidates=300), rounds, 4, 7)))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
        )
        for threads in ("1", "2")
    ]
    first, second = [process.communicate(timeout=60)[0] for process in processes]
    assert first == second
    assert len(json.loads(first)[0]) == 4


def test_proposals_do_not_depend_on_the_unit_of_the_objective(space):
    """Gains count in standard deviations, so a score in percent is searched like one in fractions."""
    config = SearchConfig(**QUICK)
    _, rounds, _ = run(space, config, 1, batches=2)
    scaled = [[Observation(o.point, 1024 * o.value) for o in each] for each in rounds]
    assert propose(space, config, scaled, 4, 1)[0] == propose(space, config, rounds, 4, 1)[0]


def test_failures_count_as_the_worst_value():
    observations = [Observation({}, v) for v in (0.4, None, 0.1, float("nan"))]
    np.testing.assert_array_equal(objective_values(SearchConfig(), observations), [0.4, 0.1, 0.1, 0.1])
    floored = objective_values(SearchConfig(failure_value=-1.0), observations)
    np.testing.assert_array_equal(floored, [0.4, -1, 0.1, -1])
    never_better = objective_values(SearchConfig(failure_value=0.3), observations)
    np.testing.assert_array_equal(never_better, [0.4, 0.1, 0.1, 0.1])


def test_search_learns_to_avoid_failures():
    """Trials fail for x > 0.5 although the objective would rise there."""
    space = build_space({"x": {"low": 0, "high": 1}, "y": {"low": 0, "high": 1}})

    def evaluate(points):
        return [Observation(p, None if p["x"] > 0.5 else p["x"] - (p["y"] - 0.3) ** 2, "diverged") for p in points]

    rounds, state = [evaluate(initial_design(space, 20))], None
    for _ in range(4):
        points, state = propose(space, SearchConfig(**QUICK), rounds, 5, 0, state)
        rounds.append(evaluate(points))
    found = [o for each in rounds for o in each if not o.failed]
    assert max(o.value for o in found) > 0.4
    assert sum(o.failed for each in rounds[2:] for o in each) < 10  # of 15


def test_search_goes_on_when_everything_failed(space):
    rounds = [[Observation(p, None, "diverged") for p in initial_design(space, 6)]]
    points, state = propose(space, SearchConfig(), rounds, 4, 0)
    assert len(set(keys(points))) == 4
    rounds.append([Observation(p, 0.1 * i, "") for i, p in enumerate(points)])
    assert propose(space, SearchConfig(**QUICK), rounds, 4, 0, state) == propose(
        space, SearchConfig(**QUICK), rounds, 4, 0
    )
    assert len(propose(space, SearchConfig(), [], 4, 0)[0]) == 4


@pytest.mark.parametrize("method", ["bo", "random"])
def test_finite_space_is_searched_without_repetition_and_beyond_its_end(method):
    space = build_space({"pixels": {"choices": [32, 48, 64]}, "frames": {"low": 1, "high": 5, "integer": True}})
    config = SearchConfig(method=method)

    def evaluate(points):
        return [Observation(p, -abs(p["pixels"] - 48) / 16 - abs(p["frames"] - 4)) for p in points]

    rounds = [evaluate(initial_design(space, 5))]
    for _ in range(2):
        rounds.append(evaluate(propose(space, config, rounds, 5, 0)[0]))
    points = [o.point for each in rounds for o in each]
    assert len(set(keys(points))) == 15
    assert len(propose(space, config, rounds, 3, 0)[0]) == 3
    if method == "bo":
        assert {"pixels": 48, "frames": 4} in points[:10]


def test_random_search_is_uniform_and_pure(space):
    config = SearchConfig(method="random")
    points, state = propose(space, config, [], 400, 2)
    assert (points, state) == propose(space, config, [], 400, 2)
    features = space.to_unit(points)
    np.testing.assert_allclose(features.mean(axis=0), 0.5, atol=0.07)
    np.testing.assert_allclose(features[:, :3].std(axis=0), 12**-0.5, atol=0.03)
    later = propose(space, config, [[Observation(p, 0.0) for p in points]], 400, 2)[0]
    assert not set(keys(points)) & set(keys(later))


@pytest.mark.parametrize(
    "content, hint",
    [
        ({"acquisition": "gp_hegde"}, "'gp_hedge'"),
        ({"acquisiton": "EI"}, "'acquisition'"),
        ({"liar": "cl_mn"}, "cl_min"),
        ({"method": "bayes"}, "random"),
        ({"initial_design": "hammersly"}, "'hammersley'"),
        ({"kernel": {"nu": 2.0}}, "0.5, 1.0, 1.5, 2.5"),
        ({"kernel": {"mu": 1.0}}, "Known here: nu"),
        ({"batch": 0}, "at least 1"),
        ({"kappa": -1}, "at least 0"),
    ],
)
def test_bad_search_configurations_are_refused(content, hint):
    with pytest.raises(InputError, match=hint) as caught:
        build(SearchConfig, content, "search")
    assert next(iter(content)) in caught.value.field


def test_bad_calls_are_refused(space):
    point = initial_design(space, 1)[0]
    with pytest.raises(InputError, match=r"0.5 ... 8"):
        propose(space, SearchConfig(), [[Observation({**point, "step_a": 99.0}, 1.0)]], 1, 0)
    with pytest.raises(InputError, match="at least 1"):
        propose(space, SearchConfig(), [], 0, 0)
    with pytest.raises(InputError, match="not negative"):
        propose(space, SearchConfig(), [], 1, -1)
    with pytest.raises(InputError, match="'sobol'"):
        initial_design(space, 4, "sobel", 0)
    assert set(LIARS) == {"cl_min", "cl_mean", "cl_max"}
