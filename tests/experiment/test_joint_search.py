"""A search over the experiment and its reconstruction together, and the reference tuned as its rivals are."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from study_files import tiny, write_study

from ptydesign.design.space import build_space
from ptydesign.errors import InputError
from ptydesign.experiment import scope
from ptydesign.experiment import search as steps
from ptydesign.experiment.collect import collect
from ptydesign.experiment.decide import decide_winner
from ptydesign.experiment.points import experiment_at, plan_at
from ptydesign.experiment.refine import refine_search
from ptydesign.experiment.resolve import resolve
from ptydesign.experiment.search import study_at
from ptydesign.experiment.trial import Trial
from ptydesign.experiment.validate import validate

ENGINE, NOISE, RATE = (f"reconstruction.engines.0.{name}" for name in ("engine", "noise", "object_rate"))
SPACE = {
    "step_a": {"low": 1.5, "high": 3},
    ENGINE: {"choices": ["lsqml", "gradient"]},
    NOISE: {"choices": ["poisson", "amplitude"]},
    RATE: {"low": 0.005, "high": 0.1, "scale": "log", "when": {ENGINE: ["gradient"]}},
}
LSQML = {"step_a": 2.0, ENGINE: "lsqml", NOISE: "poisson", RATE: None}
GRADIENT = {"step_a": 2.0, ENGINE: "gradient", NOISE: "poisson", RATE: 0.02}


def joint(**changes):
    own = {"search__initial": 3, "search__points": 1, "reference__tuned": {"initial": 2, "points": 0}}
    return tiny(**{"space": SPACE, "map": None, "random": None, **own, **changes})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("joint")
    return resolve(write_study(root / "studies" / "joint", joint()), "preview", root / "results")


def test_a_parameter_without_meaning_is_left_out():
    space = build_space(SPACE)
    points = space.from_cube([[0.5, 0.1, 0.1, 0.3], [0.5, 0.9, 0.1, 0.3]])
    assert [point[RATE] is None for point in points] == [True, False]
    assert space.validate_point({n: v for n, v in points[0].items() if n != RATE})[RATE] is None
    features = space.to_unit([LSQML, GRADIENT])
    assert features[0, -1] == 0.5  # in the middle: no distance that means nothing
    assert space.from_unit(features) == [LSQML, GRADIENT]
    with pytest.raises(InputError, match="has no meaning"):
        space.validate_point({**LSQML, RATE: 0.02})
    finite = build_space({"a": {"choices": ["x", "y"]}, "b": {"choices": [1, 2, 3], "when": {"a": ["y"]}}})
    assert len(finite.all_points()) == 4


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({RATE: {"low": 0.1, "high": 1, "when": {ENGINE: ["epie"]}}}, "or the condition can never hold"),
        ({RATE: {"low": 0.1, "high": 1, "when": {"step_a": [2]}}}, "must name a parameter with choices"),
        ({RATE: {"low": 0.1, "high": 1, "when": {"engine": ["lsqml"]}}}, "must name another parameter of the space"),
        ({RATE: {"low": 0.1, "high": 1}}, "object_rate"),  # LSQ-ML has none
        ({"reconstruction.engine.0.noise": {"choices": ["poisson", "amplitude"]}}, "must be a path in a plan"),
        ({NOISE: {"choices": ["poisson", "gauss"]}}, "noise"),
        ({"sweeps": {"low": 1, "high": 2}}, "is not a number of the experiment"),
    ],
)
def test_bad_spaces_are_refused_before_any_job(tmp_path, changes, hint):
    space = {**{name: SPACE[name] for name in ("step_a", ENGINE, NOISE)}, **changes}
    with pytest.raises(InputError) as caught:
        resolve(write_study(tmp_path / "studies" / "bad", joint(space=space)), "preview", tmp_path / "results")
    assert hint in str(caught.value)
    assert "space" in str(caught.value)


def test_plans_of_points(study):
    plan = plan_at(study.study.reconstruction, GRADIENT)
    assert (plan.engines[0].engine, plan.engines[0].object_rate, plan.engines[0].noise) == ("gradient", 0.02, "poisson")
    assert plan.engines[0].sweeps == study.study.reconstruction.engines[0].sweeps
    assert plan_at(study.study.reconstruction, {"step_a": 2.0}) is None
    lsqml, gradient = (study_at(study.study, point) for point in (LSQML, GRADIENT))
    trial = Trial(experiment_at(study.study.experiment, LSQML), 2000.0)
    assert trial == Trial(experiment_at(study.study.experiment, GRADIENT), 2000.0)  # the same data
    assert trial.key(lsqml, "x") != trial.key(gradient, "x")
    # a point that says what the plan says anyway is the same trial
    own = study.study.reconstruction.engines[0]
    assert trial.key(study_at(study.study, {NOISE: own.noise}), "x") == trial.key(study.study, "x")
    # sweeps that are searched are scored up to their own end
    short = study_at(study.study, {"reconstruction.engines.0.sweeps": 2})
    assert (short.scored[-1], study.study.scored[-1]) == (2, 4)


def test_both_designs_have_a_reconstruction_of_their_own(study):
    names = list(scope.searches(study.study))
    assert names == ["bo-2000", "tuned-2000"]
    for name in names:
        for round_ in range(len(scope.searches(study.study)[name].sizes)):
            found = scope.find_search(study.study, name)
            if found.whole(round_):
                steps.do_round(study, name, round_)
            else:
                steps.propose_points(study, name, round_)
                for chunk in range(found.chunks(round_)):
                    steps.evaluate(study, name, round_, chunk)
        steps.choose(study, name)
    refine_search(study, "2000")
    decision = json.loads(decide_winner(study, "2000").read_text())
    reference = decision["reference"]
    assert reference["point"]["defocus_nm"] == -8
    assert reference["contenders"][0]["place"] in range(3)
    plain = [row for row in reference["contenders"] if ENGINE not in row["point"]]
    assert len(plain) == 1  # the study's own plan is one of its contenders
    validate(study, "2000", "jax")
    steps.build_potential(study)
    collect(study)
    table = pd.read_csv(study.results / "tables/two_by_two.csv")
    assert list(table["reconstruction"]) == ["default", "own"] * 2
    assert (table["n"] == 2).all()
    validation = pd.read_csv(study.results / "tables/validation.csv")
    own = validation[validation["design"] == "expert"].set_index("repeat")["ssim_1.5px"]
    assert table.iloc[3]["ssim_mean"] == pytest.approx(own.mean())
    assert len(pd.read_csv(study.results / "tables/summary.csv")) == 2
