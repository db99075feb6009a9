"""What the page finds in a folder: states, progress, foreign files, names that lead outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import web_runs
import yaml
from plan_files import write_plan
from strange_files import endless

from ptydesign import readable
from ptydesign import session as sessions
from ptydesign.errors import InputError
from ptydesign.planning.api import run_rules
from ptydesign.session import Session
from ptydesign.study.progress import Progress
from ptydesign.study.watched import last_error
from ptydesign.web import jobs
from ptydesign.web.folder import Folder
from ptydesign.web.runs import Runs, by_sweep
from ptydesign.web.site import Site
from ptydesign.web.trials import Trials


def found(folder):
    return {run.name: run for run in Runs(Folder(folder)).find()}


def test_a_study_is_found_with_its_progress(tmp_path):
    web_runs.study(tmp_path, trials=30)
    run = found(tmp_path)["results/lowdose"]
    assert (run.state, run.done, run.total, run.failed) == ("done", 30, 30, 4)
    assert run.of == "score at 1,000 e", "which score, and at what dose"
    assert run.best == max(Trials(tmp_path / "results/lowdose").frame["value"].dropna())


def test_a_running_study_is_seen_until_it_goes_silent(tmp_path, monkeypatch):
    results = web_runs.study(tmp_path, trials=10, state="running")
    run = found(tmp_path)["results/lowdose"]
    assert run.state == "running"
    assert time.time() - run.spoke < 10
    os.utime(results / "logs/.alive", (0, time.time() - 2 * sessions.SILENT_S))
    assert found(tmp_path)["results/lowdose"].state == "silent"
    assert "killed" in found(tmp_path)["results/lowdose"].reason


def test_trials_that_a_decision_spares_are_not_waited_for(tmp_path):
    results = web_runs.study(tmp_path, trials=10, state="running")
    Progress(results, 10, 2, "v").spare("decision/1000", 3)
    run = found(tmp_path)["results/lowdose"]
    assert (run.done, run.total) == (10, 7)
    assert len(Trials(results).frame) == 10


def test_a_study_that_did_not_begin_waits(tmp_path):
    (tmp_path / "studies/mine").mkdir(parents=True)
    (tmp_path / "studies/mine/study.yaml").write_text("title: Mine\n")
    assert found(tmp_path)["studies/mine"].state == "waiting"


def test_foreign_and_broken_files_are_named_and_break_nothing(tmp_path):
    web_runs.study(tmp_path)
    (tmp_path / "results/odd").mkdir()
    (tmp_path / "results/odd/resolved.yaml").write_text("[1, 2")
    (tmp_path / "notes.h5").write_bytes(b"no HDF5")
    (tmp_path / "x.live").mkdir()
    (tmp_path / "plan.yaml").write_text("engines: []")  # resolved.yaml used to be called so
    logs = tmp_path / "results/lowdose/logs/progress.jsonl"
    with logs.open("ab") as file:
        file.write(
            b'\xff\xfe\n[1]\n{"trial": 3}\n{"trial": "bo-1000/9/9", "of": "v", "value": "high", "t": null}\n{"tri'
        )
    runs = found(tmp_path)
    assert runs["results/odd"].state == "unreadable"
    assert runs["x.live"].state == "unreadable"
    assert runs["results/lowdose"].done == 31
    assert len(runs) == 3
    assert len(Trials(tmp_path / "results/lowdose").frame) == 31


@pytest.mark.parametrize("text", ["title: " + "[" * 300_000, None], ids=["deep", "aliases"])
def test_a_strangers_yaml_neither_ends_the_page_nor_fills_its_memory(tmp_path, text):
    """libyaml ends the process where values are nested deep; ten aliases of ten of ten ... are written out by str()."""
    if text is None:
        text = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join(10 * [f'*a{i - 1}'])}]\n" for i in range(1, 12))
        text += "title: *a11\n"
    web_runs.study(tmp_path)
    for name in ("studies/odd/study.yaml", "results/odd/resolved.yaml", "plan.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = (
        "import sys; from ptydesign.web.folder import Folder; from ptydesign.web.runs import Runs; "
        "runs = Runs(Folder(sys.argv[1])); print(*sorted(run.state for run in runs.find()), *runs.plans())"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == ["done", "unreadable"], ran.stderr


@pytest.mark.parametrize("said", [
    "[" * 200_000, '{"state": "running", "total": ' + 4000 * "9" + ', "cores": -1}', '{"state": [], "sweeps": 1e400}',
])  # fmt: skip
@pytest.mark.parametrize("line", [
    "[" * 200_000, f'{{"sweep": {400 * "9"}, "loss": {400 * "9"}}}',
    f'{{"trial": "a", "of": null, "value": {400 * "9"}, "dose": {400 * "9"}, "spared": {400 * "9"}, "s": []}}',
])  # fmt: skip
def test_what_no_run_says_of_itself_breaks_no_list(tmp_path, said, line):
    pages = pytest.importorskip("ptydesign.web.views.runs", reason="the page needs the extra `web`")
    results = web_runs.study(tmp_path, "odd", trials=1)
    live = tmp_path / "x.live"
    live.mkdir()
    for folder in (results / "logs", live):
        (folder / "session.json").write_text(said)
        (folder / ".alive").touch()
        (folder / "progress.jsonl").write_text(f"{line}\n")
    runs = found(tmp_path)
    assert runs.keys() == {"results/odd", "x.live"}
    for run in runs.values():
        assert pages.card(run)
    assert pages.rest(list(runs.values()), "Runs")


@pytest.mark.parametrize("said", [
    {"seed": "abc"}, {"seed": None}, {"further_files": 5}, {"further_files": "abc"}, {"heldout": True}, {"seed": 1e400},
], ids=str)  # fmt: skip
def test_going_on_passes_over_what_no_run_says(tmp_path, monkeypatch, said):
    live = tmp_path / "mine.live"
    live.mkdir()
    files = {f"{name}_file": str(tmp_path / file) for name, file in
             (("data", "data.h5"), ("plan", "plan.yaml"), ("output", "out.h5"))}  # fmt: skip
    (live / "session.json").write_text(json.dumps({"state": "stopped", **files, **said}))
    monkeypatch.setattr(jobs, "_start", lambda command, *_: command)
    command = jobs.go_on(Folder(tmp_path), live)
    assert command[4:7] == ["reconstruct", str(tmp_path / "data.h5"), str(tmp_path / "plan.yaml")]
    assert command[-2:] == ["--seed", "0"]
    (live / "session.json").write_text(json.dumps({"state": "stopped", **files, "data_file": "a\0b"}))
    with pytest.raises(InputError, match="must lie in the folder"):
        jobs.go_on(Folder(tmp_path), live)


def test_a_file_that_hdf5_finds_no_end_in_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(readable, "MOST_S", 1)
    endless(tmp_path / "data.h5")
    (found,) = Runs(Folder(tmp_path)).find()
    assert (found.state, found.reason) == ("unreadable", "HDF5: no end in 1 s")
    assert Runs(Folder(tmp_path)).datasets() == []


def test_trials_that_refine_a_dose_go_on_with_its_search(tmp_path):
    results = web_runs.study(tmp_path, trials=10, state="running")
    point = {"step_a": 1.25, "semiangle_mrad": 30.0, "defocus_nm": -3.0, "detector_pixels": 64}
    good = {"of": "v", "dose": 1000.0, "s": 1.0, "t": 4e9}
    web_runs.lines(
        results / "logs/progress.jsonl",
        {"trial": "decision/1000/refine/0", "value": 2.0, "point": point, **good},
        {"trial": "decision/1000/search/0/1", "value": 3.0, "point": None, **good},
    )
    trials = Trials(results)
    part = trials.frame[trials.frame["search"] == "bo-1000"]
    assert len(part) == 11
    assert part["best"].iloc[-1] == 2.0, "a draw of a decided design is no trial of the search"
    assert trials.searches == ["bo-1000"]
    assert trials.fit("bo-1000").of == 11


def test_first_trials_of_two_searches_are_not_one_search(tmp_path):
    results = web_runs.study(tmp_path, trials=1, state="running")
    web_runs.lines(
        results / "logs/progress.jsonl",
        {"trial": "bo-9000/0/0", "of": "v", "dose": 9e3, "value": 0.9, "s": 1.0, "t": 4e9, "point": {"step_a": 1.25}},
    )
    assert Trials(results).searches == ["bo-1000", "bo-9000"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "results/../../secret", "link", "", "a\0b", "nothing"])
def test_names_outside_of_the_folder_are_refused(tmp_path, name):
    (tmp_path / "secret").mkdir()
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError) as caught:
        Folder(inside).find(name)
    assert "secret/" not in str(caught.value)


def test_links_are_not_followed(tmp_path):
    web_runs.study(tmp_path / "other")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/link").symlink_to(tmp_path / "other")
    assert found(tmp_path / "inside") == {}


@pytest.mark.parametrize("file", ["log.txt", "progress.jsonl", "session.json"])
def test_runs_that_hold_links_are_not_read(tmp_path, file):
    """What a link in a stranger's folder leads to is neither shown nor written to."""
    outside = tmp_path / "outside.txt"
    outside.write_text('{"state": "failed", "sweep": 8}')
    inside = tmp_path / "inside"
    results, live = web_runs.study(inside), inside / "mine.live"
    live.mkdir()
    for folder in (live, results / "logs"):
        for name in ("session.json", "progress.jsonl", "log.txt"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(outside) if name == file else (folder / name).write_text('{"state": "failed"}')
    runs = found(inside)
    assert {run.state for run in runs.values()} == {"unreadable"}
    assert all(f"/{file}" in run.reason for run in runs.values())
    for name in runs:
        with pytest.raises(InputError, match="without links"):
            Folder(inside).find(name)


def test_going_on_replaces_reconstructions_only(tmp_path):
    web_runs.dataset(tmp_path)
    shutil.copy(tmp_path / "data.h5", tmp_path / "precious.h5")
    (tmp_path / "plan.yaml").write_text("engines: [{engine: epie, sweeps: 1}]")
    live = tmp_path / "mine.live"
    live.mkdir()
    named = {"data_file": "data.h5", "plan_file": "plan.yaml", "output_file": "precious.h5"}
    said = {name: str(tmp_path / file) for name, file in named.items()}
    (live / "session.json").write_text(json.dumps({"state": "stopped", **said}))
    with pytest.raises(InputError, match="must be a reconstruction to be replaced"):
        jobs.go_on(Folder(tmp_path), live)
    assert (tmp_path / "precious.h5").read_bytes() == (tmp_path / "data.h5").read_bytes()


def test_modules_in_the_folder_do_not_run(tmp_path):
    """Python looks for modules in the folder where `python -m` runs, before it looks in its library."""
    for name in ("yaml.py", "numpy.py", "snakemake.py"):
        (tmp_path / name).write_text("open('ran', 'w')")
    started = jobs._start(jobs._ptydesign("detectors"), tmp_path, tmp_path / "log.txt")
    assert started.process.wait(60) == 0
    with pytest.raises(InputError, match="snakemake stopped"):  # there is no such study
        run_rules("nothing", tmp_path, "smoke", 1, [])
    assert not (tmp_path / "ran").exists()


def test_a_first_look_at_twenty_runs_and_5000_trials_is_quick(tmp_path):
    for number in range(20):
        web_runs.study(tmp_path, f"run{number}", trials=250)
    begin = time.process_time()
    runs = Runs(Folder(tmp_path))
    assert sum(run.done for run in runs.find()) == 5000
    first = time.process_time() - begin
    begin = time.process_time()
    runs.find()
    again = time.process_time() - begin
    assert first < 1.0, "half of the two seconds that a first view may take"
    assert again < first / 3, "what did not change is not read again"


def test_trials_are_read_as_they_come(tmp_path):
    results = web_runs.study(tmp_path, trials=5, state="running")
    trials = Trials(results)
    assert list(trials.frame["number"]) == [1, 2, 3, 4, 5]
    web_runs.lines(
        results / "logs/progress.jsonl",
        {"trial": "bo-1000/0/5", "of": "v", "dose": 1000.0, "value": 2.0, "s": 1.0, "t": 4e9, "point": {"step_a": 1.0}},
    )
    assert trials.update()
    assert trials.frame["best"].iloc[-1] == 2.0
    assert trials.frame["step_a"].iloc[-1] == 1.0
    assert trials.parameters == ["step_a", "semiangle_mrad", "defocus_nm", "detector_pixels"]


def test_the_surrogate_finds_what_the_trials_hold(tmp_path):
    trials = Trials(web_runs.study(tmp_path, trials=60))
    fit = trials.fit("bo-1000")
    assert [one.name for one in fit.slices] == list(web_runs.SPACE)
    defocus = next(one for one in fit.slices if one.name == "defocus_nm")
    assert abs(defocus.values[int(defocus.mean.argmax())] + 55) < 20, "the made-up score is best at -55 nm"
    chances = [one.chance for one in fit.contenders]
    assert sum(chances) == pytest.approx(1)
    assert chances == sorted(chances, reverse=True)
    assert trials.model("bo-1000") is trials.model("bo-1000"), "fitted once"


def test_the_surrogate_of_a_search_by_optuna_is_fitted_too(tmp_path):
    results = web_runs.study(tmp_path)
    content = yaml.safe_load((results / "resolved.yaml").read_text())
    content["search"] |= {"method": "optuna", "sampler": "tpe"}
    (results / "resolved.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    trials = Trials(results)
    assert trials.fit("bo-1000").contenders
    assert trials.even_in_log("step_a")
    assert not trials.even_in_log("defocus_nm")


def test_sweeps_after_a_resume_replace_the_lost_ones():
    items = [{"sweep": n, "loss": 1.0} for n in range(1, 8)] + [{"sweep": 6, "loss": 2.0}]
    assert [(one["sweep"], one["loss"]) for one in by_sweep(items)] == [(n, 1.0) for n in range(1, 6)] + [(6, 2.0)]


def test_a_stop_ends_jobs_after_their_trial(tmp_path):
    progress = Progress(tmp_path, 3, 1, "v")
    progress.done("a/0/0", 1.0, 0.5, 1.0)
    Session(tmp_path / "logs").ask_to_stop()
    with pytest.raises(InputError, match="stop"):
        progress.done("a/0/1", 1.0, 0.6, 1.0)
    assert len(progress.read()) == 2, "the trial itself is noted"
    Session(tmp_path / "logs").begin()
    progress.done("a/0/2", 1.0, 0.7, 1.0)


def test_a_check_looks_at_the_output_too(tmp_path):
    start = pytest.importorskip("ptydesign.web.views.start", reason="the page needs the extra `web`")
    web_runs.dataset(tmp_path)
    form = start.ReconstructionForm(Site(Folder(tmp_path)))
    for name, words in (("../../x.h5", "letters"), ("data.h5", "must not exist yet")):
        form.output.value = name
        form.submit(form._check, "good")
        assert words in form.wrong["output"].object
        assert form.says.object == ""
    form.output.value = "fine.h5"
    form.submit(form._check, "good")
    assert "good" in form.says.object


def test_a_refusal_of_code_says_what_to_do_on_a_page(tmp_path, monkeypatch):
    start = pytest.importorskip("ptydesign.web.views.start", reason="the page needs the extra `web`")
    monkeypatch.delenv("PTYDESIGN_ALLOW_CODE", raising=False)
    (tmp_path / "mine.py").write_text("def noise(): pass\n")
    form = start.ReconstructionForm(Site(Folder(tmp_path)))
    form.output.value = "fine.h5"
    form.plan.value = f"engines: [{{engine: lsqml, noise: {tmp_path}/mine.py:noise}}]"
    form.submit(form._check, "good")
    said = "".join(pane.object for pane in form.wrong.values())
    assert "needs your consent" in said
    assert "PTYDESIGN_ALLOW_CODE=FOLDER ptydesign serve" in said
    assert "--allow-code" not in said


def test_a_plan_on_a_page_is_read_as_the_command_reads_it(tmp_path, monkeypatch):
    """Also code beside it, wherever the server was started; each problem stands there, one of code or not."""
    start = pytest.importorskip("ptydesign.web.views.start", reason="the page needs the extra `web`")
    monkeypatch.delenv("PTYDESIGN_ALLOW_CODE", raising=False)
    (tmp_path / "mine.py").write_text("def noise(expected, measured, offset):\n    return (expected - measured) ** 2\n")
    form = start.ReconstructionForm(Site(Folder(tmp_path)))
    form.output.value = "fine.h5"

    def said(plan):
        form.plan.value = plan
        form.submit(form._check, "good")
        return form.wrong["plan"].object

    assert "given twice" in said("engines: [{engine: epie}]\nengines: [{engine: lsqml}]")
    assert "nested" in said("engines: " + 3000 * "[")
    both = said("engines: [{engine: gradient, noise: 'mine.py:noise', objct_rate: 1}, {engine: lsqml, sweeps: x}]")
    for words in ("mine.py", "consent", "objct_rate", "engines.1.sweeps"):
        assert words in both
    assert said("engines: [{engine: lsqml, object_step: 5e-1}]") == ""
    monkeypatch.setenv("PTYDESIGN_ALLOW_CODE", str(tmp_path))
    assert said("engines: [{engine: gradient, noise: 'mine.py:noise'}]") == ""


def test_only_a_run_that_runs_is_stopped(tmp_path):
    results = web_runs.study(tmp_path)
    with pytest.raises(InputError, match="running"):
        jobs.stop(results)
    running = web_runs.study(tmp_path, "other", state="running")
    jobs.stop(running)
    assert Session(running / "logs").asked_to_stop


def test_a_session_ends_only_by_its_own_process(tmp_path):
    session = Session(tmp_path)
    session.begin(kind="x")
    session.file.write_text(json.dumps({**session.read(), "pid": -1}))
    session.end("done")
    assert session.read()["state"] == "running"


def test_a_command_in_a_foreign_session_is_not_run(tmp_path):
    folder = Folder(tmp_path)
    live = tmp_path / "mine.live"
    live.mkdir()
    said = {"state": "stopped", "command": ["touch", str(tmp_path / "owned")], "data_file": "/etc/passwd",
            "plan_file": "/etc/passwd", "output_file": str(tmp_path / "x.h5")}  # fmt: skip
    (live / "session.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="must lie in the folder"):
        jobs.go_on(folder, live)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("field, changes", [
    ("output", {"output": "../x.h5"}), ("output", {"output": "data.h5"}), ("name", {"data": "/etc/passwd"}),
    ("plan", {"plan": "engines: [{engine: epi}]"}), ("plan", {"plan": "a: [b"}), ("plan", {"plan": "words"}),
])  # fmt: skip
def test_bad_starts_are_refused_before_anything_is_written(tmp_path, field, changes):
    web_runs.dataset(tmp_path)
    given = {"data": "data.h5", "plan": "engines: [{engine: epie, sweeps: 1}]", "output": "new.h5", **changes}
    with pytest.raises(InputError) as caught:
        jobs.start_reconstruction(Folder(tmp_path), **given)
    assert caught.value.field.startswith(field)
    assert [path.name for path in tmp_path.iterdir()] == ["data.h5"]


def test_bad_studies_are_refused(tmp_path):
    (tmp_path / "studies/mine").mkdir(parents=True)
    (tmp_path / "studies/mine/study.yaml").write_text("title: [")
    folder = Folder(tmp_path)
    for study, scale, executor in (("mine", "smoke", ""), ("mine", "huge", ""), ("mine", "smoke", "slurm; rm")):
        with pytest.raises(InputError):
            jobs.start_study(folder, tmp_path / "studies" / study, scale, None, executor)
    assert not (tmp_path / "results").exists()


def test_the_file_of_a_plan_is_started_as_on_the_command_line(tmp_path):
    plan, folder = tmp_path / "monday.yaml", Folder(tmp_path)
    write_plan(plan)
    for scale, executor in (("huge", ""), ("preview", "slurm; rm")):
        with pytest.raises(InputError):
            jobs.start_plan(folder, plan, scale, None, executor)
    write_plan(tmp_path / "wrong.yaml", goal__resolution_a=-1)
    with pytest.raises(InputError, match=r"goal\.resolution_a"):
        jobs.start_plan(folder, tmp_path / "wrong.yaml", "preview")
    assert not (tmp_path / "studies").exists()
    started = jobs.start_plan(folder, plan, "preview", 1)
    started.process.kill()  # the rest is Snakemake's
    started.process.wait(20)
    assert jobs.results_of(plan, "preview") == tmp_path / "results/monday"
    assert Runs(folder).studies() == ["studies/monday"]


def test_the_last_error_of_the_logs_is_told(tmp_path):
    (tmp_path / "a.log").write_text("error: an old one\n")
    os.utime(tmp_path / "a.log", (1, 1))
    (tmp_path / "b.log").write_text("Traceback\nptydesign.x.ScoreError: no peak\nfooter\n")
    assert last_error(tmp_path) == "b.log: ptydesign.x.ScoreError: no peak"
