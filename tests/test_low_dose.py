"""A plan that leaves things open ends well with few counts; what ends badly says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import toy
import yaml

from ptydesign import io
from ptydesign.cli import main
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.reconstruct.misfit import misfit
from ptydesign.reconstruct.plan import Plan
from ptydesign.reconstruct.sane import Best, counts_per_bright_pixel, for_counts, hold_out, judged
from ptydesign.types import Outcome

OPEN = {"engines": [{"engine": "lsqml", "batches": "compact", "noise": "poisson", "sweeps": 25}]}
FIXED = {"object": {"method": "vacuum"}, "engines": [{**OPEN["engines"][0], "group": 16, "probe_start": 1}]}


@pytest.fixture(scope="module")
def few():
    """64 counts a pattern, 0.4 in a bright pixel; and the object."""
    return toy.experiment(dose=100, steps=(14, 12), step_a=0.8)


def run(folder, data, plan, *options):
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    if not (folder / "data.h5").exists():
        io.write_dataset(folder / "data.h5", data)
    files = [str(folder / name) for name in ("data.h5", "plan.yaml")]
    return main(["reconstruct", *files, "-o", str(folder / "out.h5"), "--quiet", "--overwrite", *options])


def test_what_a_plan_leaves_open_follows_few_counts(few, tmp_path, capsys):
    data, transmission = few
    assert run(tmp_path, data, OPEN) == 0
    said = capsys.readouterr()
    assert "engines.0.probe_start: never" in said.err
    assert "object.method: ssb" in said.err
    last, best = (io.read_reconstruction(tmp_path / name) for name in ("out.h5", "out_best.h5"))
    assert run(tmp_path, data, FIXED, "--heldout", "0") == 0
    fixed = io.read_reconstruction(tmp_path / "out.h5")
    errors = {n: toy.phase_error(r.state, transmission, data) for n, r in {"best": best, "fixed": fixed}.items()}
    assert errors["best"] < 0.85 * errors["fixed"]
    rest, out = hold_out(data, 0.05, 0)
    misfits = [misfit(r.state, out, "poisson", 1e-3) for r in (best, last)]
    assert misfits[0] <= misfits[1]
    assert np.nanmin(last.history["heldout_misfit"]) >= misfits[0] - 1e-6
    assert len(last.state.positions_px) == len(rest.positions_a)


def test_many_counts_change_nothing(few):
    data, _ = few
    many = dataclasses.replace(data, patterns=data.patterns * 100)
    assert counts_per_bright_pixel(many) == pytest.approx(100 * counts_per_bright_pixel(data))
    plan = build(Plan, OPEN, "plan")
    assert for_counts(plan, many) == (plan, [])


def test_what_the_plan_says_stays(few):
    plan = build(Plan, FIXED, "plan")
    assert for_counts(plan, few[0])[0] == plan


def test_best_is_the_least_of_the_states_it_saw(few):
    from ptydesign.reconstruct.start import start_state

    data, _ = few
    rest, out = hold_out(data, 0.1, 3)
    assert {*map(tuple, rest.positions_a)}.isdisjoint(map(tuple, out.positions_a))
    assert len(rest.patterns) + len(out.patterns) == len(data.patterns)
    state = start_state(rest, build(Plan, OPEN, "plan"))
    best = Best(rest, out, "poisson", 1e-3)
    for sweep, factor in enumerate((2.0, 1.0, 1.5)):
        best.look(sweep, state.replace(probe=state.probe * factor))
    assert best.sweep == 1
    np.testing.assert_array_equal(best.state.probe, state.probe)
    assert best.misfit[1] == pytest.approx(misfit(state, out, "poisson", 1e-3), rel=1e-6)
    assert best.history(3)[0] == best.misfit[1]


def test_outcomes():
    spent = Outcome("budget_spent", "All sweeps are done.", 3)
    assert judged(spent, np.array([1.0, 0.9, 0.8])) == spent
    above = judged(spent, np.array([1.0, 0.9, 1.1]))
    assert above.status == "above_start"
    assert "1.1 after 1" in above.reason
    assert judged(spent, np.array([1.0, 0.9999])).status == "no_progress"
    diverged = Outcome("diverged", "", 2)
    assert judged(diverged, np.array([1.0, 20.0])) is diverged


def test_strict_asks_for_a_status(few, tmp_path, capsys):
    data, _ = few
    steep = {"engines": [{"engine": "gradient", "object_rate": 2.0, "sweeps": 3}], "object": {"method": "vacuum"}}
    assert run(tmp_path, data, steep, "--heldout", "0") == 0
    assert "ended above its start" in capsys.readouterr().out
    assert run(tmp_path, data, steep, "--heldout", "0", "--strict") == 1
    assert run(tmp_path, data, steep, "--heldout", "0.7") == 2
    assert "between 0 and 0.5" in capsys.readouterr().err


def test_too_few_positions_to_hold_any_out(few):
    small = dataclasses.replace(few[0], patterns=few[0].patterns[:4], positions_a=few[0].positions_a[:4])
    with pytest.raises(InputError, match="heldout"):
        hold_out(small, 0.05, 0)
