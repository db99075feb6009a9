"""Surrogate: recovers a known function from noisy trials, its best point and the width of its plateau."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ptydesign.design.propose import initial_design
from ptydesign.design.settings import Observation, SearchConfig
from ptydesign.design.space import build_space
from ptydesign.design.surrogate import plateau, surrogate
from ptydesign.errors import InputError

SPACE = {
    "defocus_nm": {"low": -100, "high": 0},
    "step_a": {"low": 0.5, "high": 8, "scale": "log"},
    "pixels": {"choices": [32, 48, 64, 96]},
}


def truth(p):
    """A parabola in the features with its maximum 0.8 at -60 nm, 2 A, 64 px."""
    height = 0.8 - 0.5 * ((p["defocus_nm"] + 60) / 50) ** 2 - 0.3 * (np.log(p["step_a"] / 2) / np.log(4)) ** 2
    return height - {32: 0.3, 48: 0.1, 64: 0.0, 96: 0.02}[p["pixels"]]


@pytest.fixture(scope="module")
def model():
    space = build_space(SPACE)
    rng = np.random.default_rng(0)
    observations = [
        Observation(p, truth(p) + 0.03 * rng.standard_normal()) for p in initial_design(space, 120, "hammersley", 4)
    ]
    return surrogate(space, SearchConfig(), observations, seed=1)


def test_prediction_is_better_than_a_trial_and_honest(model):
    points = initial_design(model.space, 200, "random", 9)
    mean, std = model.predict(points)
    error = mean - np.array([truth(p) for p in points])
    assert np.sqrt(np.mean(error**2)) < 0.03
    assert np.mean(np.abs(error) < 2 * std) > 0.85
    assert 0.02 < model.noise_std < 0.04


def test_best_point(model):
    point, mean, std = model.best()
    assert point["pixels"] in (64, 96)
    assert point["defocus_nm"] == pytest.approx(-60, abs=8)
    assert point["step_a"] == pytest.approx(2, rel=0.3)
    assert mean == pytest.approx(0.8, abs=0.03)
    assert 0 < std < 0.05
    tried, value, _ = model.best(observed=True)
    assert tried in [o.point for o in model.observations]
    assert value <= mean
    assert truth(tried) > 0.7


def test_plateau_is_the_range_within_five_percent(model):
    """0.04 below the maximum at +- 14 nm, factor exp(+-0.365 ln 4) in step; 96 px is within, 48 px is not."""
    ranges = plateau(model, within=0.05)
    assert list(ranges) == list(SPACE)
    for best, low, high in ranges.values():
        assert low <= best <= high
    assert ranges["defocus_nm"].low == pytest.approx(-74.1, abs=7)
    assert ranges["defocus_nm"].high == pytest.approx(-45.9, abs=7)
    assert ranges["step_a"].low == pytest.approx(2 * 4**-0.365, rel=0.3)
    assert ranges["step_a"].high == pytest.approx(2 * 4**0.365, rel=0.3)
    assert (ranges["pixels"].low, ranges["pixels"].high) == (64, 96)
    assert json.loads(json.dumps(ranges))["pixels"][1:] == [64, 96]
    wide = plateau(model, within=0.2)
    assert wide["defocus_nm"].low < ranges["defocus_nm"].low


def test_profile_re_optimises_the_others():
    """On a diagonal ridge each parameter alone can move freely as long as the other follows."""
    space = build_space({"x": {"low": 0, "high": 1}, "y": {"low": 0, "high": 1}})
    points = initial_design(space, 150, "hammersley", 0)
    ridge = [Observation(p, 1 - 4 * (p["x"] - p["y"]) ** 2 - 0.01 * (p["x"] - 0.5) ** 2) for p in points]
    ranges = plateau(surrogate(space, SearchConfig(kernel={"nu": 2.5}), ridge))
    assert ranges["x"].low < 0.1
    assert ranges["x"].high > 0.9


def test_best_point_with_one_parameter_held():
    """On the ridge the other follows, as far as it may."""
    ridge = {"x": {"low": 0, "high": 1}, "y": {"low": 0, "high": 1}}
    points = initial_design(build_space(ridge), 150, "hammersley", 0)
    seen = [Observation(p, 1 - 4 * (p["x"] - p["y"]) ** 2) for p in points]
    free = surrogate(build_space(ridge), SearchConfig(kernel={"nu": 2.5}), seen)
    assert free.best_at("x", 0.8) == {"x": 0.8, "y": pytest.approx(0.8, abs=0.02)}
    low = replace(free, space=replace(free.space, allowed=lambda p: p["x"] + p["y"] <= 1))
    assert low.best_at("x", 0.8) == {"x": 0.8, "y": pytest.approx(0.2, abs=0.03)}
    values, means = low.profile("x")
    assert means[values.index(1.0)] < means[values.index(0.5)] - 1
    none = replace(free, space=replace(free.space, allowed=lambda p: p["x"] < 0.5))
    assert none.best_at("x", 0.8) is None
    assert none.profile("x")[1][-1] == -np.inf


def test_failures_pull_the_surrogate_down_and_words_have_no_range():
    space = build_space({"x": {"low": 0, "high": 1}, "probe": {"choices": ["plain", "vortex", "diffuser"]}})
    points = initial_design(space, 40, "hammersley", 0)

    def value(p):
        return None if p["x"] > 0.7 else p["x"] + (0.3 if p["probe"] == "vortex" else 0.0)

    model = surrogate(space, SearchConfig(failure_value=0.0), [Observation(p, value(p), "diverged") for p in points])
    ranges = plateau(model)
    assert ranges["probe"] == ("vortex", None, None)
    assert 0.5 < ranges["x"].best < 0.8
    assert ranges["x"].high < 0.9


def test_same_seed_same_answer_and_bad_input(model):
    again = surrogate(model.space, SearchConfig(), model.observations, seed=1)
    assert again.best() == model.best()
    with pytest.raises(InputError, match="at least two different"):
        surrogate(model.space, SearchConfig(), [Observation(o.point, None) for o in model.observations])
    with pytest.raises(InputError, match="between 0 and 1"):
        plateau(model, within=5)
    with pytest.raises(InputError, match="defocus_nm"):
        model.profile("defocus")


def test_how_bad_bad_designs_are_does_not_raise_what_is_expected_of_good_ones():
    """Scores within 0.02 of each other, but for a corner where less and less is reconstructed."""
    space = build_space({name: {"low": 0, "high": 1} for name in "xyz"})
    rng = np.random.default_rng(0)

    def value(point):
        x, y, z = (point[name] for name in "xyz")
        good = 0.97 - 0.02 * ((x - 0.4) ** 2 + (y - 0.5) ** 2 + (z - 0.6) ** 2)
        return good - 0.5 * max(0.0, x + y - 1.2) + 0.001 * rng.standard_normal()

    model = surrogate(space, SearchConfig(), [Observation(point, value(point)) for point in space.draw(rng, 40)], 1)
    assert model.best()[1] < 0.975
    assert model.challenger()[1] < 0.01
    few = [Observation({"x": x, "y": 0.5, "z": 0.5}, value) for x, value in ((0.1, 0.9), (0.5, 0.9), (0.9, 0.1))]
    assert surrogate(space, SearchConfig(), few, 1).predict([few[2].point])[0][0] < 0.8  # few keep what they are
