"""A tiny tuning study step by step: data, searches, the choice, assessments, tables, figures, report."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy
import yaml
from study_files import write_study
from tuning_files import resolved_in, run_all, tiny, total

from ptydesign import io
from ptydesign.api import make_plan, read_plan, reconstruct_dataset
from ptydesign.design.space import SpaceConfig
from ptydesign.errors import InputError
from ptydesign.reconstruct.predict import heldout_misfit
from ptydesign.reconstruct.schedule import Budget, Stop
from ptydesign.study.cost import words
from ptydesign.study.kind import Run
from ptydesign.tuning import findings, scope
from ptydesign.tuning.data import hold_out, read_pair, scan
from ptydesign.tuning.figures import FIGURES
from ptydesign.tuning.kind import COLLECT, KIND
from ptydesign.tuning.resolve import resolve
from ptydesign.tuning.search import weighted
from ptydesign.tuning.tables import read_tables
from ptydesign.tuning.trial import Trial, plan_of, plan_to_use, run_trial

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pair(finished):
    return read_pair(finished.results, 0, scope.data_name(finished.study))


def test_tables_have_a_row_for_each_record(finished):
    study, folder = finished.study, finished.results / "tables"
    sizes = {name: len(pd.read_csv(folder / f"{name}.csv")) for name in (*scope.TABLES, *scope.OPTIONAL_TABLES)}
    assert sizes["trials"] == 2 * 2 * 6 + 6  # two methods, two repeats; one search at the smaller budget
    assert sizes["budgets"] == 2 * 3 + 1  # found, default, timid; at the smaller budget what was found there too
    assert sizes["validation"] == 2 * 3
    assert sizes["doses"] == 2 * 3
    assert sizes["effects"] == 2 * 2
    assert sizes["example"] == 2
    assert sizes["chosen"] == 3 + 2  # of the parameters with choices
    assert sum(scope.trials(study).values()) == sizes["trials"] + 7 + 3 + 3 + 4 + 2
    assert f"{sum(scope.trials(study).values())} trials (bo at 0.04 GFLOP 12, " in words(Run(KIND, finished), 2)
    assert set(COLLECT.files(finished)) == {f"tables/{p.name}" for p in folder.iterdir()}
    assert (pd.read_csv(folder / "trials.csv")["status"] == "ok").mean() > 0.8


def test_searches_of_a_repeat_share_their_first_points_and_repeats_do_not(finished):
    trials = pd.read_csv(finished.results / "tables" / "trials.csv")
    main = trials[trials["main"] & (trials["index"] < 3)].sort_values("index")
    keys = {(m, r): g["key"].tolist() for (m, r), g in main.groupby(["method", "repeat"])}
    assert keys["bo", 0] == keys["random", 0] != keys["random", 1] == keys["bo", 1]


def test_the_best_plan_is_a_file_that_reconstruct_takes_and_gives_the_same(finished, pair):
    from ptydesign.score.halves import compare_halves

    chosen = yaml.safe_load((finished.results / "best.json").read_text())["w0.04"]
    plan = read_plan(finished.results / "best-w0.04.yaml")
    trial = Trial(finished.study, chosen["point"], scope.main_budget(finished.study), pair)
    assert plan.budget == Budget()  # it would buy fewer sweeps of a larger scan
    assert plan.sweeps < 1000
    assert plan == plan_to_use(finished.study, chosen["point"], plan.sweeps)
    states = [reconstruct_dataset(d, plan, trial.seed + n, progress=False).state for n, d in enumerate(pair.scans)]
    area = compare_halves(*states, max_shift_a=1.5).frc_curve.area(0.8)
    assert area == pytest.approx(chosen["objective"], abs=1e-6)
    trials = pd.read_csv(finished.results / "tables" / "trials.csv")
    assert chosen["objective"] == pytest.approx(trials.loc[trials["budget"] == 0.04, "objective"].max())


def test_a_plan_to_use_has_the_sweeps_of_the_trial(finished):
    """Of two engines, where the budget may have ended the first one."""
    two = make_plan(engines=[{"engine": "epie", "sweeps": 30}, {"engine": "lsqml"}])
    study = finished.study.model_copy(update={"plan": two})
    for sweeps, wanted in ((50, [30, 20]), (31, [30, 1]), (30, [30]), (12, [12])):
        plan = plan_to_use(study, {"engines.0.group": 9}, sweeps)
        assert [engine.sweeps for engine in plan.engines] == wanted
        assert plan.engines[0].group == 9
        assert plan.engines[0].stop == Stop()
    searched = plan_to_use(study, {"engines.0.sweeps": 5}, 50)
    assert [engine.sweeps for engine in searched.engines] == [5, 45]


def test_the_same_seeds_give_identical_tables_without_a_stored_trial(finished, tmp_path):
    again = resolved_in(tmp_path)
    run_all(again)
    for file in COLLECT.files(again):
        one, other = again.results / file, finished.results / file
        if file.endswith(".h5"):  # says the name of its study
            one, other = (io.read_images(path) for path in (one, other))
            assert one.keys() == other.keys()
            for name, group in one.items():
                for array, found in group["arrays"].items():
                    np.testing.assert_array_equal(found, other[name]["arrays"][array])
        elif not file.endswith("hashes.json"):  # of these files
            assert one.read_bytes() == other.read_bytes(), file


def test_every_figure_and_the_report_are_made(finished):
    tables = read_tables(finished.results)
    for figure in FIGURES:
        assert figure.skip(tables) is None, figure.name
        assert (finished.results / "figures" / f"{figure.name}.png").stat().st_size > 5000
        assert len(figure.caption(tables)) > 40
    page = (finished.results / "report.html").read_text()
    assert page.count("<figure") == len(FIGURES)
    for sentence in findings.sentences(tables):
        assert sentence[:30].split("<")[0].split("'")[0] in page


def test_a_plan_is_compared_on_fresh_data_alone(finished):
    tables = read_tables(finished.results)
    fresh = tables["validation"].query("repeat > 0")
    for reference in tables.study["references"]:
        margin = findings.plan_margin(tables, reference, "ssim")
        found, other = (fresh.loc[fresh["plan"] == plan, "ssim"] for plan in ("found", reference))
        assert margin.n == tables.study["validation"]["repeats"]
        assert (margin.first, margin.second) == (found.mean(), other.mean())


def test_reconstruction_is_told_nominal_values_only(finished, pair):
    optics = pair.scans[0].optics
    assert optics.defocus_a == -200
    assert pair.scans[0].background is None
    np.testing.assert_array_equal(np.diff(np.unique(pair.scans[0].positions_a[:, 0])).round(9), 2.5)
    truth = pair.read_truth()
    assert truth.positions_a.std() > 0
    first, second = (io.read_dataset(finished.results / "data" / "5000-0" / f"{n}.h5") for n in ("first", "second"))
    assert np.mean(first.patterns[:20] == second.patterns[:20]) < 0.99  # independent scans


def test_held_out_patterns_are_in_neither_reconstruction(pair):
    for kept, out in zip(pair.scans, pair.heldout, strict=True):
        assert len(kept.patterns) + len(out.patterns) == 6 * 7
        assert not {tuple(p) for p in kept.positions_a} & {tuple(p) for p in out.positions_a}
    with pytest.raises(InputError, match="heldout"):
        hold_out(pair.heldout[0], 0.3, 0)


def test_the_misfit_of_held_out_patterns_finds_the_better_object(pair):
    plan = make_plan(engines=[{"engine": "lsqml", "group": 12, "sweeps": 25}])
    kept, out = pair.scans[0], pair.heldout[0]
    state = reconstruct_dataset(kept, plan, 0, progress=False).state
    good = heldout_misfit(state, kept.positions_a, out)
    flat = heldout_misfit(state.replace(object=np.ones_like(state.object)), kept.positions_a, out)
    half = heldout_misfit(state.replace(object=np.sqrt(state.object)), kept.positions_a, out)
    assert good < half < flat
    # a position or an intensity that is wrong in the held-out pattern alone is no fault of the object
    moved = replace(out, positions_a=out.positions_a + np.array([0.3, -0.2]))
    assert heldout_misfit(state, kept.positions_a, moved) == pytest.approx(good, rel=0.03)


def test_a_probe_that_varies_predicts_held_out_patterns_too(pair):
    plan = make_plan(
        probe={"opr_modes": 1}, engines=[{"engine": "lsqml", "group": 12, "sweeps": 25, "refine_positions": True}]
    )
    kept, out = pair.scans[0], pair.heldout[0]
    state = reconstruct_dataset(kept, plan, 0, progress=False).state
    good = heldout_misfit(state, kept.positions_a, out)
    assert good < heldout_misfit(state.replace(object=np.sqrt(state.object)), kept.positions_a, out)


def test_what_a_space_switches_off_stays_off_and_costs_nothing(finished, pair):
    """Written as what never starts, so that plans share their compiled code."""
    from ptydesign.reconstruct.run import reconstruct
    from ptydesign.score.halves import compare_halves

    space = {
        "engines.0.refine_positions": {"choices": [False, True]},
        "engines.0.refine_intensity": {"choices": [False, True]},
        "probe.opr_modes": {"choices": [0, 1]},
    }
    study = finished.study.model_copy(update={"space": SpaceConfig.model_validate(space)})
    off = dict.fromkeys(space, False) | {"probe.opr_modes": 0}
    plain = plan_of(study, off)
    written = plan_of(study, off, scope.Budget("work_gflop", 0.1))
    assert not plain.engines[0].refine_positions
    assert written.engines[0].refine_positions
    assert written.probe.opr_modes == 1
    scan, budget = pair.scans[0], {"budget": {"work_gflop": 0.1}}
    engines = [{**e, "sweeps": 1000} for e in plain.model_dump(mode="json", exclude_unset=True)["engines"]]
    first, history, _ = reconstruct(scan, make_plan(engines=engines, **budget), 1)
    second, same, _ = reconstruct(scan, written, 1)
    np.testing.assert_allclose(history.work_gflop, same.work_gflop, rtol=1e-12)
    np.testing.assert_allclose(history.loss, same.loss, rtol=1e-3)
    np.testing.assert_allclose(second.positions_a, scan.positions_a, atol=1e-4)
    assert np.all(second.opr_weights == 0)
    assert compare_halves(first, second).frc_curve.area(0.8) > 0.999
    on = plan_of(study, dict.fromkeys(space, True) | {"probe.opr_modes": 1}, scope.Budget("work_gflop", 0.1))
    assert on.engines[0].positions_start < 10


def test_a_diverging_plan_ends_early_and_is_no_failure_of_the_study(finished, pair):
    study = finished.study
    wild = study.model_copy(update={"prune": study.prune.model_copy(update={"factor": 1.0001})})
    values = {"engines.0.object_step": 2.0, "engines.0.probe_step": 2.0, "engines.0.damping": 0.0}
    result, pictures = run_trial(Trial(wild, values, scope.Budget("work_gflop", 0.4), pair))
    assert result["status"] == "diverged"
    assert pictures is None
    assert len(result["sweeps"]) == 1  # the second scan isn't tried
    assert result["work_gflop"][0] < 0.4


def test_a_budget_of_seconds_leaves_out_compilation(finished, pair):
    trial = Trial(finished.study, {"engines.0.group": 11}, scope.Budget("seconds", 0.5), pair)
    result, _ = run_trial(trial)
    assert result["status"] == "ok"
    assert min(result["sweeps"]) > 3  # compilation alone takes longer than the budget
    assert all(0.5 <= s < 2.0 for s in result["seconds"])


def test_several_objectives_are_weighed_anew_for_every_trial(finished):
    study = finished.study
    two = study.model_copy(
        update={"objective": study.objective.model_copy(update={"metrics": ("frc_area", "heldout_misfit")})}
    )
    trials = [
        {"status": "ok", "reason": "", "scores": {"frc_area": a, "heldout_misfit": m}}
        for a, m in ((0.9, 0.9), (0.5, 0.1), (0.4, 0.8))
    ]
    trials.append({"status": "diverged", "reason": "x", "scores": None})
    winners = {int(np.nanargmax(np.array(weighted(two, trials, s), float))) for s in range(20)}
    assert winners == {0, 1}  # both ends of the front, never the dominated plan
    assert weighted(two, trials, 0)[3] is None


def test_measured_data_are_split_into_halves(finished, tmp_path):
    whole = io.read_dataset(finished.results / "data" / "5000-0" / "first.h5")
    (tmp_path / "studies" / "tiny").mkdir(parents=True)
    io.write_dataset(tmp_path / "studies" / "tiny" / "my.h5", whole)
    changes = {"data": {"kind": "file", "file": "my.h5", "split": "counts"}, "validation": {}, "example": None}
    # nor has a space to have choices
    changes |= {"space": {"engines.0.probe_step": {"low": 0.0, "high": 1.0}}, "effects": []}
    resolved = resolved_in(tmp_path, **changes, search__repeats=1, search__segment=6)
    run_all(resolved)
    trials = pd.read_csv(resolved.results / "tables" / "trials.csv")
    assert trials["frc_area"].notna().mean() > 0.8
    assert "ssim" not in trials
    first, _ = read_pair(resolved.results, 0, "measured").scans
    both = len(first.patterns) + len(read_pair(resolved.results, 0, "measured").heldout[0].patterns)
    assert both == len(whole.patterns)
    before = Run(KIND, resolved).settings("scan", {"repeat": 0})
    io.write_dataset(tmp_path / "studies" / "tiny" / "my.h5", whole)
    assert Run(KIND, resolved).settings("scan", {"repeat": 0}) != before  # another file of that name


def test_the_study_in_the_docs_runs(finished, tmp_path):
    """As a user copies it, at both scales; the smaller one to its report, with a budget for so small a scan."""
    text = (ROOT / "docs" / "mydata" / "study.yaml").read_text(encoding="utf-8")
    folder = tmp_path / "studies" / "mydata"
    folder.mkdir(parents=True)
    io.write_dataset(folder / "data.h5", toy.experiment(shape=(24, 24))[0])
    (folder / "study.yaml").write_text(text)
    assert total(resolve(folder, "preview", tmp_path / "results")) == 25 + 2
    (folder / "study.yaml").write_text(text.replace("budget: {values: [6]}", "budget: {values: [0.05]}"))
    resolved = resolve(folder, "smoke", tmp_path / "results")
    assert total(resolved) == 3 + 2
    run_all(resolved)
    page = (resolved.results / "report.html").read_text()
    assert "Reconstruction parameters for my sample" in page
    assert "MoSe2" not in page
    assert read_plan(resolved.results / "best-w0.05.yaml").sweeps < 100


def test_two_measured_scans_within_equal_seconds(finished, tmp_path):
    """The paper's budget, wall-clock time, as a whole study on two files."""
    folder = tmp_path / "studies" / "tiny"
    folder.mkdir(parents=True)
    for word in ("first", "second"):
        shutil.copy(finished.results / "data" / "5000-0" / f"{word}.h5", folder)
    changes = {"data": {"kind": "two_files", "first": "first.h5", "second": "second.h5"}, "validation": {}}
    changes |= {"example": None, "budget": {"unit": "seconds", "values": [0.2, 0.4]}, "references": {}, "effects": []}
    resolved = resolved_in(tmp_path, **changes, search__repeats=1, search__random=False, search__segment=6)
    run_all(resolved)
    pair = read_pair(resolved.results, 0, "measured")
    for word, scan_, out in zip(("first", "second"), pair.scans, pair.heldout, strict=True):
        whole = io.read_dataset(folder / f"{word}.h5")
        assert len(scan_.patterns) + len(out.patterns) == len(whole.patterns)
        assert float(scan_.patterns.sum() + out.patterns.sum()) == pytest.approx(float(whole.patterns.sum()))
    trials = pd.read_csv(resolved.results / "tables" / "trials.csv")
    assert set(trials["budget"]) == {0.2, 0.4}
    assert trials["frc_area"].notna().all()

    other = io.read_dataset(folder / "second.h5")
    optics = replace(other.optics, voltage_kv=other.voltage_kv + 1)
    io.write_dataset(folder / "second.h5", replace(other, voltage_kv=optics.voltage_kv, optics=optics))
    with pytest.raises(InputError, match=r"data\.second.*voltage"):
        scan(resolved, 0)


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends_bit_identical(finished, tmp_path):
    shutil.copy(ROOT / "Snakefile", tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    # with other segments: jobs are cut differently, and no number depends on it
    write_study(tmp_path / "studies" / "tiny", tiny(search__segment=6))
    command = [sys.executable, "-m", "snakemake", "studies/tiny"]

    def stored() -> dict[Path, int]:
        found = (tmp_path / "results" / ".points").glob("*/*.json")
        return {p: p.stat().st_mtime_ns for p in found if not p.name.startswith(".")}

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **quiet)
    try:
        deadline = time.monotonic() + 600
        while len(stored()) < 4 and time.monotonic() < deadline:
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = stored()
    assert len(kept) >= 4
    assert subprocess.run([*command, "--unlock"], cwd=tmp_path, check=False, **quiet).returncode == 0
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    without = {p: moment for p, moment in kept.items() if not p.with_suffix(".h5").is_file()}
    assert len(without) >= 3  # the plan found, and a reference, are computed again for their pictures
    for path, moment in without.items():
        assert path.stat().st_mtime_ns == moment, "a stored trial was computed again"
    for file in COLLECT.files(finished):
        assert (tmp_path / "results" / "tiny" / file).read_bytes() == (finished.results / file).read_bytes(), file
    assert re.search(
        r"Nothing to be done", subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False).stderr
    )
