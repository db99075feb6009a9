"""Steps of a study in one process: trials, the point store, the choice of winners, progress."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from study_files import tiny, write_study

from ptydesign.design.settings import Observation
from ptydesign.errors import InputError
from ptydesign.experiment import contenders, refine, scope
from ptydesign.experiment import search as steps
from ptydesign.experiment.config import ObjectiveConfig
from ptydesign.experiment.decide import decide_winner
from ptydesign.experiment.estimate import trial_work
from ptydesign.experiment.kind import KIND, words
from ptydesign.experiment.refine import refine_search
from ptydesign.experiment.resolve import resolve
from ptydesign.experiment.trial import Trial, judged, objective_value, passed, run_trial, scored_region_a
from ptydesign.kinds import load_studies
from ptydesign.study import progress as progress_module
from ptydesign.study.acquisition import at_point
from ptydesign.study.cost import estimate, fft_rate
from ptydesign.study.kind import Run
from ptydesign.study.progress import Progress, progress_line, seconds_left, told
from ptydesign.study.rounds import best_so_far
from ptydesign.study.store import PointStore, digest, seed_of
from ptydesign.study.versions import ALGORITHMS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    return resolve(write_study(root / "studies" / "tiny", tiny()), "preview", root / "results")


@pytest.fixture(scope="module")
def potential(study):
    return steps.cached(study)[0]


SEARCHED = {"search": "bo-2000", "round": 0}
WHICH = {
    "propose": SEARCHED,
    "evaluate": {**SEARCHED, "chunk": 0},
    "choose": {"search": "bo-2000"},
    "validate": {"dose": "2000", "simulator": "jax"},
}


def hash_of(study, step, round_=0):
    which = WHICH.get(step, {})
    return Run(KIND, study).settings_hash(step, {**which, "round": round_} if "round" in which else which)


def another(study, seed):
    """The same study with other noise, so that nothing of it is in the store."""
    changed = study.study.model_copy(update={"seed": seed})
    return replace(study, study=changed, results=study.root / f"seed-{seed}")


def test_a_trial_is_a_function_of_its_inputs(study, potential):
    trial = Trial(study.study.experiment, 2000.0)
    first, _, image = run_trial(study.study, potential, trial)
    again, _, _ = run_trial(study.study, potential, trial)
    other, _, _ = run_trial(study.study, potential, replace(trial, repeat=1))
    assert first["status"] == "ok"
    assert json.dumps(first) == json.dumps(again)
    assert first["path"] != other["path"]
    assert first["positions"] == study.study.experiment.positions > 4 * 5
    assert first["sweeps"] == 4
    assert first["fluence_mean"] == pytest.approx(1, abs=0.01)
    assert 0.9 < first["fluence_least"] <= 1.01
    height, width = 6 / 0.25, 7 / 0.25
    assert image.image.shape == pytest.approx((height, width), abs=1)
    assert objective_value(study.study, first) == judged(study.study, first)["scores"]["ssim"]["1.5"]


def test_failures_are_recorded_with_their_reason(study, potential):
    small = replace(potential, slices_va=potential.slices_va[..., :64, :64].copy())
    result, _, image = run_trial(study.study, small, Trial(study.study.experiment, 2000.0))
    assert result["status"] == "failed"
    assert "scan" in result["reason"]
    assert image is None
    assert objective_value(study.study, result) is None
    json.dumps(result, allow_nan=False)


def test_a_programming_error_is_not_a_failed_trial(study, potential, monkeypatch):
    def broken(*_):
        raise TypeError("a bug")

    monkeypatch.setattr("ptydesign.simulate.dataset.simulate", broken)
    with pytest.raises(TypeError):
        run_trial(study.study, potential, Trial(study.study.experiment, 2000.0))


def test_keys_and_seeds_follow_content(study):
    base = study.study
    trial = Trial(base.experiment, 2000.0)
    moved = Trial(at_point(base.experiment, {"step_a": 2.1}), 2000.0)
    variants = [
        trial,
        moved,
        replace(trial, dose_e_per_a2=1999.0),
        replace(trial, repeat=2),
        replace(trial, simulator="abtem"),
    ]
    keys = {t.key(base, study.key) for t in variants}
    assert len(keys) == len(variants)
    assert len({t.seed(base) for t in variants}) == len(variants)
    assert trial.key(base, "another potential") not in keys
    renamed = base.model_copy(update={"title": "x", "doses_e_per_a2": (5.0, 2000.0)})
    assert trial.key(renamed, study.key) == trial.key(base, study.key)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert seed_of(1, "x") != seed_of(2, "x")


def test_store_ignores_half_written_records(tmp_path):
    store = PointStore(tmp_path)
    key = digest({"dose": 1})
    store.put(key, {"inputs": {"dose": 1}, "result": {"status": "ok"}})
    assert store.get(key)["result"]["status"] == "ok"
    store.path(key).write_text('{"result": {"sta')
    assert store.get(key) is None
    assert store.get("missing") is None
    assert [p.name for p in store.path(key).parent.iterdir()] == [f"{key}.json"]


def test_proposals_are_a_pure_function_of_the_history(study):
    steps.propose_points(study, "bo-2000", 0)
    for chunk in (1, 0):
        steps.evaluate(study, "bo-2000", 0, chunk)
    first = steps.propose_points(study, "bo-2000", 1).read_bytes()
    assert steps.propose_points(study, "bo-2000", 1).read_bytes() == first
    points = json.loads(first)["points"]
    assert len(points) == 4
    assert all(1.5 <= p["step_a"] <= 3 and -8 <= p["defocus_nm"] <= 0 for p in points)


def test_failed_trials_do_not_stop_a_search(study, monkeypatch):
    def half_fail(study_, potential_, trial, simulate_):
        bad = trial.experiment.defocus_nm < -4
        result = {"seed": 1, "region_a": [0, 0, 1, 1], "reason": "it was dark" if bad else ""}
        if bad:
            return {**result, "status": "failed"}, {}, None
        scores = {"ssim": {"1.5": 0.5 - abs(trial.experiment.step_a - 2)}, "psnr_db": 1.0}
        return {**result, "status": "ok", "path": [{"sweeps": 3, "scores": scores}], "sweeps": 3}, {}, None

    monkeypatch.setattr(steps, "run_trial", half_fail)
    other = another(study, seed=11)
    steps.propose_points(other, "bo-2000", 0)
    for chunk in (0, 1):
        steps.evaluate(other, "bo-2000", 0, chunk)
    search = scope.find_search(other.study, "bo-2000")
    values = [o.value for o in steps.observations(other, search, 0)]
    assert 0 < sum(v is None for v in values) < 4
    reasons = {o.reason for o in steps.observations(other, search, 0) if o.failed}
    assert reasons == {"it was dark"}
    steps.propose_points(other, "bo-2000", 1)
    for chunk in (0, 1):
        steps.evaluate(other, "bo-2000", 1, chunk)
    chosen = json.loads(steps.choose(other, "bo-2000").read_text())
    assert chosen["worst"] is not None
    refine_search(other, "2000")
    winner = json.loads(decide_winner(other, "2000").read_text())
    assert winner["point"]["defocus_nm"] >= -4
    assert winner["point"] in [one["point"] for one in winner["contenders"]]
    assert set(winner["tolerance"]) == {"step_a", "defocus_nm"}
    low, high = winner["tolerance"]["step_a"]
    assert low <= winner["point"]["step_a"] <= high


def test_what_other_doses_found_and_a_model_asks_for_is_tried(study, monkeypatch):
    """This dose's search missed the best design: it wins, unless the study leaves the other doses out."""
    best = {"step_a": 2.75, "defocus_nm": -1.0}

    def value(point):
        return 0.9 - (point["step_a"] - best["step_a"]) ** 2 - 0.01 * (point["defocus_nm"] - best["defocus_nm"]) ** 2

    def scored(study_, potential_, trial, simulate_):
        point = {name: getattr(trial.experiment, name) for name in best}
        path = [{"sweeps": 4, "scores": {"ssim": {"1.5": value(point)}, "psnr_db": 1.0}}]
        return {"seed": 1, "region_a": [0, 0, 1, 1], "reason": "", "status": "ok", "path": path, "sweeps": 4}, {}, None

    monkeypatch.setattr(steps, "run_trial", scored)
    tried = [{"step_a": step, "defocus_nm": defocus} for step in (1.5, 1.75, 2.0) for defocus in (-8.0, -7.0, -6.0)]
    monkeypatch.setattr(refine, "all_observations", lambda *_: [Observation(point, value(point)) for point in tried])
    doses = another(study, seed=13)
    found = {10.0: [{"step_a": 3.0, "defocus_nm": -7.0}], 500.0: [best, {"step_a": 3.0, "defocus_nm": -1.0}]}

    def decided(most, others, later=()):
        decision = doses.study.decision.model_copy(update={"refine": most, "others": others})
        update = {"doses_e_per_a2": (10.0, 2000.0, 500.0), "decision": decision}
        one = replace(doses, study=doses.study.model_copy(update=update))
        for dose, points in {**found, 2000.0: tried[:2]}.items():
            content = {"dose_e_per_a2": dose, "contenders": points, "tolerance": {}, "worst": 0.1}
            one.write_json(scope.winner(one.study, f"{dose:g}").best_file, content)
            content |= {"contenders": [*later, *points], "refined": [], "gain": None}
            one.write_json(scope.REFINED_FILE.format(dose=f"{dose:g}"), content)
        before = json.loads(refine_search(one, "2000").read_text())
        content = json.loads(decide_winner(one, "2000").read_text())
        assert content["refined"][: len(before["refined"])] == before["refined"]
        return one, content

    shared = {"step_a": 2.0, "defocus_nm": -2.0}
    monkeypatch.setattr(contenders.SharedModel, "best", lambda _: shared)
    with_others, content = decided(0, True)
    assert [one["point"] for one in content["refined"]] == [shared, *found[500.0], *found[10.0]]  # near doses first
    assert {one["found"] for one in content["refined"]} == {"others"}
    assert value(content["point"]) > 0.88
    alone, content = decided(0, False)
    assert content["refined"] == []
    assert value(content["point"]) < 0.85  # the model can only guess
    for others, sources in ((False, ["model"]), (True, ["others", "model"])):
        _, content = decided(8, others)
        sought = [one["found"] for one in content["refined"]]
        assert list(dict.fromkeys(sought)) == sources
        assert 0 < sought.count("model") <= 8
        assert value(content["point"]) > 0.88
        assert 0 <= content["expected_gain"] < 0.01
    assert len({one["seed"] for one in content["refined"]} | {one["key"] for one in content["refined"]}) > 1
    for step in (step for step in KIND.steps if step.name in ("refine", "decide")):
        needed = [sum(len(n(one, "2000")) for n in step.needs if callable(n)) for one in (with_others, alone)]
        assert needed[0] == needed[1] + 2


def test_what_other_doses_found_after_their_searches_is_tried_before_the_decision(study, monkeypatch):
    """A dose whose search and model ended in the wrong place takes what another one came to later, and says so."""
    best, wrong = {"step_a": 2.75, "defocus_nm": -1.0}, {"step_a": 1.5, "defocus_nm": -7.0}

    def value(point):
        near = [sum((point[n] - top[n]) ** 2 for n in best) for top in (best, wrong)]
        return 0.9 * np.exp(-near[0]) + 0.5 * np.exp(-near[1] / 9)

    def scored(study_, potential_, trial, simulate_):
        point = {name: getattr(trial.experiment, name) for name in best}
        path = [{"sweeps": 4, "scores": {"ssim": {"1.5": value(point)}, "psnr_db": 1.0}}]
        return {"seed": 1, "region_a": [0, 0, 1, 1], "reason": "", "status": "ok", "path": path, "sweeps": 4}, {}, None

    monkeypatch.setattr(steps, "run_trial", scored)
    tried = [{"step_a": step, "defocus_nm": defocus} for step in (1.5, 1.75, 2.0) for defocus in (-8.0, -7.0, -6.0)]
    monkeypatch.setattr(refine, "all_observations", lambda *_: [Observation(point, value(point)) for point in tried])
    one = another(study, seed=14)
    update = {"doses_e_per_a2": (500.0, 2000.0)}
    one = replace(one, study=one.study.model_copy(update=update))
    monkeypatch.setattr(contenders.SharedModel, "best", lambda _: wrong)
    for dose in ("500", "2000"):
        content = {"dose_e_per_a2": float(dose), "contenders": [wrong], "tolerance": {}, "worst": 0.1}
        one.write_json(scope.winner(one.study, dose).best_file, content)
    before = json.loads(refine_search(one, "2000").read_text())
    found = {"contenders": [best, wrong], "refined": [], "gain": None, "dose_e_per_a2": 500.0, "tolerance": {}}
    one.write_json(scope.REFINED_FILE.format(dose="500"), {**found, "worst": 0.1})
    content = json.loads(decide_winner(one, "2000").read_text())
    assert best not in [record["point"] for record in before["refined"]]
    more = content["refined"][len(before["refined"]) :]
    assert more[0]["point"] == best
    assert more[0]["found"] == "others"
    assert value(content["point"]) > 0.85 > max(value(record["point"]) for record in before["refined"])
    assert len(content["refined"]) <= scope.refinements(one.study)


def test_a_search_without_success_has_no_winner(study, monkeypatch):
    failure = {"status": "diverged", "reason": "up", "seed": 1, "region_a": [0, 0, 1, 1]}
    monkeypatch.setattr(steps, "run_trial", lambda *_: (dict(failure), {}, None))
    other = another(study, seed=12)
    for round_ in (0, 1):
        steps.propose_points(other, "bo-2000", round_)
        for chunk in (0, 1):
            steps.evaluate(other, "bo-2000", round_, chunk)
    assert json.loads(steps.choose(other, "bo-2000").read_text())["contenders"] == []
    refine_search(other, "2000")
    assert json.loads(decide_winner(other, "2000").read_text())["point"] is None


def test_best_so_far():
    assert best_so_far([None, 1.0, 0.5, None, 2.0]) == [None, 1.0, 1.0, 1.0, 2.0]


def test_the_field_is_scored_whatever_the_scan():
    assert scored_region_a((10, 20), (40, 60)) == (15, 20, 25, 40)


def test_a_trial_is_judged_by_its_best_stop(study, potential):
    """And a trial that ends there has the score that the path had there."""
    trial = Trial(study.study.experiment, 2000.0)
    along, _, _ = run_trial(study.study, potential, trial)
    counts = [one["sweeps"] for one in along["path"]]
    assert counts == sorted({*study.study.scored, study.study.reconstruction.sweeps})
    values = {one["sweeps"]: one["scores"]["ssim"]["1.5"] for one in along["path"]}
    assert judged(study.study, along)["sweeps"] == max(values, key=values.get)
    assert objective_value(study.study, along) == max(values.values())
    for sweeps, value in values.items():
        ended, _, _ = run_trial(study.study, potential, replace(trial, stop=sweeps))
        assert ended["sweeps"] == sweeps
        assert [one["sweeps"] for one in ended["path"]] == [sweeps]
        assert objective_value(study.study, ended) == pytest.approx(value, abs=1e-6)


def test_a_trial_ends_when_its_best_sweep_has_passed(study, potential):
    trial = Trial(study.study.experiment, 20.0)  # so faint that more sweeps only fit noise
    scored = study.study.model_copy(update={"scored_sweeps": (1, 2, 3, 4)})
    whole, _, _ = run_trial(scored, potential, trial)
    values = [one["scores"]["ssim"]["1.5"] for one in whole["path"]]
    first = next(n for n in range(1, 5) if passed(values[:n], 1) or n == 4)
    impatient = scored.model_copy(update={"patience": 1})
    ended, _, _ = run_trial(impatient, potential, trial)
    assert ended["path"] == whole["path"][:first]
    assert ended["sweeps"] == first < 4
    assert trial.key(scored, study.key) != trial.key(impatient, study.key)
    assert replace(trial, stop=2).key(scored, study.key) == replace(trial, stop=2).key(impatient, study.key)


def test_a_best_value_has_passed_after_so_many_worse_ones():
    assert not passed([], 1)
    assert not passed([1.0, 2.0, 1.9], 2)
    assert passed([1.0, 2.0, 1.9, 1.95], 2)
    assert not passed([1.0, 2.0, 1.9, 1.95, 2.1], 2)
    assert not passed([3.0, 2.0, 1.0], None)


def test_trials_serve_every_objective(study):
    """The best sweep is that of the objective that asks, and a failed trial has none."""
    path = [
        {"sweeps": 2, "scores": {"ssim": {"1.5": 0.6}, "psnr_db": 20.0, "mse_rad2": 0.02}},
        {"sweeps": 4, "scores": {"ssim": {"1.5": 0.5}, "psnr_db": 22.0, "mse_rad2": 0.01}},
    ]
    for metric, sweeps, value in (("ssim", 2, 0.6), ("psnr_db", 4, 22.0), ("mse_rad2", 4, -0.01)):
        one = study.study.model_copy(update={"objective": ObjectiveConfig(metric=metric)})
        assert judged(one, {"status": "ok", "path": path})["sweeps"] == sweeps
        assert objective_value(one, {"status": "ok", "path": path}) == value
    assert judged(study.study, {"status": "failed"}) == {}
    assert objective_value(study.study, {"status": "diverged"}) is None


def test_other_scored_sweeps_rerun_trials(study):
    def hashes(found):
        run = Run(KIND, found)
        return {(j.step.name, *j.which.values()): run.settings_hash(j.step.name, j.which) for j in KIND.jobs(found)}

    before = hashes(study)
    after = hashes(replace(study, study=study.study.model_copy(update={"scored_sweeps": (2, 4)})))
    touched = {name[0] for name, found in after.items() if found != before[name]}
    assert {"evaluate", "sample", "validate"} <= touched
    assert not {"potential", "choose"} & touched


def test_stops_that_do_not_rise_or_exceed_the_plan_are_refused(tmp_path):
    for counts, word in (([3, 2], "rise"), ([2, 2], "rise"), ([2, 50], "exceed"), ([], "at least 1"), ([0, 2], "0")):
        with pytest.raises(InputError, match=word) as error:
            resolve(write_study(tmp_path / "study", tiny(scored_sweeps=counts)), "preview", tmp_path)
        assert "scored_sweeps" in error.value.field


def test_estimate_counts_trials_and_grows_with_work(study):
    searched = {"bo-2000": 8, "random-2000": 10, "map-2000": 4}  # as many at random as with those one by one
    assert scope.trials(study.study) == {**searched, "decision": 12, "validation": 4}
    numbers = estimate(KIND, study, cores=2, rate=1e8)
    assert words(study, numbers).startswith("tiny (preview): 38 trials (bo-2000 8, random-2000 10, map-2000 4, ")
    jobs = {name: step["jobs"] for name, step in numbers["steps"].items()}
    assert jobs == {"potential": 1, "round": 0, "propose": 4, "evaluate": 4, "sample": 7, "choose": 1, "refine": 1,
                    "decide": 1, "validate": 1, "collect": 1}  # fmt: skip
    assert numbers["jobs"] == sum(jobs.values()) + 3  # resolve, figures, report
    one_chunk = study.study.model_copy(update={"jobs": study.study.jobs.model_copy(update={"chunk": 8})})
    whole = estimate(KIND, replace(study, study=one_chunk), cores=2, rate=1e8)
    assert {name: whole["steps"][name]["jobs"] for name in ("round", "propose", "evaluate", "sample")} == {
        "round": 3, "propose": 1, "evaluate": 0, "sample": 2,
    }  # fmt: skip
    saved = 3.0 * (numbers["jobs"] - whole["jobs"])  # of starting jobs; the work is the same
    spent = [sum(one["core_s"] for one in found["steps"].values()) for found in (numbers, whole)]
    assert spent[0] - spent[1] == pytest.approx(saved, abs=1)
    base = study.study.experiment
    finer, coarser = (at_point(base, {"step_a": step}) for step in (1.0, 2.0))
    each = [trial_work(study.study, config) / config.positions for config in (finer, coarser)]
    assert finer.positions > 2 * coarser.positions
    assert each[0] == pytest.approx(each[1])
    assert fft_rate(0.02) > 1e6


def test_the_bar_of_trials_names_a_users_metric_without_its_hash():
    line = progress_line({"a": {"value": 0.5, "t": 1.0, "dose": 10.0}}, 2, None, "e/A^2", "mine.py:corr@0123456789ab")
    assert line == "ptydesign: 1/2 trials, best mine.py:corr 0.5 at 10 e/A^2"


def test_progress_counts_each_trial_once_and_survives_a_cut_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "EVERY_S", 0.0)
    progress = Progress(tmp_path, 3, cores=2, version="v")
    Progress(tmp_path, 3, 2, "an older configuration").done("a", 10, 0.9, 1.0)
    progress.done("a", 10, 0.5, 2.0)
    progress.done("a", 10, 0.5, None)
    with (tmp_path / "logs" / "progress.jsonl").open("a") as file:
        file.write('{"trial": "b", "of": "v", "do\n')
    progress.done("c", 100, None, 2.0)
    lines = capsys.readouterr().err.splitlines()
    assert re.sub(r"^\d\d:\d\d:\d\d ", "", lines[-1]) == (
        "ptydesign: 2/3 trials, best SSIM 0.5 at 10 e/A^2, 1 failed, about 1 s left"
    )
    assert progress_line({}, 3, None) == "ptydesign: 0/3 trials"
    progress.spare("decision", 1)  # in an earlier run, too
    progress.spare("decision", 1)
    trials, spared = progress.read()
    assert (len(trials), spared) == (2, {"decision": 1})
    assert progress.line(trials, spared) == "ptydesign: 2/2 trials, best SSIM 0.5 at 10 e/A^2, 1 failed"
    progress.done("decision/search/0/1", 10, 0.4, None)  # what the decision spared is open again
    assert progress.read()[1] == {}


def test_time_left_heeds_what_is_cheap_and_what_has_ended():
    """Two cores, at work all the time: 4 trials of 8 s each, then cheap ones; the decision ended early."""
    trials = {f"bo-10/0/{i}": {"s": 8.0, "t": 100.0 + i // 2 * 8} for i in range(4)}
    parts = {"bo-10": 6, "decision/10": 5, "decision/20": 5, "validation/10": 4}
    assert seconds_left(trials, 20, 2, parts) == pytest.approx(16 * 8 / 2)  # nothing else is known yet
    trials |= {f"decision/10/search/0/{i}": {"s": 2.0, "t": 110.0} for i in range(2)}
    left = 2 * 8 + 5 * 6 + 4 * 6  # what nothing is known of costs the mean of its dose, or of all
    assert seconds_left(trials, 17, 2, parts, {"decision/10"}) == pytest.approx(left / 2)
    assert seconds_left(trials, 6, 2, parts) is None


def test_settings_of_a_step_leave_out_what_it_does_not_depend_on(study):
    def changed(**update):
        return replace(study, study=study.study.model_copy(update=update))

    other = changed(title="another title", doses_e_per_a2=(5.0, 2000.0))
    for step in WHICH:
        assert hash_of(other, step) == hash_of(study, step), step
    assert hash_of(other, "resolve") != hash_of(study, "resolve")
    objective = study.study.objective.model_copy(update={"metric": "psnr_db"})
    other = changed(objective=objective)
    assert hash_of(other, "evaluate") == hash_of(study, "evaluate")
    assert hash_of(other, "propose", 1) != hash_of(study, "propose", 1)
    assert hash_of(other, "propose", 0) == hash_of(study, "propose", 0)


def test_an_algorithm_version_changes_what_it_touches(study, monkeypatch):
    before = {s: hash_of(study, s) for s in ("evaluate", "propose", "collect", "figures")}
    key = Trial(study.study.experiment, 1.0).key(study.study, study.key)
    monkeypatch.setitem(ALGORITHMS, "score", 99)
    after = {s: hash_of(study, s) for s in before}
    assert [s for s in before if before[s] != after[s]] == ["evaluate"]
    assert Trial(study.study.experiment, 1.0).key(study.study, study.key) != key


def test_a_broken_study_stops_only_those_who_ask_for_it(tmp_path, capsys):
    write_study(tmp_path / "studies" / "good", tiny())
    write_study(tmp_path / "studies" / "bad", tiny(experiment__step_a=-1))

    def load(*arguments, **config):
        return load_studies(tmp_path / "studies", config, arguments, tmp_path / "results")

    assert list(load("studies/good/", "-n")) == ["good"]
    assert list(load("studies/good/", "results/bad/report.html")) == ["good"]
    assert "bad" in capsys.readouterr().err
    for arguments in (("all",), ("studies/bad",)):
        with pytest.raises(InputError, match=r"experiment\.step_a"):
            load(*arguments)
    with pytest.raises(InputError, match="Did you mean 'good'"):
        load("studies/god")
    with pytest.raises(InputError, match="scale"):
        load("studies/good", scal="smoke")
    with pytest.raises(InputError, match="scale"):
        load("studies/good", scale="hugo")


def test_long_work_says_that_it_goes_on(capfd):
    with told("a: potentials", 0.05, 0.05):
        time.sleep(0.4)
    said = capfd.readouterr().err.splitlines()
    assert len(said) > 2
    assert all(line.endswith("ptydesign: a: potentials, 0 s so far") for line in said)
    with told("a: quick", 60):
        pass
    assert not capfd.readouterr().err
