"""Paths in a plan, and the configuration of tuning studies: what is wrong is named before work starts."""

from __future__ import annotations

import time

import pytest
from study_files import write_study
from tuning_files import resolved_in, tiny

from ptydesign.api import make_plan
from ptydesign.errors import InputError
from ptydesign.reconstruct.paths import with_values
from ptydesign.simulate.scan import raster
from ptydesign.study.cost import estimate
from ptydesign.tuning.data import experiments
from ptydesign.tuning.estimate import FLOP_PER_UNIT, OVERHEAD
from ptydesign.tuning.kind import KIND
from ptydesign.tuning.resolve import resolve
from ptydesign.tuning.scope import Budget
from ptydesign.tuning.trial import plan_of

PLAN = {"engines": [{"engine": "lsqml", "sweeps": 4}, {"engine": "lsqml", "sweeps": 6, "group": 8}]}


def test_a_path_reaches_one_engine_or_all():
    plan = with_values(
        PLAN, {"engines.1.noise": "poisson", "engines.*.group": 12, "object.slices": 2, "object.slice_thickness_a": 3.0}
    )
    assert [e.noise for e in plan.engines] == ["amplitude", "poisson"]
    assert [e.group for e in plan.engines] == [12, 12]
    assert plan.final_slices == (2, 3.0)
    assert PLAN["engines"][1] == {"engine": "lsqml", "sweeps": 6, "group": 8}  # the given plan stays as it is


def test_a_path_goes_into_lists_of_constraints_and_makes_what_is_missing():
    plan = {"engines": [{"engine": "lsqml", "constraints": [{"kind": "object_lowpass", "qmax": 1.0}]}]}
    changed = with_values(plan, {"engines.0.constraints.0.qmax": 0.5, "engines.0.stop.tolerance": 0.01})
    assert changed.engines[0].constraints[0].qmax == 0.5
    assert changed.engines[0].stop.tolerance == 0.01


def test_another_engine_keeps_only_what_was_written():
    assert (
        with_values({"engines": [{"engine": "lsqml", "group": 8}]}, {"engines.0.engine": "epie"}).engines[0].group == 8
    )


def test_probe_modes_are_counted():
    assert with_values(PLAN, {"probe.modes": 4}).probe.modes == 4
    assert with_values(PLAN, {"probe.modes": 1}).probe.mode_powers == ()


@pytest.mark.parametrize(
    "values, field, rule",
    [
        ({"engines.2.noise": "poisson"}, "space.engines.2.noise", "below 2"),
        ({"engines.0.nois": "poisson"}, "space.engines.0.nois", "known key"),
        ({"engines.0.noise": "gausian"}, "space.engines.0.noise", "not known"),
        ({"engines.*.group": 0}, "space.engines.*.group", "must be at least 1"),
        ({"engines.0.group": 3, "engines.0.group.size": 3}, "space.engines.0.group.size", "one itself"),
        ({"probe.modes": 0}, "space.probe.modes", "whole number"),
        ({"probe.modes": True}, "space.probe.modes", "whole number"),
        ({"precision.x": 1}, "precision", ""),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_path(values, field, rule):
    with pytest.raises(InputError) as error:
        with_values(PLAN, values)
    assert field in error.value.field
    assert rule in error.value.rule


def test_positions_are_those_that_are_scanned(tmp_path):
    resolved = resolved_in(tmp_path)
    first, second = experiments(resolved.study.data)
    assert first.scan.field_of_view_a == resolved.study.data.experiment.field_of_view_a  # no margin
    assert resolved.positions == len(raster(first.scan, (0.0, 0.0))) == len(raster(second.scan, (0.0, 0.0)))


def test_a_budget_ends_the_last_engine_only(tmp_path):
    write_study(tmp_path / "tiny", tiny(plan__engines=PLAN["engines"]))
    study = resolve(tmp_path / "tiny", "preview", tmp_path / "results").study
    plan = plan_of(study, {}, Budget("work_gflop", 0.5))
    assert plan.engines[0].sweeps == 4
    assert plan.engines[1].sweeps > 1000
    assert plan.budget.work_gflop == 0.5
    assert plan.engines[0].stop.worse == 1.5
    assert plan_of(study, {}) == make_plan(**PLAN)


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"space": {"engine.0.noise": {"choices": ["poisson", "gaussian"]}}}, "space.engine.0.noise"),
        ({"space": {"engines.0.noise": {"choices": ["poisson", "gausian"]}}}, "space.engines.0.noise"),
        ({"space": {"engines.0.object_step": {"low": 0, "high": 5}}}, "space.engines.0.object_step"),
        ({"references": {"simple": {"engines.0.grup": 3}}}, "references.simple.engines.0.grup"),
        ({"references": {"found": {}}}, "references"),
        ({"example__path": "engines.0.nothing"}, "example.engines.0.nothing"),
        ({"budget__values": [2, 1]}, "budget.values"),
        ({"budget__unit": "minutes"}, "budget.unit"),
        ({"objective__q_max_per_a": 2}, "objective.q_max_per_a"),
        ({"objective__metrics": ["frc"]}, "objective.metrics"),
        ({"objective__metrics": []}, "objective.metrics"),
        ({"search__points": 5, "space": {"engines.0.noise": {"choices": ["poisson", "gaussian"]}}}, "search.points"),
        ({"effects": ["engines.0.group"]}, "effects"),
        ({"data__second": {"drift": 3}}, "data.second.drift"),
        ({"data__second": {"step_a": -3}}, "data.second.step_a"),
        ({"data__experiment__semiangle_mrad": 60}, "data.experiment.semiangle_mrad"),
        ({"data__experiment__scan_margin_a": 2}, "experiment.scan_margin_a"),
        ({"data__doses_e_per_a2": [1, 1]}, "data.doses_e_per_a2"),
        ({"prune": {"factor": 0.5}}, "prune.factor"),
        ({"data": {"kind": "file", "file": "none.h5"}, "validation": {}}, "data.file"),
        ({"data": {"kind": "file", "file": "none.h5"}}, "validation.repeats"),
        (
            {"data": {"kind": "file", "file": "n.h5"}, "validation": {}, "objective__metrics": ["ssim"]},
            "objective.metrics",
        ),
        ({"data": {"kind": "file"}}, "data.file"),
        ({"kind": "tunning"}, "kind"),
    ],
)
def test_a_broken_study_is_refused_with_the_field(tmp_path, changes, field):
    from ptydesign.kinds import open_study

    # the tiny study varies a path of its own space one at a time
    write_study(tmp_path / "tiny", tiny(**({"effects": []} if "space" in changes else {}), **changes))
    start = time.process_time()
    with pytest.raises(InputError) as error:
        open_study(tmp_path / "tiny", "preview", tmp_path / "results")
    assert time.process_time() - start < 5
    assert field in error.value.field
    assert "study.yaml" in error.value.field
    assert error.value.mend
    assert not (tmp_path / "results").exists()


def test_trials_under_a_clock_take_its_seconds_one_after_the_other(tmp_path):
    """However many cores: each trial of a search reconstructs two scans. Work is divided by the machine's rate."""
    by_clock = resolved_in(tmp_path / "s", budget={"unit": "seconds", "values": [5, 60]})
    for rate in (1e6, 1e12):
        numbers = estimate(KIND, by_clock, 1000, rate)
        assert numbers["minutes"] == pytest.approx(6 * 2 * 60 / 60, rel=0.01)
    by_work = resolved_in(tmp_path / "w", budget={"values": [50, 600]})
    slow, fast = (estimate(KIND, by_work, 1000, rate)["minutes"] for rate in (1e9, 2e9))
    assert slow == pytest.approx(6 * 2 * 600e9 / FLOP_PER_UNIT * OVERHEAD / 1e9 / 60, rel=0.01)
    assert fast == pytest.approx(slow / 2, rel=0.01)
