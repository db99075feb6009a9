"""`goal.minimise: dose`: the least of the doses at which the resolution is reached."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from plan_files import resolved_of, write_plan

from ptydesign.errors import InputError
from ptydesign.planning import scope
from ptydesign.planning.instrument import Setting
from ptydesign.planning.kind import KIND, work
from ptydesign.planning.least_dose import choose_dose, least_dose_words
from ptydesign.planning.load import read_plan
from ptydesign.planning.resolve import LEAST_DOSE, expert_at
from ptydesign.planning.robust import design_setting
from ptydesign.planning.space import make_space, point_of

DOSES = [80, 8000, 9000]
LEAST = {
    "goal__minimise": "dose",
    "goal__doses_e_per_a2": DOSES,
    "goal__resolution_a": 1.0,
    "instrument__currents_pa": [0.1, 1, 4],
}


def searched(tmp_path, **changes):
    """A plan whose searches found the same setting at every dose."""
    resolved = resolved_of(tmp_path, **{**LEAST, "robustness__repeats": 1, **changes})
    for search in scope.searches(resolved.study).values():
        point = point_of(make_space(resolved.bench, search.dose_e_per_a2), Setting(80, 20, -5, 1.9, 4.0))
        resolved.write_json(search.best_file, {"candidates": [point], "tolerances": {}})
    return resolved


def test_the_least_dose_that_reaches_the_resolution_is_found_and_taken(tmp_path):
    """At 80 e/A^2 a bilayer of 1 A isn't seen, at 8000 it is; 9000 is then not tried."""
    resolved = searched(tmp_path)
    choose_dose(resolved)
    found = resolved.read_json(LEAST_DOSE)
    assert found["dose_e_per_a2"] == resolved.dose_e_per_a2 == 8000
    low, high = found["tried"]
    assert (low["dose_e_per_a2"], high["dose_e_per_a2"]) == (80, 8000)
    assert low["resolution_a"] is None or low["resolution_a"] > 1.02
    assert high["resolution_a"] <= 1.02
    assert asdict(design_setting(resolved, "candidate-0"))["step_a"] == pytest.approx(1.9)
    assert design_setting(resolved, "expert") == expert_at(resolved.bench, 8000)


def test_all_that_follows_waits_for_it(tmp_path):
    jobs = {job.outputs[0]: job for job in KIND.jobs(resolved_of(tmp_path, **LEAST))}
    assert set(jobs[LEAST_DOSE].inputs) == {"potentials.json", *(f"search/{dose}/best.json" for dose in DOSES)}
    assert all(LEAST_DOSE in jobs[f"robust/{name}.json"].inputs for name in ("candidate-0", "expert"))
    assert LEAST_DOSE in jobs["tables/trials.csv"].inputs


def test_a_plan_that_looks_for_none_is_as_it_was(tmp_path):
    resolved = resolved_of(tmp_path)
    assert "minimise" not in resolved.content["goal"]
    assert resolved.dose_e_per_a2 == 8000
    assert LEAST_DOSE not in {file for job in KIND.jobs(resolved) for file in (*job.outputs, *job.inputs)}
    assert scope.LEAST not in scope.parts(resolved.study)
    assert work(resolved)["least-dose"].units == 0


def test_its_trials_are_counted(tmp_path):
    resolved = resolved_of(tmp_path, **LEAST)
    assert scope.parts(resolved.study)[scope.LEAST] == 3 * 2
    assert work(resolved)["least-dose"].units > 0


def test_one_dose_is_no_choice(tmp_path):
    with pytest.raises(InputError, match=r"goal.minimise: needs two doses or more to choose from; got \[8000.0\]"):
        read_plan(write_plan(tmp_path / "p.yaml", goal__minimise="dose", goal__doses_e_per_a2=[8000]))
    with pytest.raises(InputError, match=r"goal.minimise: is not known; got 'time'"):
        read_plan(write_plan(tmp_path / "p.yaml", goal__minimise="time"))


@pytest.mark.parametrize(
    "tried, words",
    [
        ([(100, 1.4), (200, 0.9)], "1 Å is reached at this dose, not at 100 e/Å² (a dose between may do: list some)."),
        ([(100, None), (120, 1.01)], "not at 100 e/Å². Resolution at 100 e/Å²: none, 120 e/Å²: 1.01 Å"),
        ([(100, 0.8)], "the plan's smallest dose reaches 1 Å: list smaller ones to find the least."),
        ([(100, None), (200, 1.4)], "1 Å is reached at none of the doses; this is the largest. Resolution at 100"),
    ],
)
def test_the_sheet_says_what_was_reached_at_each_dose(tried, words):
    rows = [{"dose_e_per_a2": dose, "resolution_a": reached, "each_a": [reached]} for dose, reached in tried]
    assert words in least_dose_words({"dose_e_per_a2": tried[-1][0], "tried": rows}, 1.0)
