"""Search space: encodings are inverse to each other, values stay in range, bad configurations are refused."""

import json
import math

import numpy as np
import pytest

from ptydesign.config import build
from ptydesign.design.space import SpaceConfig, build_space
from ptydesign.errors import InputError

MIXED = {
    "step_a": {"low": 0.5, "high": 8.0, "scale": "log"},
    "defocus_nm": {"low": -120, "high": 0},
    "frames": {"low": 2, "high": 9, "integer": True},
    "detector_pixels": {"choices": [96, 32, 64, 48]},
    "probe": {"choices": ["plain", "vortex", "diffuser"]},
    "thermal": {"choices": [False, True]},
}


def test_points_survive_the_way_to_features_and_back():
    space = build_space(MIXED)
    points = space.from_cube(np.random.default_rng(0).random((200, 6)))
    assert space.from_unit(space.to_unit(points)) == points
    assert [space.validate_point(p) for p in points] == points
    assert json.loads(json.dumps(points)) == points
    types = {name: {type(p[name]) for p in points} for name in space.names}
    assert types == {
        "step_a": {float},
        "defocus_nm": {float},
        "frames": {int},
        "detector_pixels": {int},
        "probe": {str},
        "thermal": {bool},
    }


def test_features_are_the_place_in_the_range():
    space = build_space(MIXED)
    point = {"step_a": 2.0, "defocus_nm": -90.0, "frames": 9, "detector_pixels": 64, "probe": "vortex", "thermal": True}
    expected = [0.5, 0.25, 1.0, 2 / 3, 0, math.sqrt(0.5), 0, 1]
    np.testing.assert_allclose(space.to_unit([point])[0], expected, atol=1e-12)
    np.testing.assert_array_equal(space.continuous_features, [1, 1, 0, 0, 0, 0, 0, 0])


def test_numbers_to_choose_from_are_ordered_and_words_are_equally_far():
    space = build_space({"pixels": {"choices": [96, 32, 64]}})
    np.testing.assert_allclose(space.to_unit([{"pixels": v} for v in (32, 64, 96)])[:, 0], [0, 0.5, 1])
    words = build_space({"probe": {"choices": ["a", "b", "c"]}})
    a, b, c = words.to_unit(words.all_points())
    np.testing.assert_allclose([np.linalg.norm(a - b), np.linalg.norm(b - c), np.linalg.norm(a - c)], 1.0)


@pytest.mark.parametrize("name", ["frames", "detector_pixels", "probe"])
def test_discrete_values_have_equal_shares_of_the_cube(name):
    space = build_space({name: MIXED[name]})
    cube = ((np.arange(2400) + 0.5) / 2400)[:, None]
    values = [p[name] for p in space.from_cube(cube)]
    counts = [values.count(v) for v in dict.fromkeys(values)]
    assert len(counts) == space.size
    assert set(counts) == {2400 // space.size}


def test_finite_space_lists_every_point_once():
    space = build_space({k: MIXED[k] for k in ("frames", "detector_pixels", "thermal")})
    points = space.all_points()
    assert len(points) == space.size == 8 * 4 * 2
    assert len({tuple(p.values()) for p in points}) == len(points)
    assert build_space(MIXED).size == math.inf


@pytest.mark.parametrize(
    "content, field, hint",
    [
        ({"step_a": {"low": 3, "high": 3}}, "step_a.low", "less than high"),
        ({"step_a": {"low": 8, "high": 1}}, "step_a.low", "less than high"),
        ({"step_a": {"low": 1, "hihg": 3}}, "step_a.hihg", "'high'"),
        ({"step_a": {"low": 1}}, "step_a.high", "is required"),
        ({"step_a": {"low": 0, "high": 3, "scale": "log"}}, "step_a.low", "positive on a log scale"),
        ({"step_a": {"low": 1, "high": 3, "scale": "lin"}}, "step_a.scale", "'linear'"),
        ({"frames": {"low": 1, "high": 2.5, "integer": True}}, "frames.low", "whole numbers"),
        ({"pixels": {"choices": [32]}}, "pixels.choices", "at least two"),
        ({"pixels": {"choices": [32, 64, 32]}}, "pixels.choices", "at least two"),
        ({"pixels": {"choices": [32, "64"]}}, "pixels.choices", "all numbers or all words"),
        ({"pixels": {"choices": [32, 64], "low": 32}}, "pixels.choices", "can't be combined"),
        ({"step_a": {"low": float("nan"), "high": 3}}, "step_a.low", "finite"),
        ({}, "space", "at least one"),
    ],
)
def test_bad_spaces_are_refused_with_field_rule_and_mend(content, field, hint):
    with pytest.raises(InputError) as caught:
        build(SpaceConfig, content, "study.yaml")
    assert field in caught.value.field
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "change, hint",
    [
        ({"step_a": 9.0}, "0.5 ... 8"),
        ({"step_a": float("nan")}, "0.5 ... 8"),
        ({"step_a": "2"}, "0.5 ... 8"),
        ({"frames": 2.5}, "whole number"),
        ({"detector_pixels": 100}, "choices"),
        ({"defocus_mn": 3}, "'defocus_nm'"),
        ({"thermal": 1}, "choices"),
    ],
)
def test_points_outside_are_refused(change, hint):
    space = build_space(MIXED)
    point = space.from_cube(np.full((1, 6), 0.5))[0]
    with pytest.raises(InputError, match=hint):
        space.validate_point({**point, **change})
    with pytest.raises(InputError, match="missing"):
        space.validate_point({k: v for k, v in point.items() if k != "frames"})
